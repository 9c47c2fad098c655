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

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sortiment.sampling.near import find_near
from sortiment.sampling.reserve import Mask, Reserve
from sortiment.sampling.text_keys import U64, mix
from sortiment.sampling.verdicts import KeptVerdicts, Verdicts
from sortiment.settings import SamplingSettings

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = ("train", "validation", "test")
SPLIT_SALT = np.uint64(0x5851F42D4C957F2D)

Sides = npt.NDArray[np.int8]
Categories = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Split:
    """sides: index into SPLITS. kept: False for offers left out as near duplicates. lent, moved: the exceptions.

    verdicts: what was found to be near duplicates; the next split may be given it.
    """

    sides: Sides
    kept: Mask
    lent: int
    moved: int
    verdicts: KeptVerdicts = field(default_factory=dict, repr=False)


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


def split_offers(
    offers: Reserve,
    labelled: Mask,
    settings: SamplingSettings,
    threads: int = 2,
    before: KeptVerdicts | None = None,
) -> Split:
    """The split of one country's drawn offers, which ascend by offer key; offers without a label are training.

    before: verdicts of an earlier split with the same similarity. They change nothing but the time.
    """
    sides: Sides = np.where(labelled, side_of(offers.group, settings), TRAIN).astype(np.int8)
    moved = 0
    for side, share in ((TEST, settings.test_share), (VALIDATION, settings.validation_share)):
        if share > 0.0 and not (sides[labelled] == side).any():
            moved += _fill_side(sides, side, offers, labelled & (sides == TRAIN))
    lent = _without_training(sides, offers.categories, labelled, labelled)
    sides[lent] = TRAIN
    kept = np.ones(len(sides), dtype=np.bool_)
    found: KeptVerdicts = {}
    if settings.near_duplicates == "drop":
        similarity = settings.near_duplicate_similarity
        kept, found = _leave_out(sides, offers, labelled, lent, similarity, threads, before or {})
    return Split(sides, kept, int(lent.sum()), moved, found)


def _fill_side(sides: Sides, side: int, offers: Reserve, training: Mask) -> int:
    """Give an empty side the training group that is next by hash and leaves each of its categories another group."""
    rows = np.flatnonzero(training)
    groups, categories = offers.group[rows], offers.categories[rows].astype(np.int64)
    if not len(rows):
        return 0
    distinct, group = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([categories, group]), axis=1)
    groups_of_category = np.bincount(pairs[0])
    needed = np.bincount(pairs[1], weights=groups_of_category[pairs[0]] == 1) > 0
    free = np.flatnonzero(~needed)
    if not len(free):
        return 0
    chosen = free[np.argmin(split_hash(distinct[free]))]
    sides[rows[group == chosen]] = side
    return 1


def _without_training(sides: Sides, categories: Categories, labelled: Mask, kept: Mask) -> Mask:
    """Labelled offers of categories none of whose kept offers is training."""
    has = np.zeros(int(categories.max(initial=0)) + 1, dtype=np.bool_)
    has[categories[labelled & kept & (sides == TRAIN)]] = True
    without: Mask = labelled & ~has[categories]
    return without


def _leave_out(
    sides: Sides,
    offers: Reserve,
    labelled: Mask,
    protected: Mask,
    similarity: float,
    threads: int,
    before: KeptVerdicts,
) -> tuple[Mask, dict[str, Verdicts]]:
    """False for offers that nearly repeat one of a smaller side; and what was found of each larger side."""
    kept = np.ones(len(sides), dtype=np.bool_)

    def drop(candidates: Mask, reference: Mask, earlier: Verdicts | None = None) -> Verdicts:
        rows = np.flatnonzero(candidates & kept)
        found = find_near(offers.at(rows), offers.at(reference & kept), similarity, threads, earlier)
        kept[rows] = ~found.near
        return found

    found = {}
    for side, candidates, reference in (
        (SPLITS[VALIDATION], sides == VALIDATION, sides == TEST),
        (SPLITS[TRAIN], (sides == TRAIN) & ~protected, sides != TRAIN),
    ):
        found[side] = drop(candidates, reference, before.get(side))
    lost = (sides == TRAIN) & _without_training(sides, offers.categories, labelled, kept)
    kept |= lost
    if (protected | lost).any():
        drop(sides != TRAIN, protected | lost)
    return kept, found
