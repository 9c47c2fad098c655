"""Which offers nearly repeat one of a reference set: the same product id, GTIN or words, or a near title.

Near titles are found by locality-sensitive hashing of their MinHash signatures: eight bands of four values each; titles
that agree in a whole band are compared by the share of equal values in all. Titles of Jaccard similarity 0.9 meet in a
band with probability 0.9998, of 0.8 with 0.985, of 0.7 with 0.89, of 0.3 with 0.06. Each title is compared with at most
COMPARED_PER_BAND others per band, so the time is linear in the offers.
"""

import numpy as np
import numpy.typing as npt

from sortiment.sampling.reserve import Mask, Reserve
from sortiment.sampling.text_keys import EMPTY, U64, Signatures, band_key, mix

VALUES_PER_BAND = 4
COMPARED_PER_BAND = 16


def find_near(offers: Reserve, reference: Reserve, similarity: float) -> Mask:
    """True for offers that nearly repeat one of the reference."""
    near = is_among(offers.group, reference.group)
    for mine, theirs in (
        (offers.product, reference.product),
        (offers.gtin, reference.gtin),
        (offers.title, reference.title),
    ):
        near |= is_among(mine, theirs) & (mine != 0)
    rows = np.flatnonzero(~near & (offers.signature[:, 0] != EMPTY))
    near[rows] = _find_similar(offers.signature[rows], reference.signature, similarity)
    return near


def is_among(values: U64, reference: U64) -> Mask:
    """True where the value is one of the reference; most others are told by one look-up each."""
    among = _maybe_among(values, reference)
    rows = np.flatnonzero(among)
    if len(rows):
        ordered = np.sort(reference)
        place = np.minimum(np.searchsorted(ordered, values[rows]), len(ordered) - 1)
        among[rows] = ordered[place] == values[rows]
    return among


def _maybe_among(values: U64, reference: U64) -> Mask:
    """False where the value is surely not one of the reference."""
    if not len(reference):
        return np.zeros(len(values), dtype=np.bool_)
    bits = int(np.clip(np.ceil(np.log2(16 * len(reference))), 10, 24))
    seen = np.zeros(1 << bits, dtype=np.bool_)
    shift = np.uint64(64 - bits)
    seen[(mix(reference) >> shift).view(np.int64)] = True
    among: Mask = seen[(mix(values) >> shift).view(np.int64)]
    return among


def _find_similar(signatures: Signatures, reference: Signatures, similarity: float) -> Mask:
    similar = np.zeros(len(signatures), dtype=np.bool_)
    reference = reference[reference[:, 0] != EMPTY]
    if not len(signatures) or not len(reference):
        return similar
    wanted = int(np.ceil(round(similarity * signatures.shape[1], 9)))
    for start in range(0, signatures.shape[1] - VALUES_PER_BAND + 1, VALUES_PER_BAND):
        left = np.flatnonzero(~similar)
        mine = band_key(signatures[left], start, VALUES_PER_BAND)
        theirs = band_key(reference, start, VALUES_PER_BAND)
        maybe = _maybe_among(mine, theirs)
        rows, mine = left[maybe], mine[maybe]
        order = np.argsort(theirs, kind="stable")
        ordered = theirs[order]
        first = np.searchsorted(ordered, mine, side="left")
        last = np.searchsorted(ordered, mine, side="right")
        found = _compare(
            signatures, reference, (rows, first, np.minimum(last, first + COMPARED_PER_BAND)), order, wanted
        )
        similar[found] = True
    return similar


def _compare(
    signatures: Signatures,
    reference: Signatures,
    candidates: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    order: npt.NDArray[np.int64],
    wanted: int,
) -> npt.NDArray[np.int64]:
    """Rows that share at least `wanted` values with one of their candidates, places first to last in the order."""
    rows, place, last = candidates
    found = [np.empty(0, dtype=np.int64)]
    while len(rows):
        going = place < last
        rows, place, last = rows[going], place[going], last[going]
        equal = np.count_nonzero(signatures[rows] == reference[order[place]], axis=1) >= wanted
        found.append(rows[equal])
        rows, place, last = rows[~equal], place[~equal] + 1, last[~equal]
    return np.concatenate(found)
