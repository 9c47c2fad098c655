"""What a word looks like, and which words stand side by side: hashed, so that neither needs a dictionary.

A word's spelling is its runs of two to four characters, its beginning and end marked. What training never saw it meets
by its parts: compounds, inflections, model numbers, words of a language that writes no blanks.
"""

from zlib import crc32

import numpy as np
import numpy.typing as npt

GRAM_SIZES = (2, 3, 4)
BUCKET_BITS = 22
BUCKETS = 1 << BUCKET_BITS
NO_ROW = -1
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)

Buckets = npt.NDArray[np.int32]


def spell(word: str) -> Buckets:
    """The bucket of each run of characters, with repeats."""
    marked = f"<{word}>"
    runs = [marked[at : at + size] for size in GRAM_SIZES for at in range(len(marked) - size + 1)]
    return np.array([crc32(run.encode("utf-8", "surrogatepass")) >> (32 - BUCKET_BITS) for run in runs], np.int32)


def pair_buckets(words: npt.NDArray[np.int32]) -> Buckets:
    """The bucket of each word's pair with the next one. words: numbers, two or more."""
    numbers = words.astype(np.uint64) + np.uint64(1)
    mixed = (numbers[:-1] * _FIRST) ^ ((numbers[1:] * _SECOND) >> np.uint64(7))
    buckets: Buckets = ((mixed * _SECOND) >> np.uint64(64 - BUCKET_BITS)).astype(np.int32)
    return buckets


def rows_of_buckets(buckets: Buckets) -> npt.NDArray[np.int32]:
    """(BUCKETS,) the row of each bucket: its place in `buckets`; -1 for the others."""
    rows = np.full(BUCKETS, NO_ROW, np.int32)
    rows[buckets] = np.arange(buckets.size, dtype=np.int32)
    return rows
