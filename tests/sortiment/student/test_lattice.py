"""Words are cut into pieces in every way that spells them, as often as the pieces' probabilities say."""

from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import Unigram, WordLevel
from tokenizers.pre_tokenizers import Metaspace

from sortiment.student.lattice import LONGEST_WORD, Lattice, read_lattice

START = "\u2581"
PIECES = [("<unk>", 0.0), (START, -2.0), ("a", -2.0), ("b", -3.0), ("ab", -2.5), (START + "a", -1.0), ("ba", -4.0)]
DRAWS = 20_000


def lattice() -> Lattice:
    tokenizer = Tokenizer(Unigram(PIECES, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = Metaspace()
    made = read_lattice(tokenizer)
    assert made is not None
    return made


def spelled(made: Lattice, ways: list[list[int]]) -> Counter[str]:
    return Counter(" ".join(made.tokenizer.id_to_token(piece) for piece in way) for way in ways)


@pytest.mark.parametrize("sharpness", [1.0, 0.3, 0.0])
def test_each_way_comes_as_often_as_its_pieces_are_probable(sharpness: float) -> None:
    made, score = lattice(), dict(PIECES)
    counted = spelled(made, made.sample("ab", DRAWS, sharpness, np.random.default_rng(0)))
    ways = [f"{START} a b", f"{START} ab", f"{START}a b"]
    weights = np.exp([sharpness * sum(score[piece] for piece in way.split()) for way in ways])
    assert set(counted) == set(ways)
    np.testing.assert_allclose([counted[way] / DRAWS for way in ways], weights / weights.sum(), atol=0.015)


def test_every_way_spells_the_word() -> None:
    made = lattice()
    for way in spelled(made, made.sample("abbaab", 200, 0.2, np.random.default_rng(1))):
        assert way.replace(" ", "") == START + "abbaab"


@pytest.mark.parametrize("word", ["", "axb", "ab" * LONGEST_WORD])
def test_what_pieces_cannot_spell_is_cut_as_the_tokenizer_cuts_it(word: str) -> None:
    made = lattice()
    assert made.sample(word, 3, 0.5, np.random.default_rng(0)) == [made.tokenizer.encode(word).ids]


def test_another_kind_of_tokenizer_has_no_lattice() -> None:
    assert read_lattice(Tokenizer(WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))) is None
