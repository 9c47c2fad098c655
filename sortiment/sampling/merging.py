"""Two states as one: the law sample(A + B) = merge(sample(A), sample(B)), byte for byte, with shop caps.

B comes later than A: where both hold a key, B's row wins, and a withdrawn row in B removes the offer. The union's
reserve is the living rows of both reserves at or below the smaller horizons (`horizons.py`). Withdrawals and changed
labels only ever thin a reserve out. When a category's reserve can no longer give the largest draw exactly, it alone is
refilled: one scan of the indexes (16 bytes a row, no Parquet), then the row groups that hold its missing offers.

The bound on refills: a category's reserve holds more than slack times the offers of a draw, so it runs out only after
the category lost more than the share (slack - 1) / slack of the offers that it had when its horizon was set: a fifth by
default. Offers that come in between only help. So for a category of n offers there is at most one refill in every n / 5
withdrawals, whatever the number of days.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.codebook import CodeBook, Codes
from sortiment.progress import Progress
from sortiment.sampling.choosing import choose_rows
from sortiment.sampling.compaction import is_mostly_dead, keep_living
from sortiment.sampling.counting import bury
from sortiment.sampling.counts import SHOP_BITS, PairCounts, pair_codes, sum_pairs
from sortiment.sampling.eligible import ReserveRows, short_categories
from sortiment.sampling.horizons import Demand, Horizons, demand_of, set_horizons
from sortiment.sampling.ledger import (
    KEYS_AT_ONCE,
    ROWS_AT_ONCE,
    UNLABELLED,
    Ledger,
    Mask,
    Positions,
    WantedKeys,
    find_keys,
    read_keys,
    want_keys,
)
from sortiment.sampling.membership import is_among
from sortiment.sampling.order import HIGHEST_RANK, Keys, rank_keys
from sortiment.sampling.parts import Addresses
from sortiment.sampling.payload import (
    SegmentWriter,
    entries_at_once,
    fetch_offers,
    read_text_keys,
    read_texts,
    too_many,
)
from sortiment.sampling.reserve import Entries, empty_entries, merge_entries
from sortiment.sampling.row_files import PartRows, RowReader
from sortiment.sampling.state import State, write_state
from sortiment.settings import SamplingSettings

SHOP_MASK = np.uint64(0xFFFFFFFF)
WIDENING = 2.0


def combine(
    base: State,
    later: State,
    settings: SamplingSettings,
    folder: Path,
    *,
    counted_only: bool,
    skipped: tuple[str, ...],
    addresses: Addresses,
    threads: int,
    progress: Progress,
) -> State:
    """Both as one state, written into `folder`. `later` has the codes of `base`, continued.

    counted_only: `later` has no reserve yet; just its rows within the union's horizons are fetched.
    """
    reader = RowReader(later.category_ids, later.shop_ids, addresses)
    alive, ledger, counts = _bury_replaced(base, later, reader, threads)
    size = len(later.category_ids)
    doubtful = np.ones(size, dtype=np.bool_)
    lost = np.zeros(size, dtype=np.bool_)
    if counts is not base.counts:
        lost = base.counts.by_category(size) > counts.by_category(size)
    counts = counts.plus(later.counts)
    demand = demand_of(counts, size, settings)
    horizons = set_horizons(counts, demand, settings)
    if not counted_only:
        horizons = later.horizons.lowered(base.horizons.lowered(horizons) if base.ledger.parts else horizons)
        changed = doubtful
    elif base.ledger.parts:
        horizons, changed = base.horizons.renewed(horizons)
        doubtful = changed | lost
        doubtful[UNLABELLED] = True
    else:
        changed = doubtful
    kept = _within(base.reserve, horizons, changed, alive, settings.seed)
    kept_later = _within(later.reserve, horizons, changed, np.ones(len(later.reserve), dtype=np.bool_), settings.seed)
    state = replace(
        later,
        ledger=ledger.joined(later.ledger),
        counts=counts,
        horizons=horizons,
        reserve=merge_entries(kept, kept_later.moved(len(base.segments)), settings.seed),
        segments=(*base.segments, *later.segments),
        skipped=(*base.skipped, *later.skipped, *skipped),
        refills=base.refills + later.refills,
    )
    with SegmentWriter(folder, "texts-0.parquet") as writer:
        if too_many(state.segments, state.reserve):
            at_once = entries_at_once(state.segments, state.reserve)
            for first in range(0, len(state.reserve), at_once):
                some = state.reserve.at(np.arange(first, min(first + at_once, len(state.reserve))))
                texts = read_texts(state.segments, some, threads=threads)
                writer.append(some, read_text_keys(state.segments, some), texts)
            state = replace(state, reserve=empty_entries(), segments=())
        if counted_only:
            new = state.ledger.parts[len(ledger.parts) :]
            chosen = choose_rows(state.ledger, new, horizons, state.counts, settings.seed, reader, threads)
            fetch_offers(state.ledger, chosen, writer, reader=reader, threads=threads, progress=progress)
    state = _add(state, writer, settings.seed)
    state = _refill(
        state, demand, doubtful, folder, settings=settings, reader=reader, threads=threads, progress=progress
    )
    if counted_only and is_mostly_dead(state.ledger):
        state = replace(state, ledger=keep_living(state, folder, reader))
    write_state(state, folder)
    return state


def _add(state: State, writer: SegmentWriter, seed: int) -> State:
    """The state with what was written in its reserve."""
    if not writer.segment.rows:
        return state
    reserve = merge_entries(state.reserve, writer.entries.moved(len(state.segments)), seed)
    return replace(state, reserve=reserve, segments=(*state.segments, writer.segment))


def renumber(later: State, first: State) -> State:
    """The later state with its categories and shops numbered as in the first, new ones after them."""
    categories, shops = CodeBook(first.category_ids), CodeBook(first.shop_ids)
    category_map = categories.register_values(later.category_ids)
    shop_map = shops.register_values(later.shop_ids)
    departments = dict(zip(later.category_ids, later.departments, strict=True))
    departments |= dict(zip(first.category_ids, first.departments, strict=True))
    ranks = np.full(len(categories.values), HIGHEST_RANK)
    ranks[category_map] = later.horizons.categories
    pairs = _map_pairs(later.horizons.pairs, category_map, shop_map)
    order = np.argsort(pairs)
    return replace(
        later,
        ledger=replace(later.ledger, parts=tuple(_map_shops(part, shop_map) for part in later.ledger.parts)),
        category_ids=tuple(categories.values),
        departments=tuple(departments[category] for category in categories.values),
        shop_ids=tuple(shops.values),
        counts=sum_pairs(_map_pairs(later.counts.pairs, category_map, shop_map), later.counts.offers),
        horizons=Horizons(ranks, pairs[order], later.horizons.shops[order]),
        reserve=replace(
            later.reserve, categories=category_map[later.reserve.categories], shops=shop_map[later.reserve.shops]
        ),
    )


def _map_pairs(pairs: Keys, category_map: Codes, shop_map: Codes) -> Keys:
    return pair_codes(
        category_map[(pairs >> SHOP_BITS).astype(np.int64)], shop_map[(pairs & SHOP_MASK).astype(np.int64)]
    )


def _map_shops(part: PartRows, shop_map: Codes) -> PartRows:
    return replace(part, shops=tuple(sorted(int(shop_map[shop]) for shop in part.shops)))


def _bury_replaced(base: State, later: State, reader: RowReader, threads: int) -> tuple[Mask, Ledger, PairCounts]:
    """False for entries of the base's reserve that the later state holds too; the base's ledger with all such rows
    dead, its counts without.

    Only parts that share a shop can share a key, so only those are compared. A few million rows are looked for at a
    time, and forgotten.
    """
    shops = {shop for part in later.ledger.parts for shop in part.shops}
    sharing = [part for part in base.ledger.parts if not shops.isdisjoint(part.shops)]
    theirs = {shop for part in sharing for shop in part.shops}
    wanted = _living_keys(later.ledger, theirs, reader) if sharing else iter(())
    alive = np.ones(len(base.reserve), dtype=np.bool_)

    def find() -> Iterator[Positions]:
        for keys in wanted:
            found = np.sort(find_keys(base.ledger, keys, sharing, reader, threads))
            if len(found):
                np.logical_and(alive, ~is_among(base.reserve.keys, read_keys(base.ledger, found, reader)), out=alive)
                yield found

    return alive, *bury(base.ledger, base.counts, find(), reader)


def _living_keys(ledger: Ledger, shops: set[int], reader: RowReader) -> Iterator[WantedKeys]:
    """Keys of the rows that are not dead, withdrawals included, of parts that name one of the shops.

    A few million at a time.
    """
    waiting: list[tuple[Keys, Codes]] = []
    parts = [part for part in ledger.parts if not shops.isdisjoint(part.shops)]
    for block in ledger.blocks(parts, ROWS_AT_ONCE):
        where = block.part, block.start, block.stop
        keys, codes = reader.keys(*where), reader.shops(*where)
        dead = ledger.dead_rows(block)
        waiting.append((keys[~dead], codes[~dead]) if dead.any() else (keys, codes))
        if sum(len(keys) for keys, _ in waiting) >= KEYS_AT_ONCE:
            yield _join_wanted(waiting)
            waiting = []
    if waiting:
        yield _join_wanted(waiting)


def _join_wanted(rows: list[tuple[Keys, Codes]]) -> WantedKeys:
    if len(rows) == 1:
        return want_keys(*rows[0])
    return want_keys(np.concatenate([keys for keys, _ in rows]), np.concatenate([shops for _, shops in rows]))


def _within(reserve: Entries, horizons: Horizons, changed: Mask, alive: Mask, seed: int) -> Entries:
    """The entries that are alive, without what is beyond the horizons of changed categories."""
    kept = alive.copy()
    rows = np.flatnonzero(changed[reserve.categories])
    ranks, categories = rank_keys(reserve.keys[rows], seed), reserve.categories[rows]
    kept[rows] &= ranks <= horizons.categories[categories]
    kept[rows] &= ranks <= horizons.of_pairs(pair_codes(categories, reserve.shops[rows]))
    return reserve if kept.all() else reserve.at(kept)


def _refill(
    state: State,
    demand: Demand,
    doubtful: npt.NDArray[np.bool_],
    folder: Path,
    *,
    settings: SamplingSettings,
    reader: RowReader,
    threads: int,
    progress: Progress,
) -> State:
    """Deepen the categories whose reserve ran out, twice as deep each time that it is still not enough.

    doubtful: the categories that lost offers or whose horizons changed; additions alone never make a reserve short.
    """
    needed = np.where(demand.targets > 0, demand.needed(settings.per_shop_share), 0)
    widen, rounds = np.ones(len(needed)), 0
    while True:
        reserve = state.reserve
        looked_at = reserve if doubtful.all() else reserve.at(doubtful[reserve.categories])
        rows = ReserveRows(rank_keys(looked_at.keys, settings.seed), looked_at.categories, looked_at.shops)
        horizons = state.horizons if doubtful.all() else state.horizons.only(doubtful)
        short = short_categories(rows, horizons, needed, demand.caps) & doubtful
        if not short.any():
            return state
        horizons = state.horizons.replaced(set_horizons(state.counts, demand, settings, widen), short)
        rounds += 1
        with SegmentWriter(folder, f"texts-{rounds}.parquet") as writer:
            ledger = state.ledger
            chosen = choose_rows(ledger, ledger.parts, horizons, state.counts, settings.seed, reader, threads)
            missing = chosen.at(short[chosen.categories] & ~is_among(chosen.keys, reserve.keys))
            fetch_offers(ledger, missing, writer, reader=reader, threads=threads, progress=progress)
        state = replace(state, horizons=horizons, refills=state.refills + int(short.sum()))
        state = _add(state, writer, settings.seed)
        widen = np.where(short, widen * WIDENING, widen)
