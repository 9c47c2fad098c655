"""A file's offers and its quarantine while it loads: DuckDB judges the rows, keeps what may spill to disk, and writes
the part's Parquet files in the order of the source.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from sortiment.feeds.files import FeedFile
from sortiment.feeds.raw import ROW_MAX_CHARS, VALUE_MAX_CHARS, BrokenRow, printable
from sortiment.feeds.reasons import BAD_CURRENCY, BAD_DATE, BAD_GTIN, BAD_PRICE, BAD_WITHDRAWN, SUPERSEDED
from sortiment.feeds.spec import FeedSpec
from sortiment.settings import FeedSettings

KEY_SEPARATOR = "\x1f"
SPILL_FOLDER = ".spill"

CREATE = """
CREATE TEMP TABLE offers (
    offer_key UBIGINT, country VARCHAR, shop_id VARCHAR, offer_id VARCHAR, title VARCHAR, brand VARCHAR,
    description VARCHAR, gtin VARCHAR, shop_category VARCHAR, price DOUBLE, currency VARCHAR, category_path VARCHAR[],
    category_id VARCHAR, department VARCHAR, product_id VARCHAR, observed_at TIMESTAMP, withdrawn BOOLEAN,
    source_row BIGINT, line BIGINT
);
CREATE TEMP TABLE quarantine (
    line BIGINT, reason VARCHAR, column_name VARCHAR, value VARCHAR, row VARCHAR
);
"""

# The key's shop is the feed where the feed does not tell shops apart: two feeds that number their offers from 1 stay
# apart. `$salt` keeps two files apart whose offers have no id but their row number.
JUDGE = """
CREATE OR REPLACE TEMP TABLE judged AS
SELECT
    *,
    CASE
        WHEN raw_problem IS NOT NULL THEN raw_problem
        WHEN offer_id IS NULL THEN 'missing_offer_id'
        WHEN country IS NULL AND has_country THEN 'bad_country'
        WHEN country IS NULL THEN 'missing_country'
        WHEN title IS NULL AND has_title THEN 'empty_title'
        WHEN title IS NULL AND NOT coalesce(withdrawn, false) THEN 'missing_title'
        WHEN length(title) > $title_max_chars THEN 'title_too_long'
        WHEN has_price AND price IS NULL AND $strict THEN 'bad_price'
        WHEN has_currency AND currency IS NULL AND $strict THEN 'bad_currency'
        WHEN has_observed_at AND observed_at IS NULL AND $strict THEN 'bad_date'
        WHEN has_withdrawn AND withdrawn IS NULL AND $strict THEN 'bad_withdrawn'
        WHEN NOT coalesce(withdrawn, false) THEN label_problem
    END AS reason
FROM batch
"""
KEEP = """
INSERT INTO offers
SELECT
    ('0x' || md5(country || chr(31) || coalesce(shop_id, $feed) || chr(31) || offer_id || $salt)[1:16])::UBIGINT,
    country, shop_id, offer_id, title, brand, description, gtin, shop_category, price, currency, category_path,
    category_id, department, product_id, observed_at, coalesce(withdrawn, false), record, line
FROM judged
WHERE reason IS NULL
"""
DROPPED = """
SELECT
    count(*) FILTER (has_gtin AND gtin IS NULL),
    count(*) FILTER (has_price AND price IS NULL),
    count(*) FILTER (has_currency AND currency IS NULL),
    count(*) FILTER (has_observed_at AND observed_at IS NULL),
    count(*) FILTER (has_withdrawn AND withdrawn IS NULL)
FROM judged
WHERE reason IS NULL
"""
DROPPED_REASONS = (BAD_GTIN, BAD_PRICE, BAD_CURRENCY, BAD_DATE, BAD_WITHDRAWN)
BROKEN = "SELECT position, reason FROM judged WHERE reason IS NOT NULL ORDER BY position"

LATER_ROWS = """
CREATE TEMP TABLE later AS
SELECT offer_key, max(source_row) AS source_row, max_by(line, source_row) AS line
FROM offers GROUP BY offer_key HAVING count(*) > 1
"""
QUARANTINE_SUPERSEDED = """
INSERT INTO quarantine
SELECT
    offers.line, $reason, 'offer_id', 'again in line ' || later.line,
    to_json(struct_pack(country := country, shop_id := shop_id, offer_id := offer_id, title := title, price := price,
                        category := category_path))::VARCHAR
