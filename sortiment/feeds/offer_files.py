"""Offers as Parquet, a file per country, written while the feed is read: docs/contracts.md has the columns.

Rows are taken in runs of a million (fewer where texts are long). A run is ordered by how rare the row's category is in
it, in four steps, then by offer_key, and each row group is an equal share of a step's key space: whoever wants the
offers of a range of keys opens only the row groups that overlap it. The smallest ranks of sampling, which are keys with
some bits flipped, are whole groups; and as a rare category's offers are wanted from a larger range than a common one's,
they lie together. The bytes depend on the file's rows alone.

Beside each file lies its index (`offer_index.py`).
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

from sortiment.feeds.offer_index import write_index

ROW_GROUP_ROWS = 16_384
RUN_ROWS = 64 * ROW_GROUP_ROWS
RARITY_STEPS = (64, 512, 4_096)  # rows of a category in a run; offers without a label count as one category
WAITING_BYTES = 256 * 2**20  # of all countries, until the largest's run is written whatever its length

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


def cut_run(keys: npt.NDArray[np.uint64], categories: pa.Array) -> Iterator[npt.NDArray[np.int64]]:
    """The row groups of a run: the places of their rows, about ROW_GROUP_ROWS each, rows with one key in their order.

    The number of a step's row groups is a power of two, so that flipping bits of keys turns row groups into row groups.
    """
    places = pc.fill_null(pc.dictionary_encode(categories, null_encoding="encode").indices, 0).to_numpy()
    steps = np.searchsorted(RARITY_STEPS, np.bincount(places), side="right")[places]
    for step in range(len(RARITY_STEPS) + 1):
        rows = np.flatnonzero(steps == step)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        for group in _cut_keys(keys[rows]):
            yield rows[group]


def _cut_keys(keys: npt.NDArray[np.uint64]) -> Iterator[slice]:
    """Equal shares of the key space, given keys in order."""
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
        self.waiting_rows: dict[str, int] = {}
        self.waiting_bytes: dict[str, int] = {}
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
            self.rows[country] = self.rows.get(country, 0) + own.num_rows
            self._wait(country, own)
            while self.waiting_rows.get(country, 0) >= RUN_ROWS:
                self._write_run(country)
        while sum(self.waiting_bytes.values()) > WAITING_BYTES:
            self._write_run(max(self.waiting_bytes, key=lambda country: (self.waiting_bytes[country], country)))

    def close(self) -> None:
        for country in sorted(self.waiting):
            self._write_run(country)
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()

    def write_indexes(self) -> None:
        """The index of each closed file, once its rows are final."""
        for country in self.rows:
            write_index(self.folder / offers_file(country))

    def remove_rows(self, country: str, source_rows: npt.NDArray[np.int64]) -> None:
        """Rewrite a closed file without these rows: at least one, ascending."""
        target = self.folder / offers_file(country)
        kept = target.with_suffix(".kept")
        with pq.ParquetFile(target) as file, open_writer(kept) as writer:
            for group in range(file.metadata.num_row_groups):
                offers = file.read_row_group(group)
                rows = offers["source_row"].to_numpy()
                nearest = np.minimum(np.searchsorted(source_rows, rows), len(source_rows) - 1)
                staying = offers.filter(pa.array(source_rows[nearest] != rows))
                if staying.num_rows:
                    writer.write_table(staying)
        kept.replace(target)

    def _wait(self, country: str, offers: pa.Table) -> None:
        """Counted as they come: hundreds of tables wait, and adding them up takes longer than writing them."""
        self.waiting.setdefault(country, []).append(offers)
        self.waiting_rows[country] = self.waiting_rows.get(country, 0) + offers.num_rows
        self.waiting_bytes[country] = self.waiting_bytes.get(country, 0) + offers.nbytes

    def _write_run(self, country: str) -> None:
        """The first run of what waits; a country of which nothing waits has no entry."""
        waiting = pa.concat_tables(self.waiting.pop(country))
        del self.waiting_rows[country], self.waiting_bytes[country]
        run, rest = waiting.slice(0, RUN_ROWS), waiting.slice(RUN_ROWS)
        if rest.num_rows:
            self._wait(country, rest)
        if country not in self.writers:
            self.writers[country] = open_writer(self.folder / offers_file(country))
        run = run.combine_chunks()
        for rows in cut_run(run["offer_key"].to_numpy(), run["category_id"].combine_chunks()):
            self.writers[country].write_table(run.take(pa.array(rows)))
