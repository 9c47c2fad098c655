"""How many living offers each shop has in each category: exact, sparse, mergeable.

One entry per (category, shop) that has an offer, as a pair code `category << 32 | shop`, ascending.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sortiment.errors import SamplingError
from sortiment.sampling.order import has_long_runs, order_runs

Pairs = npt.NDArray[np.uint64]
Offers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]

SHOP_BITS = np.uint64(32)
SHOPS = np.uint64(0xFFFFFFFF)
ENTRIES_BEFORE_MERGE = 4_000_000


class ContradictoryParts(SamplingError):
    """Parts whose rows and counts contradict each other: one of them is damaged, and cannot be told."""

    def __init__(self, offers: int) -> None:
        super().__init__(
            "more offers of a category were replaced than there are",
            value=offers,
            allowed="a key belongs to one shop, and a part holds it once",
            fix="materialize feed_files again: it compares the files of the country's parts with their manifests, and "
            "loads again what is damaged; where nothing was, delete the country's sample_state folder: it is made anew",
        )


@dataclass(frozen=True)
class PairCounts:
    """Living offers per (category, shop)."""

    pairs: Pairs
    offers: Offers

    @cached_property
    def categories(self) -> Codes:
        return (self.pairs >> SHOP_BITS).astype(np.uint32)

    @cached_property
    def shops(self) -> Codes:
        return (self.pairs & SHOPS).astype(np.uint32)

    def plus(self, other: "PairCounts") -> "PairCounts":
        """The sum of both, entry by entry; entries that come to nothing are gone."""
        return sum_pairs(np.concatenate([self.pairs, other.pairs]), np.concatenate([self.offers, other.offers]))

    def minus(self, other: "PairCounts") -> "PairCounts":
        """So many offers less. Raises SamplingError where a count would fall below zero."""
        return self.plus(PairCounts(other.pairs, -other.offers))

    def by_category(self, categories: int) -> Offers:
        """Living offers of each category code."""
        return np.bincount(self.categories, weights=self.offers, minlength=categories).astype(np.int64)

    def shops_by_category(self, categories: int) -> Offers:
        """Distinct shops of each category code."""
        return np.bincount(self.categories, minlength=categories).astype(np.int64)

    def of_shops(self, shops: set[int]) -> "PairCounts":
        """The entries of these shops (codes)."""
        wanted = np.zeros(int(max(self.shops.max(initial=0), *shops, 0)) + 1, dtype=np.bool_)
        wanted[list(shops)] = True
        mine = wanted[self.shops]
        return PairCounts(self.pairs[mine], self.offers[mine])

    def of(self, pairs: Pairs) -> Offers:
        """The count of each pair; zero where there is none."""
        if not len(self.pairs):
            return np.zeros(len(pairs), dtype=np.int64)
        place = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        return np.where(self.pairs[place] == pairs, self.offers[place], 0)


class PairCounter:
    """Adds up entries as they come, merging now and then so that memory follows the distinct pairs."""

    def __init__(self) -> None:
        self._total = no_pairs()
        self._pairs: list[Pairs] = []
        self._offers: list[Offers] = []
        self._waiting = 0

    def add(self, pairs: Pairs, offers: Offers) -> None:
        self._pairs.append(pairs)
        self._offers.append(offers)
        self._waiting += len(pairs)
        if self._waiting >= ENTRIES_BEFORE_MERGE:
            self._merge()

    def total(self) -> PairCounts:
        self._merge()
        return self._total

    def _merge(self) -> None:
        self._total = sum_pairs(
            np.concatenate([self._total.pairs, *self._pairs]), np.concatenate([self._total.offers, *self._offers])
        )
        self._pairs, self._offers, self._waiting = [], [], 0


def no_pairs() -> PairCounts:
    return PairCounts(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))


def pair_codes(categories: Codes, shops: Codes) -> Pairs:
    return (categories.astype(np.uint64) << SHOP_BITS) | shops.astype(np.uint64)


def sum_pairs(pairs: Pairs, offers: Offers) -> PairCounts:
    """Entries with the same pair added up, zeros left out."""
    if not len(pairs):
        return no_pairs()
    order = _order_pairs(pairs)
    pairs, offers = pairs[order], offers[order]
    starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
    sums = np.add.reduceat(offers, starts)
    if sums.min() < 0:
        raise ContradictoryParts(int(sums.min()))
    pairs, kept = pairs[starts], sums > 0
    return PairCounts(pairs, sums) if kept.all() else PairCounts(pairs[kept], sums[kept])


def _order_pairs(pairs: Pairs) -> Offers:
    """The places of the pairs in ascending order; by two counting sorts where codes are small and runs short."""
    if has_long_runs(pairs) or int(pairs.max()) >> 48 or int((pairs & SHOPS).max()) >> 16:
        return order_runs(pairs)
    by_shop = np.argsort(pairs.astype(np.uint16), kind="stable")
    order: Offers = by_shop[np.argsort((pairs >> SHOP_BITS).astype(np.uint16)[by_shop], kind="stable")]
    return order
