"""How many offers each category is asked for, and which categories are head, torso and tail. Both follow the census."""

import numpy as np
import numpy.typing as npt

from sortiment.sampling.counts import Offers, PairCounts
from sortiment.sampling.horizons import Demand, fair_cap, shop_cap
from sortiment.sampling.ledger import UNLABELLED
from sortiment.settings import SamplingSettings

SLICES = ("head", "torso", "tail")


def ask_of(counts: PairCounts, categories: int, settings: SamplingSettings) -> Demand:
    """Targets and shop caps by category code, for the policy. Never more than the state was kept for.

    cap: `per_category` each. sqrt and temperature: `per_category * (offers / offers of the largest) ** power`, rounded
    up, at least `minimum_per_category`. The cap per shop is its share of the target, rounded up. The pool without a
    label (code 0) has its own target, and the smallest cap with which its shops together fill it.
    """
    offers = counts.by_category(categories)
    labelled = offers.copy()
    labelled[UNLABELLED] = 0
    power = {"cap": 0.0, "sqrt": 0.5, "temperature": settings.temperature}[settings.policy]
    relative = labelled / max(1, int(labelled.max(initial=1)))
    asked = np.ceil(np.round(settings.per_category * relative**power, 9)).astype(np.int64)
    targets = np.clip(asked, min(settings.minimum_per_category, settings.per_category), settings.per_category)
    caps = np.array([shop_cap(target, settings.per_shop_share) for target in range(settings.per_category + 1)])[targets]
    targets[UNLABELLED] = settings.unlabelled_per_country
    caps[UNLABELLED] = fair_cap(counts.offers[counts.categories == UNLABELLED], settings.unlabelled_per_country)
    return Demand(targets, caps)


def slice_categories(offers: Offers, settings: SamplingSettings) -> npt.NDArray[np.int64]:
    """Index into SLICES by category code, from living offers per category; equal sizes always share a slice.

    A category is head if the larger ones together hold less than `head_share` of the labelled offers, tail if they hold
    `1 - tail_share` or more, torso otherwise.
    """
    labelled = offers.copy()
    labelled[UNLABELLED] = 0
    total = max(1, int(labelled.sum()))
    _, inverse = np.unique(labelled, return_inverse=True)
    per_size = np.bincount(inverse, weights=labelled)
    larger = total - np.cumsum(per_size)
    share = np.round(larger / total, 12)
    by_size = np.where(share < settings.head_share, 0, np.where(share >= 1 - settings.tail_share, 2, 1))
    slices: npt.NDArray[np.int64] = by_size[inverse]
    return slices
