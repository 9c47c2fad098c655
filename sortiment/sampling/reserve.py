"""The reserve: whole offers, kept for every category somewhat deeper than any draw goes.

Columns: those of PAYLOAD as strings and numbers, `category_code`, `shop_code` (codes of the state) and the keys of
`text_keys`. One row per living offer at or below its horizons, ordered by department, then offer_key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.errors import SamplingError
from sortiment.progress import Progress
from sortiment.sampling.counts import pair_codes
from sortiment.sampling.horizons import Horizons
from sortiment.sampling.ledger import UNLABELLED, WITHDRAWN, Codes, Ledger, Positions
from sortiment.sampling.order import HIGHEST_RANK, Keys, rank_keys
from sortiment.sampling.parts import PAYLOAD, REPEATING, PartReader, S3Options, UnreadablePart, run_in_order
from sortiment.sampling.text_keys import SIGNATURE_VALUES, key_offers

SIGNATURE = pa.binary(2 * SIGNATURE_VALUES)
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
        ("category_code", pa.uint32()),
        ("shop_code", pa.uint32()),
        ("product_key", pa.uint64()),
        ("gtin_key", pa.uint64()),
        ("title_key", pa.uint64()),
        ("group_key", pa.uint64()),
        ("signature", SIGNATURE),
    ]
)
DECIDING = ("offer_key", "category_code", "shop_code", "product_key", "gtin_key", "title_key", "group_key", "signature")
ROWS_PER_WRITE = 65_536


@dataclass(frozen=True)
class Chosen:
    """Rows of one ledger that a reserve must hold, by position, ascending."""

    positions: Positions
    keys: Keys
    categories: Codes
    shops: Codes


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


def fetch_offers(ledger: Ledger, chosen: Chosen, s3: S3Options | None, threads: int, progress: Progress) -> pa.Table:
    """The chosen rows as whole offers with their keys, in ledger order. Opens only row groups that hold one."""
    reader = PartReader([rows.part for rows in ledger.parts], s3)
    part, row = ledger.locate(chosen.positions)
    empty = SCHEMA.empty_table()
    with progress("fetch chosen offers", total=len(row)) as step:

        def fetch(task: tuple[int, int, npt.NDArray[np.int64], slice]) -> pa.Table:
            index, group, rows, where = task
            table = reader.read(index, group, PAYLOAD).take(pa.array(rows))
            if not np.array_equal(table["offer_key"].to_numpy(), chosen.keys[where]):
                raise UnreadablePart(reader.parts[index], "its rows are not those that were counted: it has changed")
            return _with_keys(table, chosen.categories[where], chosen.shops[where])

        tables = [empty]
        for table in run_in_order(fetch, _row_groups(reader, part, row), threads):
            tables.append(table)
            step.advance(table.num_rows)
    return pa.concat_tables(tables)


def write_reserve(path: Path, tables: list[pa.Table], departments: Sequence[str | None]) -> None:
    """The tables together as one file, ordered by department and offer_key.

    departments: by category code. Raises SamplingError where a key comes twice.
    """
    table = pa.concat_tables([SCHEMA.empty_table(), *tables])
    keys = table["offer_key"].to_numpy()
    _, department = np.unique([name or "" for name in departments], return_inverse=True)
    order = np.lexsort((keys, department[table["category_code"].to_numpy()]))
    ordered = np.sort(keys)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise SamplingError(
            "a part holds an offer twice",
            value=f"offer_key {ordered[twice[0]]}",
            allowed="one row per offer within a part",
            fix="load the feed file again: the loader keeps an offer's last row",
        )
    with pq.ParquetWriter(path, SCHEMA, compression="lz4", use_dictionary=list(REPEATING)) as writer:
        for start in range(0, len(order), ROWS_PER_WRITE):
            writer.write_table(table.take(pa.array(order[start : start + ROWS_PER_WRITE])))


def signatures_of(table: pa.Table) -> npt.NDArray[np.uint16]:
    """[rows, 32] from the signature column."""
    array = table["signature"].combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], SIGNATURE)
    width = SIGNATURE.byte_width
    data = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
    data = data[array.offset * width : (array.offset + len(array)) * width]
    return data.view(np.uint16).reshape(-1, SIGNATURE_VALUES)


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


def _with_keys(table: pa.Table, categories: Codes, shops: Codes) -> pa.Table:
    columns = {name: _plain(table[name]) for name in table.column_names}
    keys = key_offers(columns["title"], columns["product_id"], columns["gtin"])
    signature = np.ascontiguousarray(keys.signature)
    columns |= {
        "category_code": pa.array(categories),
        "shop_code": pa.array(shops),
        "product_key": pa.array(keys.product_key),
        "gtin_key": pa.array(keys.gtin_key),
        "title_key": pa.array(keys.title_key),
        "group_key": pa.array(keys.group_key),
        "signature": pa.FixedSizeBinaryArray.from_buffers(SIGNATURE, len(signature), [None, pa.py_buffer(signature)]),
    }
    return pa.table([columns[field.name].cast(field.type) for field in SCHEMA], schema=SCHEMA)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
