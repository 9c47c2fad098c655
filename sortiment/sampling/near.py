"""Which offers nearly repeat one of a reference set: the same product id, GTIN or words, or a near title.

Near titles are found by locality-sensitive hashing of their MinHash signatures: ten bands of three values each; titles
that agree in a whole band are compared by the share of equal values in all. Titles of Jaccard similarity 0.8 meet in a
band with probability 0.999, of 0.7 with 0.985, of 0.3 with 0.24. Each title is compared with at most
COMPARED_PER_BAND others per band, so the time is linear in the offers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.text_keys import EMPTY, U64, band_keys

VALUES_PER_BAND = 3
COMPARED_PER_BAND = 32

Mask = npt.NDArray[np.bool_]
Signatures = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class ProductKeys:
    """The keys of `text_keys`, one entry per offer."""

    product: U64
    gtin: U64
    title: U64
    group: U64
    signature: Signatures

    def at(self, rows: npt.NDArray[np.int64]) -> "ProductKeys":
        return ProductKeys(
            self.product[rows], self.gtin[rows], self.title[rows], self.group[rows], self.signature[rows]
        )


def find_near(offers: ProductKeys, reference: ProductKeys, similarity: float) -> Mask:
    """True for offers that nearly repeat one of the reference."""
    near = np.zeros(len(offers.group), dtype=np.bool_)
    if not len(near) or not len(reference.group):
        return near
    near |= np.isin(offers.group, reference.group)
    for mine, theirs in (
        (offers.product, reference.product),
        (offers.gtin, reference.gtin),
        (offers.title, reference.title),
    ):
        near |= (mine != 0) & np.isin(mine, theirs)
    rows = np.flatnonzero(~near & (offers.signature[:, 0] != EMPTY))
    near[rows] = _find_similar(offers.signature[rows], reference.signature, similarity)
    return near


def _find_similar(signatures: Signatures, reference: Signatures, similarity: float) -> Mask:
    similar = np.zeros(len(signatures), dtype=np.bool_)
    reference = reference[reference[:, 0] != EMPTY]
    if not len(signatures) or not len(reference):
        return similar
    wanted = int(np.ceil(similarity * signatures.shape[1]))
    mine, theirs = band_keys(signatures, VALUES_PER_BAND), band_keys(reference, VALUES_PER_BAND)
    for band in range(mine.shape[1]):
        order = np.argsort(theirs[:, band], kind="stable")
        ordered = theirs[order, band]
        rows = np.flatnonzero(~similar)
        first = np.searchsorted(ordered, mine[rows, band], side="left")
        last = np.searchsorted(ordered, mine[rows, band], side="right")
        for step in range(COMPARED_PER_BAND):
            going = first + step < last
            rows, first, last = rows[going], first[going], last[going]
            if not len(rows):
                break
            equal = (signatures[rows] == reference[order[first + step]]).sum(axis=1)
            found = equal >= wanted
            similar[rows[found]] = True
            rows, first, last = rows[~found], first[~found], last[~found]
    return similar
