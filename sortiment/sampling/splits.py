"""Train, validation, test: by product group, so that an offer's side depends on nothing but the offer.

The side is read off a hash of the group key, which the seed does not change and other offers do not change: an offer
never changes sides. Where one product's offers still fall apart (a GTIN given by one shop only, titles a little too
different for one key), an offer of the larger side is *left out*, not moved: validation yields to test, training to
both.

Exceptions, counted in the report. A category none of whose drawn offers falls to training lends them all to it (a class
that is never trained cannot be tested). A country with an empty test or validation side gives it the training group
that is next by hash, from categories that keep a training offer. And where too few training offers of a category would
be left (LEAST_KEPT), since its titles are all alike, the test and validation offers yield: it is learned, not tested.
Where that is all that a country has, its test side is empty after all.
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
LEAST_KEPT = 0.25
"""Share of a category's training offers, rounded down but one at least, that near duplicates must leave it."""
SPLIT_SALT = np.uint64(0x5851F42D4C957F2D)

Sides = npt.NDArray[np.int8]
Categories = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Split:
    """sides: index into SPLITS. kept: False for offers left out as near duplicates. The exceptions are counted. lent:
    offers lent to training; moved: groups given to an empty side; alike: training offers whose test offers yielded.

    verdicts: what was found to be near duplicates; the next split may be given it.
    """

    sides: Sides
    kept: Mask
    lent: int
    moved: int
    alike: int = 0
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
    training = labelled & (sides == TRAIN)
    lent = labelled & (_count(offers.categories, training) == 0)[offers.categories]
    sides[lent] = TRAIN
    moved = 0
    for side, share in ((TEST, settings.test_share), (VALIDATION, settings.validation_share)):
        if share > 0.0 and not (sides[labelled] == side).any():
            moved += _fill_side(sides, side, offers, labelled & (sides == TRAIN))
    lent &= sides == TRAIN
    kept = np.ones(len(sides), dtype=np.bool_)
    found: KeptVerdicts = {}
    alike = np.zeros(len(sides), dtype=np.bool_)
    if settings.near_duplicates == "drop":
        similarity = settings.near_duplicate_similarity
        kept, alike, found = _leave_out(sides, offers, labelled, lent, similarity, threads, before or {})
    return Split(sides, kept, int(lent.sum()), moved, int((alike & labelled).sum()), found)


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


def _count(categories: Categories, mask: Mask) -> npt.NDArray[np.int64]:
    """How many offers of the mask each category has."""
    return np.bincount(categories[mask], minlength=int(categories.max(initial=0)) + 1)


def _leave_out(
    sides: Sides,
    offers: Reserve,
    labelled: Mask,
    protected: Mask,
    similarity: float,
    threads: int,
    before: KeptVerdicts,
) -> tuple[Mask, Mask, dict[str, Verdicts]]:
    """False for offers that nearly repeat one of a smaller side; training offers that do and stay, so that the smaller
    side's yielded; and what was found of each larger side."""
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
    training = labelled & (sides == TRAIN)
    left, all_of = (_count(offers.categories, mask) for mask in (training & kept, training))
    alike = training & (left < np.maximum(1, np.floor(LEAST_KEPT * all_of)))[offers.categories]
    kept |= alike
    if (protected | alike).any():
        drop(sides != TRAIN, protected | alike)
    return kept, alike, found
