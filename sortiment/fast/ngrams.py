"""Whole words and pairs of words as features, found by hashing piece ids: no strings, only arrays.

Pieces tell what a word looks like; a brand or a model number is a word of several pieces and means something only
whole. Each word's pieces are hashed to one number, each two words that follow each other to another, and the numbers
to 2**20 buckets. Only buckets that the training texts fill at least twice get a row to learn.
"""

import numpy as np
import numpy.typing as npt

BUCKET_BITS = 20
BUCKETS = 1 << BUCKET_BITS
NO_ROW = -1
LONGEST_WORD = 64
_MULTIPLIER = 0x9E3779B97F4A7C15
_PAIR = 0xC2B2AE3D27D4EB4F
_POWERS = np.cumprod(np.full(LONGEST_WORD, 0x100000001B3, np.uint64), dtype=np.uint64)

Ids = npt.NDArray[np.int32]
Lengths = npt.NDArray[np.int64]


def hash_ngrams(ids: Ids, lengths: Lengths, starts_word: npt.NDArray[np.bool_]) -> tuple[Ids, Lengths]:
    """Buckets of all texts' words of several pieces and of all pairs of words, one text after the other.

    ids, lengths: as `Segmenter.cut` gives them. Gives buckets and each text's number of them.
    """
    if not ids.size:
        return np.zeros(0, np.int32), np.zeros(lengths.size, np.int64)
    text_starts = np.cumsum(lengths)[lengths > 0] - lengths[lengths > 0]
    begins = starts_word[ids]
    begins[text_starts] = True
    first = np.flatnonzero(begins)
    size = np.diff(first, append=ids.size)
    inside = np.minimum(np.arange(ids.size) - np.repeat(first, size), LONGEST_WORD - 1)
    words = np.add.reduceat((ids.astype(np.uint64) + np.uint64(1)) * _POWERS[inside], first)
    text_of_word = np.repeat(np.arange(lengths.size), lengths)[first]
    pairs = words[:-1] * np.uint64(_PAIR) + words[1:]
    joined = text_of_word[:-1] == text_of_word[1:]
    several = size > 1
    hashes = np.concatenate([words[several], pairs[joined]])
    texts = np.concatenate([text_of_word[several], text_of_word[:-1][joined]])
    buckets = ((hashes * np.uint64(_MULTIPLIER)) >> np.uint64(64 - BUCKET_BITS)).astype(np.int32)
    order = np.argsort(texts, kind="stable")
    return buckets[order], np.bincount(texts, minlength=lengths.size)


def assign_rows(buckets: Ids, least: int) -> npt.NDArray[np.int32]:
    """(BUCKETS,) the row of each bucket that occurs at least `least` times, counted from 0; -1 for the others."""
    kept = np.flatnonzero(np.bincount(buckets, minlength=BUCKETS) >= least)
    rows = np.full(BUCKETS, NO_ROW, np.int32)
    rows[kept] = np.arange(kept.size, dtype=np.int32)
    return rows
