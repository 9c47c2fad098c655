"""Choosing the reserve's offers from the indexes of parts: the living rows at or below their horizons.

A part's keys ascend in runs, and ranks are keys whose bits a mask flips: the smallest ranks of a run are a few ranges
of its rows, found by bisection. Only those rows are looked at; how many follows from the deepest horizon of the part's
own shops. A part whose keys are in no order is looked at row by row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from sortiment.codebook import Codes
from sortiment.feeds.offer_index import WITHDRAWN
from sortiment.sampling.counts import PairCounts, pair_codes
from sortiment.sampling.horizons import Horizons
from sortiment.sampling.ledger import UNLABELLED, Ledger, Positions, cut_rows
from sortiment.sampling.order import HIGHEST_RANK, Keys, mask_of_seed, rank_keys
from sortiment.sampling.parts import run_in_order
from sortiment.sampling.row_files import PartRows, RowReader

PRECISION_BITS = 5
"""The ranges hold at most a sixteenth more of the key space than the limit asks for."""


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


def choose_rows(
    ledger: Ledger,
    parts: Sequence[PartRows],
    horizons: Horizons,
    counts: PairCounts,
    seed: int,
    reader: RowReader,
    threads: int,
) -> Chosen:
    """The living rows of some parts of the ledger at or below their horizons. counts: of all living rows."""
    counts = counts.of_shops({shop for part in parts for shop in part.shops})
    limits = np.minimum(horizons.of_pairs(counts.pairs), horizons.categories[counts.categories])
    category_limit, by_shop = _deepest(counts.categories, limits), _deepest(counts.shops, limits)
    free_limit = _limits_of_unlabelled(horizons)

    def choose_in(part: PartRows) -> list[Chosen]:
        limit = int(by_shop[[shop for shop in part.shops if shop < len(by_shop)]].max(initial=0))
        return [choose(part, start, stop) for start, stop in _near_rows(part, limit, seed, reader)]

    def choose(part: PartRows, start: int, stop: int) -> Chosen:
        keys, categories, shops = reader.columns(part, start, stop)
        ranks = rank_keys(keys, seed)
        known = np.minimum(categories, np.uint32(len(category_limit) - 1))
        rows = np.flatnonzero((ranks <= category_limit[known]) & (categories != WITHDRAWN))
        rows = rows[~ledger.dead_at(rows + part.first_row + start)]
        free = categories[rows] == UNLABELLED
        if free.any() and len(free_limit):
            limit = np.append(free_limit, HIGHEST_RANK)[np.minimum(shops[rows[free]], np.uint32(len(free_limit)))]
            kept = ~free
            kept[free] = ranks[rows[free]] <= limit
            rows = rows[kept]
        rows = rows[ranks[rows] <= horizons.of_pairs(pair_codes(categories[rows], shops[rows]))]
        return Chosen(rows + part.first_row + start, keys[rows], categories[rows], shops[rows])

    found = [Chosen(*(np.empty(0, dtype=kind) for kind in ("i8", "u8", "u4", "u4")))]
    found += chain.from_iterable(run_in_order(choose_in, parts, threads))
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


def _near_rows(part: PartRows, limit: int, seed: int, reader: RowReader) -> Iterator[tuple[int, int]]:
    """Ranges of rows, ascending and of a bounded length, that hold every row whose rank is within the limit."""
    ranges = [(0, part.rows)]
    if part.has_long_runs and limit < int(HIGHEST_RANK):
        ranges = list(_near_in_runs(part, near_keys(limit, seed), reader))
    joined: list[tuple[int, int]] = []
    for start, stop in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    for start, stop in joined:
        yield from ((block.start, block.stop) for block in cut_rows(part, start, stop))


def _near_in_runs(part: PartRows, ranges: list[tuple[int, int]], reader: RowReader) -> Iterator[tuple[int, int]]:
    lows, highs = (np.array(edges, dtype=np.uint64) for edges in zip(*ranges, strict=True))
    keys = reader.mapped_keys(part)
    for first, last in zip(part.runs, [*part.runs[1:], part.rows], strict=True):
        run = keys[first:last]
        begins, ends = np.searchsorted(run, lows, "left"), np.searchsorted(run, highs, "right")
        yield from zip((begins + first).tolist(), (ends + first).tolist(), strict=True)


def _deepest(codes: Codes, limits: Keys) -> Keys:
    """By code the largest of its limits: no offer of a category, or of a shop, is wanted beyond."""
    deepest = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.uint64)
    np.maximum.at(deepest, codes, limits)
    return deepest


def _limits_of_unlabelled(horizons: Horizons) -> Keys:
    """Shop horizons of the pool without a label, by shop code: most of its rows are decided by one look-up."""
    mine = (horizons.pairs >> np.uint64(32)) == UNLABELLED
    shops = (horizons.pairs[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    limits = np.full(int(shops.max(initial=-1)) + 1, HIGHEST_RANK)
    limits[shops] = horizons.shops[mine]
    return limits
