"""Reading parts into a ledger and counting them: one pass over the narrow columns.

The work on a row group (decode, look codes up, count, write the ledger) is one task of a thread; the calling thread
only adds up counts, and steps in where a row group names a category or shop for the first time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sortiment.errors import SamplingError
from sortiment.progress import Progress
from sortiment.sampling.codes import CodeBook, Coded, Codes, code_column
from sortiment.sampling.counts import PairCounter, PairCounts, PartCounter, pair_codes
from sortiment.sampling.ledger import WITHDRAWN, Ledger, LedgerWriter, PartRows, Positions, alive, find_repeats
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import LIGHT, PartReader, UnreadablePart, run_in_order
from sortiment.sampling.reserve import empty_entries
from sortiment.sampling.state import LedgerReference, State

SMALL_ROWS = 4_000_000
"""Up to so many new rows, a key that one part holds twice is looked for too; beyond, parts are taken at their word."""

MOST_RUNS = 1_000
"""In a part with more runs of ascending keys, rows are taken to be in no order."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowGroup:
    """Where a row group is, and its first row in the ledger."""

    part: int
    index: int
    first_row: int


@dataclass(frozen=True)
class Batch:
    """One row group's deciding columns. Pairs are places in the two dictionaries, with the offers that have them.

    codes: of the two dictionaries' entries, where all were known; then the rows are in the ledger already.
    breaks: rows whose key is not above the one before.
    """

    group: RowGroup
    keys: Keys
    categories: Coded
    shops: Coded
    withdrawn: npt.NDArray[np.bool_] | None
    departments: dict[str, str | None]
    pairs: tuple[Numbers, Numbers, Numbers]
    codes: tuple[Codes, Codes] | None
    breaks: Numbers


class Runs:
    """Where runs of ascending keys start in a part, as its row groups come."""

    def __init__(self) -> None:
        self._starts: list[Numbers] = []
        self._rows, self._count = 0, 0
        self._last: Any = None

    def append(self, batch: Batch) -> None:
        if not len(batch.keys):
            return
        fresh = self._last is None or batch.keys[0] <= self._last
        own = np.append(0, batch.breaks) if fresh else batch.breaks
        self._count += len(own)
        if self._count <= MOST_RUNS:
            self._starts.append(own + self._rows)
        self._rows += len(batch.keys)
        self._last = batch.keys[-1]

    def starts(self) -> tuple[int, ...]:
        """None where there are too many to be of use."""
        return tuple(np.concatenate(self._starts).tolist()) if 0 < self._count <= MOST_RUNS else ()


def count_parts(reader: PartReader, base: State, folder: Path, threads: int, progress: Progress) -> State:
    """The parts as a state without a reserve: their rows in a ledger in `folder`, counted; `base`'s codes go on."""
    categories, shops = CodeBook(base.category_ids), CodeBook(base.shop_ids)
    departments = dict(zip(base.category_ids, base.departments, strict=True))
    counter = PairCounter()
    of_part: tuple[int, PartCounter] = (-1, PartCounter(counter))
    rows = np.zeros(len(reader.parts), dtype=np.int64)
    part_shops: list[set[int]] = [set() for _ in reader.parts]
    runs = [Runs() for _ in reader.parts]
    with LedgerWriter(folder) as writer, progress("count offers", unit="rows") as step:

        def read(group: RowGroup) -> Batch:
            return _read_group(reader, group, categories, shops, writer)

        for batch in run_in_order(read, _row_groups(reader), threads):
            for category, department in batch.departments.items():
                departments.setdefault(category, department)
            codes = batch.codes
            if codes is None:
                codes = categories.register(batch.categories), shops.register(batch.shops)
                _write(writer, batch, codes)
            category_codes, shop_codes = codes
            if of_part[0] != batch.group.part:
                of_part[1].close()
                of_part = (batch.group.part, PartCounter(counter))
            of_part[1].add(category_codes, shop_codes, batch.pairs)
            rows[batch.group.part] += len(batch.keys)
            runs[batch.group.part].append(batch)
            named = np.bincount(batch.pairs[1] if batch.withdrawn is None else batch.shops.places)
            part_shops[batch.group.part].update(shop_codes[np.flatnonzero(named)].tolist())
            step.advance(len(batch.keys))
    of_part[1].close()
    homeless = [category for category in categories.values if departments.get(category) is None]
    if homeless:
        raise SamplingError(
            f"{len(homeless)} categories have offers but no department",
            value=homeless[:5],
            allowed="a department wherever there is a category_id",
            fix="load the feed files again with the taxonomy that has these categories",
        )
    first = np.cumsum(rows) - rows
    ranges = tuple(
        PartRows(part, int(first[index]), int(rows[index]), tuple(sorted(part_shops[index])), runs[index].starts())
        for index, part in enumerate(reader.parts)
    )
    ledger, counts = _bury_repeats(Ledger(folder, ranges, alive(int(rows.sum()))), counter.total(), threads)
    return State(
        shaping=base.shaping,
        ledgers=(LedgerReference("", ledger),) if ranges else (),
        category_ids=tuple(categories.values),
        departments=tuple(departments[category] for category in categories.values),
        shop_ids=tuple(shops.values),
        counts=counts,
        horizons=base.horizons,
        reserve=empty_entries(),
    )


