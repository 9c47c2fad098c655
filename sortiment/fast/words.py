"""Texts to words at hundreds of thousands of texts a second: what a string between blanks holds is looked up, not cut.

Offers repeat their words, so each string between blanks is normalized, case-folded and cut into words once, and found
in a dictionary from then on. A word of the table is its number there; a word that training never saw gets the next
number, and its spelling is kept beside it. What was learned since loading is forgotten when it is too much.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from sortiment.cleaning import strip_accents
from sortiment.fast.spelling import Buckets, spell

WORD = re.compile(r"\w+")
LONGEST_WORD = 64
CHUNKS_AT_MOST = 300_000

Ids = npt.NDArray[np.int32]
Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """words: numbers of all texts' words, one text after the other. lengths: each text's number of words."""

    words: Ids
    lengths: Lengths

    @property
    def owner(self) -> Lengths:
        """The text of each word."""
        return np.repeat(np.arange(self.lengths.size), self.lengths)


class WordReader:
    """words: those that have a number, in its order. spellings: of the words that came after them."""

    def __init__(self, words: Sequence[str], chunks_at_most: int = CHUNKS_AT_MOST) -> None:
        self.words = tuple(words)
        self.spellings: list[Buckets] = []
        self._known = {word: number for number, word in enumerate(self.words)}
        self._new: dict[str, int] = {}
        self._chunks: dict[str, tuple[int, ...]] = {}
        self._chunks_at_most = chunks_at_most

    def read(self, texts: Sequence[str], max_words: int) -> Reading:
        """The first `max_words` words of each text. New words keep their number until the next call."""
        if len(self._chunks) > self._chunks_at_most:
            self._chunks.clear()
            self._new.clear()
            self.spellings.clear()
        split = [text.split() for text in texts]
        chunks = list(chain.from_iterable(split))
        found = list(map(self._chunks.get, chunks))
        if None in found:
            found = [self._learn(chunk) if known is None else known for chunk, known in zip(chunks, found, strict=True)]
        counts = np.fromiter(map(len, found), np.int64, len(found))  # type: ignore[arg-type]
        ends = np.concatenate([[0], np.cumsum(counts)])
        starts = ends[np.concatenate([[0], np.cumsum(np.fromiter(map(len, split), np.int64, len(split)))])]
        words = np.fromiter(chain.from_iterable(found), np.int32, int(ends[-1]))  # type: ignore[arg-type]
        lengths = np.diff(starts)
        if lengths.size and int(lengths.max()) > max_words:
            kept = np.arange(words.size) - np.repeat(starts[:-1], lengths) < max_words
            words, lengths = words[kept], np.minimum(lengths, max_words)
        return Reading(words, lengths)

    def _learn(self, chunk: str) -> tuple[int, ...]:
        """The words of a string without blanks."""
        known = self._chunks.get(chunk)
        if known is None:
            known = tuple(self._number(word[:LONGEST_WORD]) for word in cut_words(chunk))
            self._chunks[chunk] = known
        return known

    def _number(self, word: str) -> int:
        number = self._known.get(word, self._new.get(word))
        if number is None:
            number = self._new[word] = len(self.words) + len(self.spellings)
            self.spellings.append(spell(word))
        return number


def count_words(texts: Sequence[str]) -> Lengths:
    """How many words each text has."""
    return np.fromiter((sum(len(cut_words(chunk)) for chunk in text.split()) for text in texts), np.int64, len(texts))


def cut_words(text: str) -> list[str]:
    """Runs of letters and digits, in one form and case, without accents: shops write them or leave them out."""
    return WORD.findall(unicodedata.normalize("NFKC", strip_accents(text)).casefold())


def list_words(texts: Sequence[str]) -> list[str]:
    """The words of the texts, sorted."""
    chunks = {chunk for text in texts for chunk in text.split()}
    return sorted({word[:LONGEST_WORD] for chunk in chunks for word in cut_words(chunk)})
