"""Which rows of a reserve a draw takes, and whether the reserve is deep enough for it.

The draw, exactly: within a category, an offer is *eligible* if fewer than `cap` offers of its shop in that category
have a smaller rank; the draw is the `target` eligible offers with the smallest ranks. Adding offers can only push an
offer back in either order, so whatever is drawn from a union was drawn from its part: the draw is mergeable with its
caps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.codebook import Codes
from sortiment.sampling.counts import SHOP_BITS, Offers, Pairs, pair_codes
from sortiment.sampling.horizons import Demand, Horizons
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.membership import maybe_among, maybe_crowded
from sortiment.sampling.order import HIGHEST_RANK, Keys

Mask = npt.NDArray[np.bool_]
NO_SHOP = 0


@dataclass(frozen=True)
class ReserveRows:
    """What of a reserve decides a draw, one entry per row."""

    ranks: Keys
    categories: Codes
    shops: Codes

    @property
    def pairs(self) -> Pairs:
        return pair_codes(self.categories, self.shops)

    @property
    def capped(self) -> Mask:
        """Rows that the shop cap concerns: all with a shop, and all without a label."""
        capped: Mask = (self.shops != NO_SHOP) | (self.categories == UNLABELLED)
        return capped


def find_eligible(rows: ReserveRows, caps: Offers) -> Mask:
    """True where fewer than the category's cap of the same shop's offers come before."""
    eligible = np.ones(len(rows.ranks), dtype=np.bool_)
    capped = np.flatnonzero(rows.capped)
    eligible[capped] = first_of_group(rows.pairs[capped], rows.ranks[capped], caps[rows.categories[capped]])
    return eligible


def draw_rows(rows: ReserveRows, asked: Demand) -> tuple[Mask, Pairs]:
    """True where the row is drawn; and the (category, shop) pairs whose cap cut an offer that would else have been.

    The pairs ascend.
    """
    eligible = find_eligible(rows, asked.caps)
    first = np.flatnonzero(eligible)
    categories = rows.categories[first]
    drawn = eligible.copy()
    drawn[first] = first_of_group(categories.astype(np.uint64), rows.ranks[first], asked.targets[categories])
    return drawn, _find_binding(rows, eligible, drawn, asked)


def first_of_group(groups: npt.NDArray[np.uint64], ranks: Keys, limits: Offers) -> Mask:
    """True for the rows among the first `limit` of their group by rank; a group has one limit."""
    first = np.ones(len(groups), dtype=np.bool_)
    rows = np.flatnonzero(maybe_crowded(groups, limits))
    if len(rows):
        if not _is_ordered(groups[rows], ranks[rows]):
            rows = rows[np.lexsort((ranks[rows], groups[rows]))]
        first[rows] = _place_in_run(groups[rows]) < limits[rows]
    return first


def _is_ordered(groups: npt.NDArray[np.uint64], ranks: Keys) -> bool:
    same = groups[1:] == groups[:-1]
    return bool(np.where(same, ranks[1:] > ranks[:-1], groups[1:] > groups[:-1]).all())


def _find_binding(rows: ReserveRows, eligible: Mask, drawn: Mask, asked: Demand) -> Pairs:
    count = len(asked.targets)
    taken = np.bincount(rows.categories[drawn], minlength=count)
    last = np.zeros(count, dtype=np.uint64)
    np.maximum.at(last, rows.categories[drawn], rows.ranks[drawn])
    last[taken < asked.targets] = HIGHEST_RANK
    cut = ~eligible & (rows.ranks <= last[rows.categories])
    return np.unique(rows.pairs[cut])


def short_categories(rows: ReserveRows, horizons: Horizons, needed: Offers, caps: Offers) -> Mask:
    """Categories of which offers beyond the horizons could belong to a draw of `needed` offers.

    A category is deep enough if its needed-th eligible row lies within its horizon (or all of the category does), and
    every shop that goes less deep than that row has one offer more than its cap within the reserve (that one tells
    whether the cap cut anything).
    """
    count = len(needed)
    eligible = np.flatnonzero(find_eligible(rows, caps))
    if not _is_ordered(rows.categories[eligible].astype(np.uint64), rows.ranks[eligible]):
        eligible = eligible[np.lexsort((rows.ranks[eligible], rows.categories[eligible]))]
    categories = rows.categories[eligible]
    place = _place_in_run(categories)
    last = np.full(count, HIGHEST_RANK)
    at = place == needed[categories] - 1
    last[categories[at]] = rows.ranks[eligible[at]]
    filled = np.zeros(count, dtype=np.bool_)
    filled[categories[at]] = True
    short = ~filled & (horizons.categories < HIGHEST_RANK)
    if len(horizons.pairs):
        of = (horizons.pairs >> SHOP_BITS).astype(np.int64)
        held = _count_of(rows.pairs, horizons.pairs)
        lacking = (horizons.shops < last[of]) & (held <= caps[of])
        short[of[lacking]] = True
    short &= needed > 0
    return short


def _place_in_run(ordered: Any) -> Offers:
    """0, 1, 2, ... within each run of equal values."""
    if not len(ordered):
        return np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return np.arange(len(ordered)) - np.repeat(starts, np.diff(np.append(starts, len(ordered))))


def _count_of(values: Pairs, wanted: Pairs) -> Offers:
    """How often each of the sorted wanted pairs occurs."""
    found = values[maybe_among(values, wanted)]
    place = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
    return np.bincount(place[wanted[place] == found], minlength=len(wanted))
