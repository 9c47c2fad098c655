"""Set questions over millions of 64-bit numbers: most are answered by one look-up in a small table of hashes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.sampling.text_keys import U64, mix

Mask = npt.NDArray[np.bool_]


def is_among(values: U64, reference: U64) -> Mask:
    """True where the value is one of the reference."""
    among = maybe_among(values, reference)
    rows = np.flatnonzero(among)
    if len(rows):
        ordered = np.sort(reference)
        place = np.minimum(np.searchsorted(ordered, values[rows]), len(ordered) - 1)
        among[rows] = ordered[place] == values[rows]
    return among


def maybe_among(values: U64, reference: U64) -> Mask:
    """False where the value is surely not one of the reference."""
    if not len(reference):
        return np.zeros(len(values), dtype=np.bool_)
    bits = _bits(16 * len(reference))
    seen = np.zeros(1 << bits, dtype=np.bool_)
    seen[_bucket(reference, bits)] = True
    among: Mask = seen[_bucket(values, bits)]
    return among


def maybe_crowded(groups: U64, limits: Any) -> Mask:
    """False for entries whose group surely has no more entries than the limit (a number, or one per entry)."""
    bits = _bits(4 * len(groups))
    bucket = _bucket(groups, bits)
    entries = np.zeros(1 << bits, dtype=np.uint32)
    np.add.at(entries, bucket, np.uint32(1))
    crowded: Mask = entries[bucket] > limits
    return crowded


def _bits(size: int) -> int:
    return int(np.clip(np.ceil(np.log2(max(1, size))), 10, 24))


def _bucket(values: U64, bits: int) -> npt.NDArray[np.int64]:
    return (mix(values) >> np.uint64(64 - bits)).view(np.int64)
