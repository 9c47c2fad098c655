"""Train, validation, test: by product group, so that an offer's side depends on nothing but the offer.

The side is read off a hash of the group key, which the seed does not change and other offers do not change: an offer
never changes sides. Where one product's offers still fall apart (a GTIN given by one shop only, titles a little too
different for one key), an offer of the larger side is *left out*, not moved: validation yields to test, training to
both.

Two exceptions, counted in the report. A category none of whose drawn offers falls to training lends them all to it (a
class that is never trained cannot be tested), and where every training offer of a category nearly repeats a test offer,
the test offers yield. And a country with an empty test or validation side gives it the training group that is next by
hash, from categories that keep a training offer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.near import Mask, ProductKeys, find_near
from sortiment.sampling.text_keys import U64, mix
from sortiment.settings import SamplingSettings

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = ("train", "validation", "test")
SPLIT_SALT = np.uint64(0x5851F42D4C957F2D)

Sides = npt.NDArray[np.int8]
Categories = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Split:
    """sides: index into SPLITS. kept: False for offers left out as near duplicates. lent, moved: the exceptions."""

    sides: Sides
    kept: Mask
    lent: int
    moved: int


def split_hash(groups: U64) -> U64:
    """Where each group stands between 0 and 2**64: low is test, then validation, the rest is training."""
    return mix(groups ^ SPLIT_SALT)


def side_of(groups: U64, settings: SamplingSettings) -> Sides:
    """The side of each group key."""
    hashed = split_hash(groups)
    test = np.uint64(int(settings.test_share * 2**64))
    both = np.uint64(int((settings.test_share + settings.validation_share) * 2**64))
    sides: Sides = np.where(hashed < test, TEST, np.where(hashed < both, VALIDATION, TRAIN)).astype(np.int8)
    return sides


def split_offers(keys: ProductKeys, categories: Categories, labelled: Mask, settings: SamplingSettings) -> Split:
    """The split of one country's drawn offers; offers without a label are training."""
    sides = np.where(labelled, side_of(keys.group, settings), TRAIN).astype(np.int8)
    moved = _fill_sides(sides, keys.group, categories, labelled, settings)
    lent = labelled & ~np.isin(categories, categories[labelled & (sides == TRAIN)])
    sides[lent] = TRAIN
    kept = np.ones(len(sides), dtype=np.bool_)
    if settings.near_duplicates == "drop":
        similarity = settings.near_duplicate_similarity
        kept = _leave_out(sides, keys, categories, labelled=labelled, protected=lent, similarity=similarity)
    return Split(sides, kept, int(lent.sum()), moved)


def _fill_sides(sides: Sides, groups: U64, categories: Categories, labelled: Mask, settings: SamplingSettings) -> int:
    """Give an empty test or validation side, that was asked for, a group; returns how many groups moved."""
    moved = 0
    for side, share in ((TEST, settings.test_share), (VALIDATION, settings.validation_share)):
        training = np.flatnonzero(labelled & (sides == TRAIN))
        if share == 0.0 or not len(training) or (sides[labelled] == side).any():
            continue
        distinct = np.unique(groups[training])
        for group in distinct[np.argsort(split_hash(distinct))]:
            rows = training[groups[training] == group]
            others = training[groups[training] != group]
            if np.isin(categories[rows], categories[others]).all():
                sides[rows] = side
                moved += 1
                break
    return moved


def _leave_out(
    sides: Sides, keys: ProductKeys, categories: Categories, *, labelled: Mask, protected: Mask, similarity: float
) -> Mask:
    """False for offers that nearly repeat one of a smaller side."""
    kept = np.ones(len(sides), dtype=np.bool_)
    _drop(kept, (sides == VALIDATION), (sides == TEST), keys, similarity)
    before = kept.copy()
    _drop(kept, (sides == TRAIN) & ~protected, sides != TRAIN, keys, similarity)
    training = labelled & (sides == TRAIN)
    lost = training & ~np.isin(categories, categories[training & kept])
    protected = protected | lost
    kept[lost] = before[lost]
    _drop(kept, sides != TRAIN, protected, keys, similarity)
    return kept


def _drop(kept: Mask, candidates: Mask, reference: Mask, keys: ProductKeys, similarity: float) -> None:
    rows = np.flatnonzero(candidates & kept)
    kept[rows] = ~find_near(keys.at(rows), keys.at(np.flatnonzero(reference & kept)), similarity)
