"""What became of a feed file's rows, and which labels its offers have."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from sortiment.blobs import write_atomically
from sortiment.feeds.reasons import SUPERSEDED

REPORT_FILE = "report.json"
LABELS_FILE = "labels.parquet"

COUNTRIES = """
SELECT country, count(*), count(category_id), min(observed_at), max(observed_at)
FROM read_parquet($offers) GROUP BY country ORDER BY country
"""
LABELS = """
COPY (
    SELECT country, category_id, any_value(category_path) AS path, any_value(department) AS department,
           count(*) AS offers
    FROM read_parquet($offers) WHERE category_id IS NOT NULL
    GROUP BY country, category_id ORDER BY country, category_id
) TO $target (FORMAT parquet, COMPRESSION zstd)
"""
NO_LABELS = """
COPY (
    SELECT ''::VARCHAR AS country, ''::VARCHAR AS category_id, []::VARCHAR[] AS path, ''::VARCHAR AS department,
           0::BIGINT AS offers
    LIMIT 0
) TO $target (FORMAT parquet, COMPRESSION zstd)
"""


@dataclass(frozen=True)
class CountryOffers:
    """What a part holds of one country. Times are UTC."""

    offers: int
    labelled: int
    observed_from: datetime
    observed_to: datetime


@dataclass(frozen=True)
class FeedFileReport:
    """One file's load.

    rows_read = rows_loaded + held_back + the sum of `quarantined`. held_back: good rows outside the spec's
    `key_share`. Quarantine's reason `superseded` counts rows that a later row of the file replaced. `dropped` counts
    values, by reason, that were left out of rows that were loaded. empty: mapped columns in which no row has a value,
    as where a key of JSON lines is misspelt. `seconds` is None where the part was found instead of loaded: it is no
    part of the stored report.
    """

    source_file: str
    feed: str
    format: str
    rows_read: int
    rows_loaded: int
    quarantined: dict[str, int]
    dropped: dict[str, int]
    countries: dict[str, CountryOffers]
    empty: list[str]
    held_back: int = 0
    seconds: float | None = None

    @property
    def rows_quarantined(self) -> int:
        return sum(self.quarantined.values())

    @property
    def broken_share(self) -> float:
        """Share of rows in quarantine, superseded ones left out."""
        broken = self.rows_quarantined - self.quarantined.get(SUPERSEDED, 0)
        return broken / self.rows_read if self.rows_read else 0.0

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(json.dumps(asdict(self), default=lambda time: time.isoformat()))
        del content["seconds"]
        return content


def describe_countries(connection: duckdb.DuckDBPyConnection, offers: list[Path]) -> dict[str, CountryOffers]:
    """Counts and times by country of the offer files."""
    if not offers:
        return {}
    rows = connection.execute(COUNTRIES, {"offers": [str(path) for path in offers]}).fetchall()
    return {row[0]: CountryOffers(*row[1:]) for row in rows}


def write_labels(connection: duckdb.DuckDBPyConnection, offers: list[Path], out: Path) -> None:
    """Write `labels.parquet`, one row per country and category: `country, category_id, path, department, offers`."""
    target = str(out / LABELS_FILE)
    if offers:
        connection.execute(LABELS, {"offers": [str(path) for path in offers], "target": target})
    else:
        connection.execute(NO_LABELS, {"target": target})


def write_report(report: FeedFileReport, out: Path) -> None:
    content = json.dumps(report.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(out / REPORT_FILE, content.encode())


def report_of(content: Mapping[str, Any]) -> FeedFileReport:
    """The report that `to_json` told, without `seconds`."""
    countries = {
        country: CountryOffers(
            found["offers"],
            found["labelled"],
            datetime.fromisoformat(found["observed_from"]),
            datetime.fromisoformat(found["observed_to"]),
        )
        for country, found in content["countries"].items()
    }
    return FeedFileReport(**{**content, "countries": countries})
