"""Offers as Parquet, a file per country, written while the feed is read: docs/contracts.md has the columns.

Rows are ordered by offer_key within runs of a million rows (fewer where texts are long), and each row group of a run is
an equal share of the key space, a sixteenth for a full run: whoever wants the offers of a range of keys opens only the
row groups that overlap it, and the smallest ranks of sampling, which are keys with some bits flipped, are whole groups.
The bytes depend on the file's rows alone.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 65_536
RUN_ROWS = 16 * ROW_GROUP_ROWS
WAITING_BYTES = 256 * 2**20  # of all countries, until their runs are written whatever their length

OFFER_SCHEMA = pa.schema(
    [
        ("offer_key", pa.uint64()),
        ("country", pa.string()),
        ("shop_id", pa.string()),
        ("offer_id", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("description", pa.string()),
        ("gtin", pa.string()),
        ("shop_category", pa.string()),
        ("price", pa.float64()),
        ("currency", pa.string()),
        ("category_path", pa.list_(pa.string())),
        ("category_id", pa.string()),
        ("department", pa.string()),
        ("product_id", pa.string()),
        ("observed_at", pa.timestamp("us")),
        ("withdrawn", pa.bool_()),
        ("feed", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
    ]
)
# Values that hardly repeat gain nothing from a dictionary, and keys, which are random, nothing from compression.
UNREPEATED = {"offer_key", "offer_id", "title", "description", "price", "source_row"}
LEAVES = [*(set(OFFER_SCHEMA.names) - {"category_path"}), "category_path.list.element"]
LAYOUT: dict[str, Any] = {
    "compression": {name: "none" if name == "offer_key" else "zstd" for name in sorted(LEAVES)},
    "use_dictionary": sorted(set(LEAVES) - UNREPEATED),
}


def offers_file(country: str) -> str:
    return f"offers-{country}.parquet"


def cut_run(keys: npt.NDArray[np.uint64]) -> Iterator[slice]:
    """The row groups of a run, given its keys in order: equal shares of the key space, about ROW_GROUP_ROWS rows each.

    Their number is a power of two, so that flipping bits of the keys turns row groups into row groups.
    """
    bits = max(0, round(math.log2(max(1, len(keys)) / ROW_GROUP_ROWS)))
    inner = np.arange(1, 2**bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else keys[:0]
    edges = [0, *np.searchsorted(keys, inner).tolist(), len(keys)]
    for start, stop in pairwise(edges):
        if start < stop:
            yield slice(start, stop)


def open_writer(path: Path) -> pq.ParquetWriter:
    """A new offer file, to which row groups are appended; rows are written in the order in which they come."""
    return pq.ParquetWriter(path, OFFER_SCHEMA, **LAYOUT)


class OfferFiles:
    """The open offer files of one load; `close` finishes them, leaving the `with` block does so in any case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: dict[str, pq.ParquetWriter] = {}
        self.waiting: dict[str, list[pa.Table]] = {}
        self.rows: dict[str, int] = {}

    def __enter__(self) -> "OfferFiles":
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers.values():
            writer.close()

    def add(self, offers: pa.Table) -> None:
        """Append offers, in the columns of OFFER_SCHEMA, to their countries' files."""
        countries = sorted(pc.unique(offers["country"]).to_pylist())
        for country in countries:
            own = offers if len(countries) == 1 else offers.filter(pc.equal(offers["country"], country))
            self.waiting.setdefault(country, []).append(own)
            self.rows[country] = self.rows.get(country, 0) + own.num_rows
            while sum(table.num_rows for table in self.waiting[country]) >= RUN_ROWS:
                self._write_run(country)
        if sum(table.nbytes for tables in self.waiting.values() for table in tables) > WAITING_BYTES:
            self._write_all()

    def close(self) -> None:
        self._write_all()
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()

    def remove_rows(self, country: str, source_rows: pa.Array) -> None:
        """Rewrite a closed file without these rows."""
        target = self.folder / offers_file(country)
        kept = target.with_suffix(".kept")
        with pq.ParquetFile(target) as file, open_writer(kept) as writer:
            for group in range(file.metadata.num_row_groups):
                offers = file.read_row_group(group)
                staying = offers.filter(pc.invert(pc.is_in(offers["source_row"], value_set=source_rows)))
                if staying.num_rows:
                    writer.write_table(staying)
        kept.replace(target)

    def _write_all(self) -> None:
        for country in sorted(self.waiting):
            self._write_run(country)

    def _write_run(self, country: str) -> None:
        """The first run of what waits, by key; rows with one key keep their order."""
        waiting = pa.concat_tables(self.waiting[country])
        run, rest = waiting.slice(0, RUN_ROWS), waiting.slice(RUN_ROWS)
        self.waiting[country] = [rest] if rest.num_rows else []
        if not run.num_rows:
            return
        if country not in self.writers:
            self.writers[country] = open_writer(self.folder / offers_file(country))
        run = run.combine_chunks()
        keys = run["offer_key"].to_numpy()
        order = np.argsort(keys, kind="stable")
        for group in cut_run(keys[order]):
            self.writers[country].write_table(run.take(pa.array(order[group])))
