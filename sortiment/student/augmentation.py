"""Each epoch reads the training offers a little otherwise: as other shops, or the same shop on a worse day, write them.

Whole words of the market (`words.py`) are read now as one piece, now as the encoder's pieces, each time cut another
way, so that the pieces learn too and an unseen compound finds them taught (subword regularization, Kudo 2018). Words
of offers are mistyped, left out, written without accents, and the title begins elsewhere; titles that were made up so
already have an answer of their own, to just these words, and keep them. What is drawn depends on the seed and the epoch
alone.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from sortiment.cleaning import spell_umlauts, strip_accents
from sortiment.settings import StudentSettings
from sortiment.student.lattice import Lattice, read_lattice
from sortiment.student.tokens import Tokens

LEAST_LETTERS = 4  # shorter words are not mistyped: they would become other words
LETTERS = "abcdefghijklmnopqrstuvwxyz"
UMLAUTS_SPELLED = 0.5  # share of the titles without accents whose umlauts are two letters
WAYS = 32  # of cutting a word
WORDS_AT_MOST = 100_000
Pieces = list[int]


@dataclass
class Augmentation:
    """texts: of all offers; only `rows` are ever read. whole: the student's tokenizer; cut: the same without the
    market's words. max_tokens: longer texts are cut, their last token kept. made_up: (texts,), whose words stay.
    known, ways: the pieces of words as shops write them; all are forgotten where they are more than `words_at_most`."""

    texts: Sequence[str]
    rows: npt.NDArray[np.int64]
    made_up: npt.NDArray[np.bool_]
    whole: Tokenizer
    cut: Tokenizer
    pad_id: int
    max_tokens: int
    settings: StudentSettings
    known: tuple[dict[str, Pieces], dict[str, Pieces]] = field(default_factory=lambda: ({}, {}))
    ways: dict[str, list[Pieces]] = field(default_factory=dict)
    words_at_most: int = WORDS_AT_MOST

    @property
    def active(self) -> bool:
        """Whether the settings ask for any of it."""
        asked = self.settings
        return max(asked.piece_share, asked.typo_share, asked.dropped_share, asked.turned_share, asked.bare_share) > 0

    def draw(self, stream: int, epoch: int) -> Tokens:
        """The offers as tokens, read for this epoch. stream: tells apart what is taught when. Offers outside `rows`
        have only the tokens that stand around every text."""
        around = self.whole.encode("").ids
        first, last = around[:-1], around[-1:]
        room = self.max_tokens - len(around)
        chance = np.random.default_rng([self.settings.seed, stream, epoch])
        offers: list[Pieces] = [around] * len(self.texts)
        for row in self.rows:
            words = self.texts[row].split()
            read = words if self.made_up[row] else self._change(words, chance)
            pieces = self._read(read, set(words), chance)
            offers[row] = [*first, *pieces[:room], *last]
        lengths = np.fromiter(map(len, offers), np.int64, len(offers))
        flat = np.fromiter((piece for offer in offers for piece in offer), np.int32, int(lengths.sum()))
        return Tokens(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), self.pad_id)

    def _change(self, words: list[str], chance: np.random.Generator) -> list[str]:
        """The words as another shop writes them, or this one on a worse day; not all are left out."""
        if len(words) > 1 and chance.random() < self.settings.turned_share:
            start = int(chance.integers(1, len(words)))
            words = words[start:] + words[:start]
        if self.settings.bare_share and chance.random() < self.settings.bare_share:
            write = spell_umlauts if chance.random() < UMLAUTS_SPELLED else strip_accents
            words = [strip_accents(write(word)) for word in words]
        dropped, mistyped = chance.random((2, len(words)))
        kept = dropped >= self.settings.dropped_share
        if not kept.any():
            kept[:] = True
        return [
            mistype(words[place], chance) if mistyped[place] < self.settings.typo_share else words[place]
            for place in np.flatnonzero(kept)
        ]

    def _read(self, words: list[str], own: set[str], chance: np.random.Generator) -> Pieces:
        """Each word as a whole or as the encoder's pieces. own: as the shop writes them; others hardly come again."""
        as_pieces = chance.random(len(words)) < self.settings.piece_share
        pieces: Pieces = []
        for word, cut in zip(words, as_pieces, strict=True):
            pieces += self._cut(word, word in own, chance) if cut else self._pieces(word, word in own, in_pieces=False)
        return pieces

    @cached_property
    def _lattice(self) -> Lattice | None:
        """None where words are always cut the same way."""
        return read_lattice(self.cut) if self.settings.piece_sharpness < 1 else None

    def _cut(self, word: str, keep: bool, chance: np.random.Generator) -> Pieces:
        """The word as the encoder's pieces, cut one of `WAYS` ways: which these are, word and seed decide alone."""
        if self._lattice is None:
            return self._pieces(word, keep, in_pieces=True)
        ways = self.ways.get(word)
        if ways is None:
            own = np.random.default_rng([self.settings.seed, zlib.crc32(word.encode())])
            ways = self._lattice.sample(word, WAYS, self.settings.piece_sharpness, own)
            if keep:
                self._remember(self.ways, word, ways)
        return ways[int(chance.integers(len(ways)))]

    def _pieces(self, word: str, keep: bool, in_pieces: bool) -> Pieces:
        pieces = self.known[in_pieces].get(word)
        if pieces is None:
            tokenizer = self.cut if in_pieces else self.whole
            pieces = tokenizer.encode(word, add_special_tokens=False).ids
            if keep:
                self._remember(self.known[in_pieces], word, pieces)
        return pieces

    def _remember(self, words: dict[str, Any], word: str, found: Any) -> None:
        if len(words) >= self.words_at_most:
            words.clear()
        words[word] = found


def mistype(word: str, chance: np.random.Generator) -> str:
    """The word with one letter left out, doubled, replaced or exchanged with the next; the first letter stays."""
    if len(word) < LEAST_LETTERS:
        return word
    place, how = int(chance.integers(1, len(word) - 1)), int(chance.integers(4))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    if how == 0:
        return before + after
    if how == 1:
        return before + letter + letter + after
    if how == 2:
        return before + LETTERS[int(chance.integers(len(LETTERS)))] + after
    return before + after[0] + letter + after[1:]
