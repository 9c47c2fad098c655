"""Choosing the reserve's offers from a ledger: the living rows at or below their horizons.

A part's keys ascend in runs, and ranks are keys whose bits a mask flips: the smallest ranks of a run are a few ranges
of its rows, found by bisection. Only those rows are looked at; how many follows from the deepest horizon of the part's
own shops. A part whose keys are in no order is looked at row by row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.codes import Codes
from sortiment.sampling.counts import PairCounts, pair_codes
from sortiment.sampling.horizons import Horizons
from sortiment.sampling.ledger import UNLABELLED, WITHDRAWN, Ledger, PartRows, Positions, cut_rows
from sortiment.sampling.order import HIGHEST_RANK, Keys, mask_of_seed, rank_keys
from sortiment.sampling.parts import run_in_order

PRECISION_BITS = 5
"""The ranges hold at most a sixteenth more of the key space than the limit asks for."""
ROWS_OF_A_RUN = 4_096
"""In a part whose runs are shorter in the mean, bisection is not worth it."""


@dataclass(frozen=True)
class Chosen:
    """Rows of one ledger that a reserve must hold, by position, ascending."""

    positions: Positions
    keys: Keys
    categories: Codes
    shops: Codes

    def at(self, mask: npt.NDArray[np.bool_]) -> "Chosen":
        """The rows where the mask is true."""
        return Chosen(self.positions[mask], self.keys[mask], self.categories[mask], self.shops[mask])


def choose_rows(ledger: Ledger, horizons: Horizons, counts: PairCounts, seed: int, threads: int) -> Chosen:
    """The living rows of the ledger at or below their horizons. counts: of all living rows, also of other ledgers."""
    category_limit = horizons.deepest(counts)
    free_limit = _limits_of_unlabelled(horizons)

    def choose(block: tuple[int, int]) -> Chosen:
        keys, categories, shops = ledger.keys(*block), ledger.categories(*block), ledger.shops(*block)
        ranks = rank_keys(keys, seed)
        known = np.minimum(categories, np.uint32(len(category_limit) - 1))
        rows = np.flatnonzero((ranks <= category_limit[known]) & (categories != WITHDRAWN))
        rows = rows[~ledger.dead_at(rows + block[0])]
        free = categories[rows] == UNLABELLED
        if free.any() and len(free_limit):
            limit = np.append(free_limit, HIGHEST_RANK)[np.minimum(shops[rows[free]], np.uint32(len(free_limit)))]
            kept = ~free
            kept[free] = ranks[rows[free]] <= limit
            rows = rows[kept]
        rows = rows[ranks[rows] <= horizons.of_pairs(pair_codes(categories[rows], shops[rows]))]
        return Chosen(rows + block[0], keys[rows], categories[rows], shops[rows])

    found = [Chosen(*(np.empty(0, dtype=kind) for kind in ("i8", "u8", "u4", "u4")))]
    found += run_in_order(choose, _near_blocks(ledger, horizons, counts, seed), threads)
    return Chosen(
        np.concatenate([one.positions for one in found]),
        np.concatenate([one.keys for one in found]),
        np.concatenate([one.categories for one in found]),
        np.concatenate([one.shops for one in found]),
    )


def near_keys(limit: int, seed: int) -> list[tuple[int, int]]:
    """Ranges of keys, ascending, first and last included, that hold every key whose rank is at most the limit."""
    shift = max(0, limit.bit_length() - PRECISION_BITS)
    flip = mask_of_seed(seed) >> shift
    ranges: list[tuple[int, int]] = []
    for block in sorted(block ^ flip for block in range((limit >> shift) + 1)):
        low, high = block << shift, ((block + 1) << shift) - 1
        if ranges and ranges[-1][1] + 1 == low:
            ranges[-1] = ranges[-1][0], high
        else:
            ranges.append((low, high))
    return ranges


def _near_blocks(ledger: Ledger, horizons: Horizons, counts: PairCounts, seed: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, ascending, that hold every row which may be chosen."""
    start = stop = 0
    for begin, end in _near_ranges(ledger, horizons, counts, seed):
        if begin > stop:
            yield from cut_rows(start, stop)
            start = begin
        stop = end
    yield from cut_rows(start, stop)


def _near_ranges(ledger: Ledger, horizons: Horizons, counts: PairCounts, seed: int) -> Iterator[tuple[int, int]]:
    by_shop = _deepest_by_shop(horizons, counts)
    for part in ledger.parts:
        limit = int(
            by_shop[np.array([shop for shop in part.shops if shop < len(by_shop)], dtype=np.int64)].max(initial=0)
        )
        if len(part.runs) * ROWS_OF_A_RUN > part.rows or not part.runs or limit == int(HIGHEST_RANK):
            yield part.first_row, part.first_row + part.rows
        else:
            yield from _near_in_runs(ledger, part, near_keys(limit, seed))


def _near_in_runs(ledger: Ledger, part: PartRows, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    lows, highs = (np.array(edges, dtype=np.uint64) for edges in zip(*ranges, strict=True))
    keys = ledger.mapped_keys()
    for first, last in zip(part.runs, [*part.runs[1:], part.rows], strict=True):
        start = part.first_row + first
        run = keys[start : part.first_row + last]
        begins, ends = np.searchsorted(run, lows, "left"), np.searchsorted(run, highs, "right")
        yield from zip((begins + start).tolist(), (ends + start).tolist(), strict=True)


def _deepest_by_shop(horizons: Horizons, counts: PairCounts) -> Keys:
    """By shop code the largest rank that an offer of the shop can have and be within both its horizons."""
    shops = counts.shops
    deepest = np.zeros(int(shops.max(initial=0)) + 1, dtype=np.uint64)
    np.maximum.at(deepest, shops, np.minimum(horizons.of_pairs(counts.pairs), horizons.categories[counts.categories]))
    return deepest


def _limits_of_unlabelled(horizons: Horizons) -> Keys:
    """Shop horizons of the pool without a label, by shop code: most of its rows are decided by one look-up."""
    mine = (horizons.pairs >> np.uint64(32)) == UNLABELLED
    shops = (horizons.pairs[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    limits = np.full(int(shops.max(initial=-1)) + 1, HIGHEST_RANK)
    limits[shops] = horizons.shops[mine]
    return limits
