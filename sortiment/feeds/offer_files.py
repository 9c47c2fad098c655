"""Offers as Parquet, a file per country, written while the feed is read: docs/contracts.md has the columns.

The bytes depend on the rows alone: row groups have a fixed size, and rows keep the order of the source.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 122_880  # DuckDB's own row group
WAITING_ROWS = 4 * ROW_GROUP_ROWS  # rows of all countries that wait for their group to fill; then all are written

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


def offers_file(country: str) -> str:
    return f"offers-{country}.parquet"


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
            self._write(country, whole_groups=True)
        if sum(table.num_rows for tables in self.waiting.values() for table in tables) > WAITING_ROWS:
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
        with pq.ParquetFile(target) as file, pq.ParquetWriter(kept, OFFER_SCHEMA, compression="zstd") as writer:
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                gone = pc.is_in(batch.column("source_row"), value_set=source_rows)
                writer.write_table(pa.Table.from_batches([batch.filter(pc.invert(gone))]))
        kept.replace(target)

    def _write_all(self) -> None:
        for country in sorted(self.waiting):
            self._write(country, whole_groups=False)

    def _write(self, country: str, whole_groups: bool) -> None:
        size = sum(table.num_rows for table in self.waiting[country])
        ready = size - size % ROW_GROUP_ROWS if whole_groups else size
        if not ready:
            return
        table = pa.concat_tables(self.waiting[country])
        writer = self.writers.get(country)
        if writer is None:
            path = self.folder / offers_file(country)
            writer = self.writers[country] = pq.ParquetWriter(path, OFFER_SCHEMA, compression="zstd")
        writer.write_table(table.slice(0, ready), row_group_size=ROW_GROUP_ROWS)
        self.waiting[country] = [table.slice(ready)] if ready < size else []
