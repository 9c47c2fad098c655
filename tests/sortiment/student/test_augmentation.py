"""Offers are read otherwise each epoch, as the settings ask and the seed decides."""

from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from sortiment.settings import StudentSettings
from sortiment.student.augmentation import Augmentation, mistype

START = "\u2581"
LETTERS = [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
BASE = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (START, -3.0), *LETTERS]
TEXTS = ["torque driver green", "green hose", "held out"]
NOTHING = {
    "piece_share": 0.0,
    "piece_sharpness": 1.0,
    "typo_share": 0.0,
    "dropped_share": 0.0,
    "turned_share": 0.0,
    "bare_share": 0.0,
}


def tokenizer(pieces: list[tuple[str, float]]) -> Tokenizer:
    made = Tokenizer(Unigram(pieces, unk_id=3, byte_fallback=False))
    made.pre_tokenizer = Metaspace()
    made.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return made


def augmentation(made_up: tuple[bool, ...] = (False, False, False), **settings: float) -> Augmentation:
    words = [(START + word, -4.0) for word in ("torque", "driver", "green", "hose")]
    return Augmentation(
        texts=TEXTS,
        rows=np.array([0, 1]),
        made_up=np.array(made_up),
        whole=tokenizer([*BASE, *words]),
        cut=tokenizer(BASE),
        pad_id=1,
        max_tokens=64,
        settings=StudentSettings(**(NOTHING | settings)),  # type: ignore[arg-type]
    )


def drawn(made: Augmentation, epoch: int = 0) -> list[list[int]]:
    tokens = made.draw(1, epoch)
    return [tokens.flat[tokens.start[row] : tokens.start[row + 1]].tolist() for row in range(len(TEXTS))]


def test_without_any_share_nothing_is_asked_for_and_nothing_changes() -> None:
    made = augmentation()
    assert not made.active
    assert drawn(made)[:2] == [made.whole.encode(text).ids for text in TEXTS[:2]]


def test_offers_that_are_not_taught_are_not_read() -> None:
    assert drawn(augmentation(typo_share=0.5))[2] == [0, 2]


def test_a_made_up_title_keeps_its_words_and_is_still_read_as_pieces() -> None:
    asked = {"typo_share": 1.0, "dropped_share": 0.5, "turned_share": 1.0}
    made = augmentation((True, False, False), **asked)
    assert all(drawn(made, epoch)[0] == made.whole.encode(TEXTS[0]).ids for epoch in range(5))
    assert any(drawn(made, epoch)[1] != made.whole.encode(TEXTS[1]).ids for epoch in range(5))
    cut = augmentation((True, False, False), piece_share=1.0, **asked)
    assert drawn(cut)[0] == cut.cut.encode(TEXTS[0]).ids


def test_words_are_read_as_pieces_as_often_as_asked() -> None:
    made = augmentation(piece_share=1.0)
    assert drawn(made)[1] == made.cut.encode(TEXTS[1]).ids
    lengths = {len(drawn(augmentation(piece_share=0.5), epoch)[1]) for epoch in range(20)}
    assert {len(made.whole.encode(TEXTS[1]).ids), len(made.cut.encode(TEXTS[1]).ids)} <= lengths


def test_words_are_cut_in_other_ways_in_other_epochs_and_none_loses_a_letter() -> None:
    made = augmentation(piece_share=1.0, piece_sharpness=0.2)
    made.cut = tokenizer([*BASE, ("gr", -6.0), ("een", -7.0), ("ho", -6.0), ("se", -6.0)])
    read = [tuple(drawn(made, epoch)[1]) for epoch in range(10)]
    assert len(set(read)) > 3
    assert {"".join(made.cut.id_to_token(piece) for piece in offer[1:-1]) for offer in read} == {
        f"{START}green{START}hose"
    }


def test_a_title_never_loses_its_last_word() -> None:
    assert all(len(offer) > 2 for offer in drawn(augmentation(dropped_share=1.0))[:2])


def test_words_move_together_and_none_is_lost() -> None:
    made = augmentation(turned_share=1.0)
    assert sorted(drawn(made)[0]) == sorted(made.whole.encode(TEXTS[0]).ids)
    assert drawn(made)[0] != made.whole.encode(TEXTS[0]).ids


def test_titles_are_written_without_accents_as_often_as_asked_and_umlauts_in_both_ways() -> None:
    made = augmentation(bare_share=0.4)
    chance = np.random.default_rng(0)
    written = Counter(tuple(made._change(["kräuter", "éclair", "tea"], chance)) for _ in range(2000))
    assert set(written) == {
        ("kräuter", "éclair", "tea"),
        ("kraeuter", "eclair", "tea"),
        ("krauter", "eclair", "tea"),
    }
    assert written["kräuter", "éclair", "tea"] / 2000 == pytest.approx(0.6, abs=0.05)
    assert written["kraeuter", "eclair", "tea"] / 2000 == pytest.approx(0.2, abs=0.04)


def test_seed_and_epoch_decide_alone() -> None:
    shares = {"typo_share": 0.5, "dropped_share": 0.3, "piece_share": 0.5}
    first, other = augmentation(**shares), augmentation(**shares)
    other.draw(1, 0)
    assert drawn(first, 3) == drawn(other, 3)
    assert drawn(first, 3) != drawn(first, 4)


def test_words_that_no_shop_wrote_are_not_remembered() -> None:
    made = augmentation(typo_share=1.0, piece_share=0.5, piece_sharpness=0.2)
    for epoch in range(10):
        made.draw(1, epoch)
    plain = augmentation(typo_share=1.0, piece_share=1.0)
    plain.draw(1, 0)
    assert {*made.ways, *made.known[0], *plain.known[1]} <= {word for text in TEXTS for word in text.split()}


def test_what_is_remembered_is_bounded_and_decides_nothing() -> None:
    shares = {"typo_share": 0.2, "piece_share": 0.5, "piece_sharpness": 0.2}
    made, forgetful = augmentation(**shares), augmentation(**shares)
    forgetful.words_at_most = 1
    for epoch in range(10):
        assert drawn(made, epoch) == drawn(forgetful, epoch)
    assert len(made.ways) == len(made.known[0]) == 4
    assert len(forgetful.ways) == len(forgetful.known[0]) == 1


def test_a_longer_text_is_cut_and_keeps_its_last_token() -> None:
    made = augmentation(typo_share=0.01)
    made.max_tokens = 4
    assert [len(offer) for offer in drawn(made)] == [4, 4, 2]
    assert all(offer[-1] == 2 for offer in drawn(made))


@pytest.mark.parametrize("seed", range(30))
def test_a_typo_changes_one_place_and_never_the_first_letter(seed: int) -> None:
    typed = mistype("torque", np.random.default_rng(seed))
    assert typed[0] == "t" and abs(len(typed) - 6) <= 1


def test_short_words_are_not_mistyped() -> None:
    assert mistype("pen", np.random.default_rng(0)) == "pen"
