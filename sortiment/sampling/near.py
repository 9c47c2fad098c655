"""Which offers nearly repeat one of a reference set: the same product id, GTIN or words, or a near title.

Near titles are found by locality-sensitive hashing of their MinHash signatures: eight bands of four values each; titles
that agree in a whole band are compared by the share of equal values in all. Titles of Jaccard similarity 0.9 meet in a
band with probability 0.9998, of 0.8 with 0.985, of 0.7 with 0.89, of 0.3 with 0.06. Each title is compared with at most
COMPARED_PER_BAND others per band, so the time is linear in the offers.

Where earlier verdicts are kept (`verdicts.py`), only offers that are new or share something with a change are looked
at.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.membership import is_among, maybe_among
from sortiment.sampling.parts import run_in_order
from sortiment.sampling.reserve import Mask, Reserve
from sortiment.sampling.text_keys import EMPTY, SIGNATURE_VALUES, U64, Signatures, TextKeys
from sortiment.sampling.verdicts import BANDS, FIELDS, Verdicts, carry_over, changed_reference, digest_texts

COMPARED_PER_BAND = 8
ROWS_AT_ONCE = 65_536
SCATTER = np.uint64(0x9E3779B97F4A7C15)

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Band:
    """The reference by one band: its keys in order, the row of each, and a table of the keys that may be among them."""

    index: int
    keys: U64
    rows: Places
    seen: Mask
    shift: np.uint64


def find_near(
    offers: Reserve, reference: Reserve, similarity: float, threads: int, before: Verdicts | None = None
) -> Verdicts:
    """Which offers nearly repeat one of the reference; both ascend by offer key.

    before: what was found for earlier offers, with the same similarity; it changes nothing but the time.
    """
    found = _text_keys(reference)
    texts, reference_texts = digest_texts(_text_keys(offers)), digest_texts(found)
    near, known = np.zeros((2, len(offers)), dtype=np.bool_)
    if before is not None:
        near, known = carry_over(before, offers.keys, texts)
        changed = changed_reference(before, reference.keys, reference_texts, found)
        known &= ~_shares_something(offers, changed, threads)
    rows = np.flatnonzero(~known)
    near[rows] = _look(offers.at(rows) if len(rows) < len(offers) else offers, reference, similarity, threads)
    return Verdicts(offers.keys, texts, near, reference.keys, reference_texts, found)


def _text_keys(offers: Reserve) -> TextKeys:
    return TextKeys(offers.product, offers.gtin, offers.title, offers.group, offers.signature)


def _shares_something(offers: Reserve, changed: TextKeys, threads: int) -> Mask:
    """False for offers that surely share no key and no band with any of the changed ones."""
    shares = np.zeros(len(offers), dtype=np.bool_)

    columns = [(getattr(offers, name), getattr(changed, name)) for name in FIELDS]
    pairs = [(mine, theirs[theirs != 0]) for mine, theirs in columns]
    pairs += [(_band_keys(offers.signature, band), _band_keys(changed.signature, band)) for band in range(BANDS)]
    for found in run_in_order(lambda columns: is_among(*columns), pairs, threads):
        shares |= found
    return shares


def _look(offers: Reserve, reference: Reserve, similarity: float, threads: int) -> Mask:
    """True for offers that nearly repeat one of the reference."""
    near = is_among(offers.group, reference.group)
    for mine, theirs in (
        (offers.product, reference.product),
        (offers.gtin, reference.gtin),
        (offers.title, reference.title),
    ):
        near |= is_among(mine, theirs[theirs != 0])
    rows = np.flatnonzero(~near & (offers.signature[:, 0] != EMPTY))
    known = np.ascontiguousarray(reference.signature[reference.signature[:, 0] != EMPTY])
    if not len(rows) or not len(known):
        return near
    few = offers.signature[rows] if len(rows) < len(known) else None
    bands = list(run_in_order(lambda band: _index(known, band, few), range(BANDS), threads))
    wanted = int(np.ceil(round(similarity * SIGNATURE_VALUES, 9)))

    def search(start: int) -> Places:
        some = rows[start : start + ROWS_AT_ONCE]
        return some[_find_similar(offers.signature[some], known, bands, wanted)]

    for found in run_in_order(search, range(0, len(rows), ROWS_AT_ONCE), threads):
        near[found] = True
    return near


def _index(reference: Signatures, index: int, offers: Signatures | None) -> Band:
    """offers: where these are few, only what may share the band with one of them is put in order."""
    keys = _band_keys(reference, index)
    if offers is None:
        rows = np.argsort(keys, kind="stable")
    else:
        rows = np.flatnonzero(maybe_among(keys, _band_keys(offers, index)))
        rows = rows[np.argsort(keys[rows], kind="stable")]
    shift = np.uint64(64 - int(np.clip(np.ceil(np.log2(16 * max(1, len(rows)))), 10, 24)))
    seen = np.zeros(1 << (64 - int(shift)), dtype=np.bool_)
    keys = keys[rows]
    seen[_bucket(keys, shift)] = True
    return Band(index, keys, rows, seen, shift)


def _band_keys(signatures: Signatures, index: int) -> U64:
    """The four values of a band as one number. [offers]"""
    return np.ascontiguousarray(signatures.view(np.uint64)[:, index])


def _bucket(keys: U64, shift: np.uint64) -> Places:
    return ((keys * SCATTER) >> shift).view(np.int64)


def _find_similar(signatures: Signatures, reference: Signatures, bands: list[Band], wanted: int) -> Mask:
    """True for signatures that share at least `wanted` values with one of the reference that shares a band."""
    similar = np.zeros(len(signatures), dtype=np.bool_)
    for band in bands:
        keys = _band_keys(signatures, band.index)
        rows = np.flatnonzero(band.seen[_bucket(keys, band.shift)] & ~similar)
        keys = keys[rows]
        place = np.searchsorted(band.keys, keys, side="left")
        last = np.minimum(np.searchsorted(band.keys, keys, side="right"), place + COMPARED_PER_BAND)
        while len(rows):
            going = place < last
            rows, place, last = rows[going], place[going], last[going]
            equal = np.count_nonzero(signatures[rows] == reference[band.rows[place]], axis=1) >= wanted
            similar[rows[equal]] = True
            rows, place, last = rows[~equal], place[~equal] + 1, last[~equal]
    return similar
