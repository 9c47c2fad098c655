"""Choosing the reserve's offers from a ledger, fetching their texts from the parts, and keeping those in segments.

A segment is a Parquet file with the columns of the sample contract, ordered by department and offer_key, that a state
wrote for the offers that it added. When segments hold twice as many rows as the reserve has offers, the next state
writes all of them anew, so their size and number stay bounded, at a cost that is paid once per doubling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.progress import Progress
from sortiment.sampling.counts import pair_codes
from sortiment.sampling.horizons import Horizons
from sortiment.sampling.ledger import UNLABELLED, WITHDRAWN, Codes, Ledger, Positions
from sortiment.sampling.order import HIGHEST_RANK, Keys, rank_keys
from sortiment.sampling.parts import PAYLOAD, REPEATING, PartReader, S3Options, UnreadablePart, run_in_order
from sortiment.sampling.reserve import Reserve, join_reserves
from sortiment.sampling.text_keys import key_offers

SCHEMA = pa.schema(
    [
        ("offer_key", pa.uint64()),
        ("country", pa.string()),
        ("shop_id", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("description", pa.string()),
        ("shop_category", pa.string()),
        ("price", pa.float64()),
        ("category_id", pa.string()),
        ("department", pa.string()),
        ("feed", pa.string()),
    ]
)
ROWS_PER_GROUP = 32_768
SEGMENTS_KEPT = 32


@dataclass(frozen=True)
class Chosen:
    """Rows of one ledger that a reserve must hold, by position, ascending."""

    positions: Positions
    keys: Keys
    categories: Codes
    shops: Codes

    def at(self, mask: npt.NDArray[np.bool_]) -> "Chosen":
        return Chosen(self.positions[mask], self.keys[mask], self.categories[mask], self.shops[mask])


@dataclass(frozen=True)
class Segment:
    """Where a segment is: the folder, or the version of the state artifact that wrote it, and the file there."""

    name: str
    folder: Path
    file: str
    rows: int


@dataclass(frozen=True)
class Fetched:
    """Offers that were fetched: their entries (segment and row not set yet) and their texts, in one order."""

    entries: Reserve
    texts: pa.Table


def choose_rows(ledger: Ledger, horizons: Horizons, seed: int, threads: int) -> Chosen:
    """The living rows of the ledger at or below their horizons."""
    category_limit = horizons.categories
    free_limit = _limits_of_unlabelled(horizons)

    def choose(block: tuple[int, int]) -> Chosen:
        keys, categories = ledger.keys(*block), ledger.categories(*block)
        ranks = rank_keys(keys, seed)
        known = np.minimum(categories, np.uint32(len(category_limit) - 1))
        rows = np.flatnonzero((ranks <= category_limit[known]) & (categories != WITHDRAWN))
        if len(rows):
            rows = rows[~ledger.dead_rows(*block)[rows]]
        shops = ledger.shops(*block)
        free = categories[rows] == UNLABELLED
        if free.any() and len(free_limit):
            limit = np.append(free_limit, HIGHEST_RANK)[np.minimum(shops[rows[free]], np.uint32(len(free_limit)))]
            kept = ~free
            kept[free] = ranks[rows[free]] <= limit
            rows = rows[kept]
        rows = rows[ranks[rows] <= horizons.of_pairs(pair_codes(categories[rows], shops[rows]))]
        return Chosen(rows + block[0], keys[rows], categories[rows], shops[rows])

    found = [Chosen(*(np.empty(0, dtype=kind) for kind in ("i8", "u8", "u4", "u4")))]
    found += run_in_order(choose, ledger.blocks(), threads)
    return Chosen(
        np.concatenate([one.positions for one in found]),
        np.concatenate([one.keys for one in found]),
        np.concatenate([one.categories for one in found]),
        np.concatenate([one.shops for one in found]),
    )


def fetch_offers(
    ledger: Ledger, chosen: Chosen, *, s3: S3Options | None, threads: int, progress: Progress
) -> list[Fetched]:
    """The chosen rows as whole offers. Opens only row groups that hold one."""
    reader = PartReader([rows.part for rows in ledger.parts], s3)
    part, row = ledger.locate(chosen.positions)
    fetched = []
    with progress("fetch chosen offers", total=len(row)) as step:

        def fetch(task: tuple[int, int, npt.NDArray[np.int64], slice]) -> Fetched:
            index, group, rows, where = task
            table = reader.read(index, group, PAYLOAD).take(pa.array(rows))
            keys = table["offer_key"].to_numpy()
            if not np.array_equal(keys, chosen.keys[where]):
                raise UnreadablePart(reader.parts[index], "its rows are not those that were counted: it has changed")
            return _describe(table, keys, chosen.categories[where], chosen.shops[where])

        for one in run_in_order(fetch, _row_groups(reader, part, row), threads):
            fetched.append(one)
            step.advance(len(one.entries))
    return fetched


def write_segment(path: Path, fetched: Sequence[Fetched], departments: Sequence[str | None], threads: int) -> Reserve:
    """Write the texts as one segment; returns the entries that point into it, as segment 0.

    departments: by category code.
    """
    texts = pa.concat_tables([SCHEMA.empty_table(), *(one.texts for one in fetched)]).combine_chunks()
    entries = join_reserves([one.entries for one in fetched])
    _, department = np.unique([name or "" for name in departments], return_inverse=True)
    order = np.lexsort((entries.keys, department[entries.categories]))
    with pq.ParquetWriter(path, SCHEMA, compression="lz4", use_dictionary=list(REPEATING)) as writer:
        starts = range(0, len(order), ROWS_PER_GROUP)
        for group in run_in_order(lambda start: texts.take(order[start : start + ROWS_PER_GROUP]), starts, threads):
            writer.write_table(group)
    entries = entries.at(order)
    rows = np.arange(len(order), dtype=np.uint32)
    return replace(entries, segment=np.zeros(len(order), dtype=np.uint16), row=rows)


def read_texts(segments: Sequence[Segment], entries: Reserve, columns: Sequence[str] = ()) -> pa.Table:
    """The texts of the entries, in their order; of all columns by default. Opens only row groups that hold one."""
    names = list(columns or SCHEMA.names)
    tables, places = [pa.schema([SCHEMA.field(name) for name in names]).empty_table()], []
    for index, segment in enumerate(segments):
        mine = np.flatnonzero(entries.segment == index)
        if not len(mine):
            continue
        mine = mine[np.argsort(entries.row[mine])]
        rows = entries.row[mine].astype(np.int64)
        with pq.ParquetFile(segment.folder / segment.file) as file:
            groups = range(file.metadata.num_row_groups)
            edges = np.cumsum([0, *(file.metadata.row_group(group).num_rows for group in groups)])
            cuts = np.searchsorted(rows, edges)
            for group in groups:
                low, high = cuts[group], cuts[group + 1]
                if low < high:
                    table = file.read_row_group(group, columns=names, use_threads=False)
                    tables.append(table.take(pa.array(rows[low:high] - edges[group])))
        places.append(mine)
    table = pa.concat_tables(tables).combine_chunks()
    place = np.concatenate([np.empty(0, dtype=np.int64), *places])
    back = np.empty(len(place), dtype=np.int64)
    back[place] = np.arange(len(place))
    return table if (np.diff(back) == 1).all() else table.take(pa.array(back))


def refetch(segments: Sequence[Segment], reserve: Reserve) -> list[Fetched]:
    """All entries with their texts, to be written as one segment."""
    return [Fetched(reserve, read_texts(segments, reserve))]


def too_many(segments: Sequence[Segment], reserve: Reserve) -> bool:
    """Whether the segments hold too much that the reserve no longer needs, or are too many."""
    return (
        len(segments) > SEGMENTS_KEPT or sum(segment.rows for segment in segments) > 2 * len(reserve) + ROWS_PER_GROUP
    )


def _limits_of_unlabelled(horizons: Horizons) -> Keys:
    """Shop horizons of the pool without a label, by shop code: most of its rows are decided by one look-up."""
    mine = (horizons.pairs >> np.uint64(32)) == UNLABELLED
    shops = (horizons.pairs[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    limits = np.full(int(shops.max(initial=-1)) + 1, HIGHEST_RANK)
    limits[shops] = horizons.shops[mine]
    return limits


def _row_groups(reader: PartReader, part: Any, row: Any) -> Iterator[tuple[int, int, npt.NDArray[np.int64], slice]]:
    """(part, row group, rows within it, where they are among the chosen) for each row group that holds one."""
    starts = np.searchsorted(part, np.arange(len(reader.parts) + 1))
    for index in range(len(reader.parts)):
        first, last = int(starts[index]), int(starts[index + 1])
        if first == last:
            continue
        edges = np.cumsum([0, *reader.row_groups(index)])
        cuts = first + np.searchsorted(row[first:last], edges)
        for group in range(len(edges) - 1):
            begin, end = int(cuts[group]), int(cuts[group + 1])
            if begin < end:
                yield index, group, row[begin:end] - edges[group], slice(begin, end)


def _describe(table: pa.Table, offer_keys: Keys, categories: Codes, shops: Codes) -> Fetched:
    columns = {name: _plain(table[name]) for name in table.column_names}
    keys = key_offers(columns["title"], columns["product_id"], columns["gtin"])
    entries = Reserve(
        keys=offer_keys,
        categories=categories,
        shops=shops,
        product=keys.product,
        gtin=keys.gtin,
        title=keys.title,
        group=keys.group,
        segment=np.zeros(len(offer_keys), dtype=np.uint16),
        row=np.zeros(len(offer_keys), dtype=np.uint32),
        signature=keys.signature,
    )
    return Fetched(entries, pa.table([columns[field.name].cast(field.type) for field in SCHEMA], schema=SCHEMA))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
