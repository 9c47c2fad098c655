"""How many living offers each shop has in each category: exact, sparse, mergeable.

One entry per (category, shop) that has an offer, as a pair code `category << 32 | shop`, ascending.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.errors import SamplingError

Pairs = npt.NDArray[np.uint64]
Offers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]

SHOP_BITS = np.uint64(32)
ENTRIES_BEFORE_MERGE = 4_000_000
GRID_CELLS = 2**22
"""A part's counts are kept as a grid of categories by shops up to so many cells; beyond, as entries."""


@dataclass(frozen=True)
class PairCounts:
    """Living offers per (category, shop)."""

    pairs: Pairs
    offers: Offers

    @property
    def categories(self) -> Codes:
        return (self.pairs >> SHOP_BITS).astype(np.uint32)

    @property
    def shops(self) -> Codes:
        return (self.pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32)

    def plus(self, other: "PairCounts") -> "PairCounts":
        """The sum of both, entry by entry; entries that come to nothing are gone."""
        return sum_pairs(np.concatenate([self.pairs, other.pairs]), np.concatenate([self.offers, other.offers]))

    def minus(self, pairs: Pairs) -> "PairCounts":
        """One offer less for each pair in the list. Raises SamplingError where a count would fall below zero."""
        return self.plus(PairCounts(pairs, np.full(len(pairs), -1, dtype=np.int64)))

    def by_category(self, categories: int) -> Offers:
        """Living offers of each category code."""
        return np.bincount(self.categories, weights=self.offers, minlength=categories).astype(np.int64)

    def shops_by_category(self, categories: int) -> Offers:
        """Distinct shops of each category code."""
        return np.bincount(self.categories, minlength=categories).astype(np.int64)

    def of(self, pairs: Pairs) -> Offers:
        """The count of each pair; zero where there is none."""
        if not len(self.pairs):
            return np.zeros(len(pairs), dtype=np.int64)
        place = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        return np.where(self.pairs[place] == pairs, self.offers[place], 0)


class PartCounter:
    """Adds up one part's counts in a grid of categories by the part's shops, and hands them to a counter at the end.

    A part names few shops, so the grid is small, and adding to it needs no sort.
    """

    def __init__(self, counter: "PairCounter") -> None:
        self._counter = counter
        self._grid = np.zeros((1, 1), dtype=np.int64)
        self._columns: dict[int, int] = {}

    def add(self, category_codes: Codes, shop_codes: Codes, offers: tuple[Offers, Offers, Offers]) -> None:
        """Offers by place in two lists of codes: places of the categories, of the shops, and how many."""
        of_category, of_shop, counts = offers
        columns = np.array([self._columns.setdefault(code, len(self._columns)) for code in shop_codes.tolist()])
        if not self._fits(int(category_codes.max(initial=0)) + 1, len(self._columns)):
            self._counter.add(pair_codes(category_codes[of_category], shop_codes[of_shop]), counts)
            return
        cells = category_codes.astype(np.int64)[of_category] * self._grid.shape[1] + columns[of_shop]
        np.add.at(self._grid.reshape(-1), cells, counts)

    def close(self) -> None:
        """Hand the counts over."""
        shops = np.fromiter(self._columns, dtype=np.uint32, count=len(self._columns))
        categories, columns = np.nonzero(self._grid)
        self._counter.add(pair_codes(categories.astype(np.uint32), shops[columns]), self._grid[categories, columns])

    def _fits(self, rows: int, columns: int) -> bool:
        have = self._grid.shape
        if rows <= have[0] and columns <= have[1]:
            return True
        wanted = max(have[0], _doubled(rows)), max(have[1], _doubled(columns))
        if wanted[0] * wanted[1] > GRID_CELLS:
            return False
        grid = np.zeros(wanted, dtype=np.int64)
        grid[: have[0], : have[1]] = self._grid
        self._grid = grid
        return True


def _doubled(size: int) -> int:
    """The next power of two."""
    return 1 << (size - 1).bit_length()


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
    order = np.argsort(pairs)
    pairs, offers = pairs[order], offers[order]
    starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
    sums = np.add.reduceat(offers, starts)
    if sums.min() < 0:
        raise SamplingError(
            "more offers of a category were replaced than there are",
            value=int(sums.min()),
            allowed="a key belongs to one shop, and a part holds it once",
            fix="load the feed files again; then delete the country's sample_state folder: it is made anew",
        )
    kept = sums > 0
    return PairCounts(pairs[starts][kept], sums[kept])
