"""Two states as one: the law sample(A + B) = merge(sample(A), sample(B)), byte for byte, with shop caps.

B comes later than A: where both hold a key, B's row wins, and a withdrawn row in B removes the offer. The union's
reserve is the living rows of both reserves at or below the smaller horizons (`horizons.py`). Withdrawals and changed
labels only ever thin a reserve out. When a category's reserve can no longer give the largest draw exactly, it alone is
refilled: one scan of the ledgers (16 bytes a row, no Parquet), then the row groups that hold its missing offers.

The bound on refills: a category's reserve holds more than slack times the offers of a draw, so it runs out only after
the category lost more than the share (slack - 1) / slack of the offers that it had when its horizon was set: a fifth by
default. Offers that come in between only help. So for a category of n offers there is at most one refill in every n / 5
withdrawals, whatever the number of days.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from sortiment.progress import Progress
from sortiment.sampling.codes import CodeBook, Codes
from sortiment.sampling.compaction import is_mostly_dead, keep_living
from sortiment.sampling.counting import bury
from sortiment.sampling.counts import SHOP_BITS, PairCounts, pair_codes, sum_pairs
from sortiment.sampling.eligible import ReserveRows, short_categories
from sortiment.sampling.horizons import Demand, Horizons, demand_of, set_horizons
from sortiment.sampling.ledger import KEYS_AT_ONCE, Ledger, Positions, find_keys, remove_ledger
from sortiment.sampling.membership import is_among
from sortiment.sampling.order import HIGHEST_RANK, Keys, rank_keys
from sortiment.sampling.parts import S3Options
from sortiment.sampling.payload import SegmentWriter, choose_rows, fetch_offers, read_texts, too_many
from sortiment.sampling.reserve import Reserve, empty_reserve, join_reserves, order_reserve
from sortiment.sampling.state import LedgerReference, State, write_state
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
    s3: S3Options | None,
    threads: int,
    progress: Progress,
) -> State:
    """Both as one state, written into `folder`. `later` has the codes of `base`, continued.

    counted_only: `later` has no reserve yet; just its rows within the union's horizons are fetched.
    """
    replaced, ledgers, counts = _bury_replaced(base, later, threads)
    counts = counts.plus(later.counts)
    demand = demand_of(counts, len(later.category_ids), settings)
    horizons = set_horizons(counts, demand, settings)
    if base.ledgers:
        horizons = base.horizons.lowered(horizons)
    if not counted_only:
        horizons = later.horizons.lowered(horizons)
    kept = _within(base.reserve, horizons, replaced, settings.seed)
    kept_later = _within(later.reserve, horizons, replaced[:0], settings.seed)
    state = replace(
        later,
        ledgers=(*ledgers, *later.ledgers),
        counts=counts,
        horizons=horizons,
        reserve=join_reserves([kept, kept_later.moved(len(base.segments))]),
        segments=(*base.segments, *later.segments),
        skipped=(*base.skipped, *later.skipped, *skipped),
        refills=base.refills + later.refills,
    )
    with SegmentWriter(folder, "texts-0.parquet") as writer:
        if too_many(state.segments, state.reserve):
            writer.append(state.reserve, read_texts(state.segments, state.reserve, threads=threads))
            state = replace(state, reserve=empty_reserve(), segments=())
        for reference in later.ledgers if counted_only else ():
            chosen = choose_rows(reference.ledger, horizons, settings.seed, threads)
            fetch_offers(reference.ledger, chosen, writer, s3=s3, threads=threads, progress=progress)
    state = _add(state, writer, settings.seed)
    state = _refill(state, demand, folder, settings=settings, s3=s3, threads=threads, progress=progress)
    if counted_only and is_mostly_dead(state):
        state = replace(state, ledgers=keep_living(state, folder))
        remove_ledger(folder)
    write_state(state, folder)
    return state


def _add(state: State, writer: SegmentWriter, seed: int) -> State:
    """The state with what was written in its reserve."""
    if not writer.segment.rows:
        return replace(state, reserve=order_reserve(state.reserve, seed))
    added = writer.entries.moved(len(state.segments))
    reserve = order_reserve(join_reserves([state.reserve, added]), seed)
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
        ledgers=tuple(_map_ledger(reference, category_map, shop_map) for reference in later.ledgers),
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


def _map_ledger(reference: LedgerReference, category_map: Codes, shop_map: Codes) -> LedgerReference:
    ledger = reference.ledger
    parts = tuple(
        replace(part, shops=tuple(sorted(int(shop_map[shop]) for shop in part.shops))) for part in ledger.parts
    )
    mapped = replace(
        ledger,
        parts=parts,
        category_map=category_map if ledger.category_map is None else category_map[ledger.category_map],
        shop_map=shop_map if ledger.shop_map is None else shop_map[ledger.shop_map],
    )
    return replace(reference, ledger=mapped)


def _bury_replaced(base: State, later: State, threads: int) -> tuple[Keys, list[LedgerReference], PairCounts]:
    """Keys of the base that the later state holds too; the base's ledgers with those rows dead, its counts without.

    Only parts that share a shop can share a key, so only those are compared.
    """
    counts = base.counts
    shops = {shop for reference in later.ledgers for part in reference.ledger.parts for shop in part.shops}
    replaced = [np.empty(0, dtype=np.uint64)]
    ledgers = []
    for reference in base.ledgers:
        ledger = reference.ledger
        sharing = [part for part in ledger.parts if not shops.isdisjoint(part.shops)]
        positions = [np.empty(0, dtype=np.int64)]
        if sharing:
            theirs = {shop for part in sharing for shop in part.shops}
            positions += [find_keys(ledger, wanted, sharing, threads) for wanted in _living_keys(later, theirs)]
        found = np.sort(np.concatenate(positions))
        replaced.append(_keys_at(ledger, found))
        ledger, counts = bury(ledger, counts, found)
        ledgers.append(replace(reference, ledger=ledger))
    return np.sort(np.concatenate(replaced)), ledgers, counts


def _living_keys(state: State, shops: set[int]) -> Iterator[Keys]:
    """Sorted keys of the rows that are not dead, withdrawals included, of parts that name one of the shops.

    A few million at a time.
    """
    waiting: list[Keys] = []
    for reference in state.ledgers:
        ledger = reference.ledger
        for block in ledger.blocks([part for part in ledger.parts if not shops.isdisjoint(part.shops)]):
            waiting.append(ledger.keys(*block)[~ledger.dead_rows(*block)])
            if sum(len(keys) for keys in waiting) >= KEYS_AT_ONCE:
                yield np.unique(np.concatenate(waiting))
                waiting = []
    if waiting:
        yield np.unique(np.concatenate(waiting))


def _keys_at(ledger: Ledger, positions: Positions) -> Keys:
    found = [np.empty(0, dtype=np.uint64)]
    for start, stop in ledger.blocks() if len(positions) else ():
        low, high = np.searchsorted(positions, [start, stop])
        if low < high:
            found.append(ledger.keys(start, stop)[positions[low:high] - start])
    return np.concatenate(found)


def _within(reserve: Reserve, horizons: Horizons, replaced: Keys, seed: int) -> Reserve:
    """The entries without the replaced keys and what is now beyond the horizons."""
    ranks = rank_keys(reserve.keys, seed)
    kept = ranks <= horizons.categories[reserve.categories]
    kept &= ranks <= horizons.of_pairs(pair_codes(reserve.categories, reserve.shops))
    kept &= ~is_among(reserve.keys, replaced)
    return reserve if kept.all() else reserve.at(kept)


def _refill(
    state: State,
    demand: Demand,
    folder: Path,
    *,
    settings: SamplingSettings,
    s3: S3Options | None,
    threads: int,
    progress: Progress,
) -> State:
    """Deepen the categories whose reserve ran out, twice as deep each time that it is still not enough."""
    needed = np.where(demand.targets > 0, demand.needed(settings.per_shop_share), 0)
    widen, rounds = np.ones(len(needed)), 0
    while True:
        reserve = state.reserve
        rows = ReserveRows(rank_keys(reserve.keys, settings.seed), reserve.categories, reserve.shops)
        short = short_categories(rows, state.horizons, needed, demand.caps)
        if not short.any():
            return state
        horizons = state.horizons.replaced(set_horizons(state.counts, demand, settings, widen), short)
        rounds += 1
        with SegmentWriter(folder, f"texts-{rounds}.parquet") as writer:
            for reference in state.ledgers:
                chosen = choose_rows(reference.ledger, horizons, settings.seed, threads)
                missing = chosen.at(short[chosen.categories] & ~is_among(chosen.keys, reserve.keys))
                fetch_offers(reference.ledger, missing, writer, s3=s3, threads=threads, progress=progress)
        state = replace(state, horizons=horizons, refills=state.refills + int(short.sum()))
        state = _add(state, writer, settings.seed)
        widen = np.where(short, widen * WIDENING, widen)