FROM offers JOIN later USING (offer_key)
WHERE offers.source_row < later.source_row
"""
DELETE_SUPERSEDED = """
DELETE FROM offers USING later
WHERE offers.offer_key = later.offer_key AND offers.source_row < later.source_row
"""
OFFERS_OF_COUNTRY = """
SELECT * EXCLUDE (source_row, line), $feed::VARCHAR AS feed, $source_file::VARCHAR AS source_file, source_row
FROM offers WHERE country = $country ORDER BY source_row
"""
QUARANTINE = "SELECT $source_file::VARCHAR AS source_file, * FROM quarantine ORDER BY line, reason"
LABELS = """
SELECT country, category_id, any_value(category_path) AS path, any_value(department) AS department, count(*) AS offers
FROM offers WHERE category_id IS NOT NULL GROUP BY country, category_id ORDER BY country, category_id
"""
COUNTRIES = """
SELECT country, count(*), count(category_id), min(observed_at), max(observed_at)
FROM offers GROUP BY country ORDER BY country
"""
REASONS = """
SELECT reason, count(*) AS rows, list(line ORDER BY line)[1:3] FROM quarantine GROUP BY reason ORDER BY rows DESC, reason
"""


@dataclass(frozen=True)
class CountryOffers:
    """What a part holds of one country."""

    offers: int
    labelled: int
    observed_from: datetime
    observed_to: datetime


def offer_key(country: str, shop_id: str, offer_id: str) -> int:
    """The 64-bit key of an offer: the first 16 hex digits (big-endian) of md5 of the three joined by U+001F, UTF-8.

    `shop_id` is the feed's name where the feed does not tell shops apart.
    """
    joined = KEY_SEPARATOR.join((country, shop_id, offer_id))
    return int(hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()[:16], 16)


class Staging:
    """Tables of one load; the DuckDB connection and its spill folder live as long as the `with` block."""

    def __init__(self, file: FeedFile, spec: FeedSpec, settings: FeedSettings, out: Path) -> None:
        self.file, self.spec, self.settings, self.out = file, spec, settings, out
        self.dropped = dict.fromkeys(DROPPED_REASONS, 0)
        positional = "offer_id" not in spec.columns
        self.salt = KEY_SEPARATOR + file.sha256[:16] if positional else ""

    def __enter__(self) -> "Staging":
        spill = self.out / SPILL_FOLDER
        self.connection = duckdb.connect(
            config={"memory_limit": f"{self.settings.memory_mb}MB", "temp_directory": str(spill)}
        )
        self.connection.execute(CREATE)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        spill = self.out / SPILL_FOLDER
        if spill.is_dir():
            for file in spill.iterdir():
                file.unlink()
            spill.rmdir()

    def add(self, batch: pa.Table) -> list[tuple[int, str]]:
        """Keep the batch's good rows. Returns position and reason of the others."""
        self.connection.register("batch", batch)
        strict = self.settings.unreadable_optional == "quarantine"
        self._run(JUDGE, title_max_chars=self.settings.title_max_chars, strict=strict)
        self.connection.unregister("batch")
        self._run(KEEP, feed=self.spec.name, salt=self.salt)
        counts = self._rows(DROPPED)[0]
        for reason, count in zip(DROPPED_REASONS, counts, strict=True):
            self.dropped[reason] += count
        return [(int(position), str(reason)) for position, reason in self._rows(BROKEN)]

    def quarantine(self, rows: Iterable[BrokenRow]) -> None:
        table = pa.Table.from_pylist(
            [
                {
                    "line": row.line,
                    "reason": row.problem.reason,
                    "column_name": row.problem.column,
                    "value": None if row.problem.value is None else printable(row.problem.value, VALUE_MAX_CHARS),
                    "row": printable(row.row, ROW_MAX_CHARS),
                }
                for row in rows
            ],
            pa.schema(
                [
                    ("line", pa.int64()),
                    ("reason", pa.string()),
                    ("column_name", pa.string()),
                    ("value", pa.string()),
                    ("row", pa.string()),
                ]
            ),
        )
        if table.num_rows:
            self.connection.register("broken", table)
            self._run("INSERT INTO quarantine SELECT * FROM broken")
            self.connection.unregister("broken")

    def supersede(self) -> None:
        """Of rows with one key keep the last; the others go to quarantine."""
        self._run(LATER_ROWS)
        self._run(QUARANTINE_SUPERSEDED, reason=SUPERSEDED)
        self._run(DELETE_SUPERSEDED)

    def reasons(self) -> list[tuple[str, int, list[int]]]:
        """Each reason in quarantine, most frequent first: rows, and the first three lines."""
        return [(reason, count, lines) for reason, count, lines in self._rows(REASONS)]

    def countries(self) -> dict[str, CountryOffers]:
        return {row[0]: CountryOffers(*row[1:]) for row in self._rows(COUNTRIES)}

    def write(self, country: str, target: Path) -> None:
        """A country's offers in the order of the source."""
        self._copy(OFFERS_OF_COUNTRY, target, country=country, feed=self.spec.name, source_file=self.file.name)

    def write_quarantine(self, target: Path) -> None:
        self._copy(QUARANTINE, target, source_file=self.file.name)

    def write_labels(self, target: Path) -> None:
        self._copy(LABELS, target)

    def _copy(self, query: str, target: Path, **values: Any) -> None:
        self._run(f"COPY ({query}) TO $target (FORMAT parquet, COMPRESSION zstd)", target=str(target), **values)

    def _run(self, query: str, **values: Any) -> None:
        self.connection.execute(query, values)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()