def bury(ledger: Ledger, counts: PairCounts, positions: Positions) -> tuple[Ledger, PairCounts]:
    """The ledger with these rows dead, the counts without those of them that were offers. `positions` ascend."""
    if not len(positions):
        return ledger, counts
    _, categories, shops = ledger.at(positions)
    live = categories != WITHDRAWN
    return ledger.with_dead(positions), counts.minus(pair_codes(categories[live], shops[live]))


def _row_groups(reader: PartReader) -> Iterator[RowGroup]:
    first_row = 0
    for part in range(len(reader.parts)):
        for index, rows in enumerate(reader.row_groups(part)):
            yield RowGroup(part, index, first_row)
            first_row += rows


def _read_group(
    reader: PartReader, group: RowGroup, categories: CodeBook, shops: CodeBook, writer: LedgerWriter
) -> Batch:
    none_withdrawn = reader.holds_only(group.part, group.index, "withdrawn", False)
    table = reader.read(group.part, group.index, LIGHT[:-1] if none_withdrawn else LIGHT)
    if table["offer_key"].null_count:
        raise UnreadablePart(reader.parts[group.part], "offer_key is NULL in some rows")
    category, shop = code_column(table["category_id"]), code_column(table["shop_id"])
    withdrawn = None if none_withdrawn else _withdrawn(table["withdrawn"])
    live = slice(None) if withdrawn is None else ~withdrawn
    category_codes, shop_codes = categories.look_up(category), shops.look_up(shop)
    keys = table["offer_key"].to_numpy()
    batch = Batch(
        group=group,
        keys=keys,
        categories=category,
        shops=shop,
        withdrawn=withdrawn,
        departments=_departments(reader, group, category) if category_codes is None else {},
        pairs=_count_pairs(category.places[live], shop.places[live], len(shop)),
        codes=None if category_codes is None or shop_codes is None else (category_codes, shop_codes),
        breaks=np.flatnonzero(keys[1:] <= keys[:-1]) + 1,
    )
    if batch.codes is not None:
        _write(writer, batch, batch.codes)
    return batch


def _write(writer: LedgerWriter, batch: Batch, codes: tuple[Codes, Codes]) -> None:
    category_codes, shop_codes = codes
    written = category_codes[batch.categories.places]
    if batch.withdrawn is not None:
        written[batch.withdrawn] = WITHDRAWN
    writer.write(batch.group.first_row, batch.keys, written, shop_codes[batch.shops.places])


def _withdrawn(column: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    mask = column.to_numpy() if not column.null_count else column.fill_null(False).to_numpy()
    return mask if mask.any() else None


def _count_pairs(categories: Any, shops: Any, shop_count: int) -> tuple[Numbers, Numbers, Numbers]:
    """Distinct (category, shop) and how often each occurs."""
    top = (int(categories.max(initial=-1)) + 1) * shop_count
    dense = top <= max(4 * len(categories), 65_536)
    pairs = categories * np.int32(shop_count) if dense else categories.astype(np.int64) * shop_count
    pairs += shops
    if dense:
        counted = np.bincount(pairs, minlength=top)
        distinct = np.flatnonzero(counted)
        offers = counted[distinct]
    else:
        distinct, offers = np.unique(pairs, return_counts=True)
    return distinct // shop_count, distinct % shop_count, offers


def _departments(reader: PartReader, group: RowGroup, categories: Coded) -> dict[str, str | None]:
    """The department that the first row of each category names."""
    departments = code_column(reader.read(group.part, group.index, ("department",))["department"])
    codes, first = np.unique(categories.places, return_index=True)
    names, values = [*departments.values.to_pylist(), None], categories.values.to_pylist()
    return {
        values[code]: names[departments.places[row]]
        for code, row in zip(codes.tolist(), first.tolist(), strict=True)
        if code < len(values)
    }


def _bury_repeats(ledger: Ledger, counts: PairCounts, threads: int) -> tuple[Ledger, PairCounts]:
    """Bury the rows whose key comes again later in the same ledger.

    Keys are made from shop and offer id, so only parts that share a shop can share a key.
    """
    if ledger.rows <= SMALL_ROWS:
        suspects = list(ledger.parts)
    else:
        seen: dict[int, int] = {}
        for part in ledger.parts:
            for shop in part.shops:
                seen[shop] = seen.get(shop, 0) + 1
        suspects = [part for part in ledger.parts if any(seen[shop] > 1 for shop in part.shops)]
    return bury(ledger, counts, find_repeats(ledger, suspects, threads)) if suspects else (ledger, counts)
