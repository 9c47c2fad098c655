"""The order in which offers are taken: `xor(offer_key, mask of the seed)`, ascending.

`offer_key` is uniform over 64 bits (md5, computed once when the offer was loaded), so the xor with any fixed mask is a
uniform rank too: it costs one instruction, needs no hash function that could change with a library's version, and two
offers never share a rank. The mask is the first 8 bytes, big-endian, of `md5("sortiment sample <seed>")`.

What a mask cannot do: it permutes blocks of the key space, so two seeds whose masks start with the same bits give
similar samples of a category of which a large share is taken. Seeds are for repeating a draw, not for bootstraps.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

HIGHEST_RANK = np.uint64(2**64 - 1)


MERGED = 16
"""Numbers with so many times fewer descents than there are of them are ordered by merging their runs."""


def has_long_runs(numbers: Keys) -> bool:
    """Whether few runs of ascending numbers follow each other, so that merging them puts them in order."""
    return int((numbers[1:] < numbers[:-1]).sum()) * MERGED < len(numbers)


def order_runs(numbers: Keys) -> npt.NDArray[np.int64]:
    """The places of the numbers in ascending order. Fast where few runs of ascending numbers follow each other."""
    return np.argsort(numbers, kind="stable" if has_long_runs(numbers) else None)


def mask_of_seed(seed: int) -> int:
    """The 64-bit mask of a seed."""
    digest = hashlib.md5(f"sortiment sample {seed}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big")


def rank_keys(keys: Keys, seed: int) -> Keys:
    """The rank of each offer key; the same operation turns ranks back into keys."""
    return keys ^ np.uint64(mask_of_seed(seed))
