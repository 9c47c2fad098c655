"""The judgment of a file's rows: DuckDB gives each its key and the first reason against it, and finds rows that a
later row of the same file replaces. What it keeps may spill to disk.
"""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sortiment.feeds.files import FeedFile
from sortiment.feeds.offer_files import OFFER_SCHEMA, OfferFiles, offers_file
from sortiment.feeds.raw import ROW_MAX_CHARS, VALUE_MAX_CHARS, BrokenRow, printable
from sortiment.feeds.reasons import BAD_CURRENCY, BAD_DATE, BAD_GTIN, BAD_PRICE, BAD_WITHDRAWN, SUPERSEDED
from sortiment.feeds.spec import FeedSpec
from sortiment.settings import FeedSettings

KEY_SPACE = 2**64
KEY_SEPARATOR = "\x1f"
SPILL_FOLDER = ".spill"
SMALL_BYTES = 4 * 2**20
QUARANTINE_SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("column_name", pa.string()),
        ("value", pa.string()),
        ("row", pa.string()),
    ]
)

CREATE = """
CREATE TEMP TABLE keys (offer_key UBIGINT, country VARCHAR, source_row BIGINT, line BIGINT);
CREATE TEMP TABLE quarantine (line BIGINT, reason VARCHAR, column_name VARCHAR, value VARCHAR, row VARCHAR);
"""

# The key's shop is the feed where the feed does not tell shops apart: two feeds that number their offers from 1 stay
# apart. `$salt` keeps two files apart whose offers have no id but their row number.
JUDGE = """
SELECT
    ('0x' || md5(country || chr(31) || coalesce(shop_id, $feed) || chr(31) || offer_id || $salt)[1:16])::UBIGINT
        AS offer_key,
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
ORDER BY position
"""
KEEP_KEYS = "INSERT INTO keys SELECT offer_key, country, source_row, line FROM good"
KEEP_QUARANTINE = "INSERT INTO quarantine SELECT * FROM broken"

FIND_SUPERSEDED = """
CREATE TEMP TABLE superseded AS
WITH later AS (
    SELECT offer_key, max(source_row) AS source_row, max(line) AS line
    FROM keys GROUP BY offer_key HAVING count(*) > 1
)
SELECT keys.country, keys.source_row, keys.line, later.line AS later_line
FROM keys JOIN later USING (offer_key) WHERE keys.source_row < later.source_row
"""
SUPERSEDED_COUNTRIES = "SELECT DISTINCT country FROM superseded ORDER BY country"
SUPERSEDED_ROWS = "SELECT source_row FROM superseded WHERE country = $country ORDER BY source_row"
QUARANTINE_SUPERSEDED = """
INSERT INTO quarantine
SELECT
    line, $reason, 'offer_id', 'again in line ' || later_line,
    to_json(struct_pack(country := country, shop_id := shop_id, offer_id := offer_id, title := title, price := price,
                        category := category_path))::VARCHAR
FROM read_parquet($offers) JOIN superseded USING (country, source_row)
"""
QUARANTINE = "SELECT $source_file::VARCHAR AS source_file, * FROM quarantine ORDER BY line, reason"
REASONS = """
SELECT reason, count(*) AS rows, min(line, 3)
FROM quarantine GROUP BY reason ORDER BY rows DESC, reason
"""
# `has_X` of a loaded row without X: the value was there and was left out.
DROPPED = {
    BAD_GTIN: "gtin",
    BAD_PRICE: "price",
    BAD_CURRENCY: "currency",
    BAD_DATE: "observed_at",
    BAD_WITHDRAWN: "withdrawn",
}


def offer_key(country: str, shop_id: str, offer_id: str) -> int:
    """The 64-bit key of an offer: the first 16 hex digits (big-endian) of md5 of the three joined by U+001F, UTF-8.

    `shop_id` is the feed's name where the feed does not tell shops apart. Where a feed has no offer ids, the file's
    sha256 (16 digits) is a fourth part, after the row number, which is the id.
    """
    joined = KEY_SEPARATOR.join((country, shop_id, offer_id))
    return int(hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()[:16], 16)


class Databases:
    """Where loads that follow each other get their DuckDB: small files share one, which takes as long to open as a
    thousand rows to load, and use one thread, since several would wait for each other.

    threads: of large files' own; None = as many as there are cores.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._large: dict[str, Any] = {} if threads is None else {"threads": threads}
        self._shared: duckdb.DuckDBPyConnection | None = None

    def open(self, file: FeedFile, settings: FeedSettings, spill: Path) -> duckdb.DuckDBPyConnection:
        """A connection with temporary tables of its own, which may spill into a folder. One is open at a time."""
        limits = {"memory_limit": f"{settings.memory_mb}MB", "temp_directory": str(spill)}
        if file.bytes > SMALL_BYTES:
            return duckdb.connect(config={**self._large, **limits})
        if self._shared is None or not _spill_into(self._shared, spill):
            # What it read of finished parts it would keep until the memory is full: no part is read by two loads.
            self._shared = duckdb.connect(config={"threads": 1, "enable_external_file_cache": False, **limits})
        return self._shared.cursor()


def _spill_into(connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
    """False where the database has spilled already: then it cannot spill elsewhere."""
    try:
        connection.execute("SET temp_directory = $folder", {"folder": str(folder)})
    except duckdb.Error:
        return False
    return True


class Staging:
    """The rows of one load. The connection and its spill folder live as long as the `with` block."""

    def __init__(
        self, file: FeedFile, spec: FeedSpec, settings: FeedSettings, out: Path, databases: Databases | None = None
    ) -> None:
        self.file, self.spec, self.settings, self.out = file, spec, settings, out
        self.databases = databases or Databases()
        self.offers = OfferFiles(out)
        self.dropped = dict.fromkeys(DROPPED, 0)
        self.held_back = 0
        positional = "offer_id" not in spec.columns
        self.salt = KEY_SEPARATOR + file.sha256[:16] if positional else ""

    def __enter__(self) -> "Staging":
        self.connection = self.databases.open(self.file, self.settings, self.out / SPILL_FOLDER)
        self.connection.execute(CREATE)
        return self

    def __exit__(self, *problem: object) -> None:
        self.offers.__exit__(*problem)
        self.connection.close()
        shutil.rmtree(self.out / SPILL_FOLDER, ignore_errors=True)

    def add(self, batch: pa.Table) -> list[tuple[int, str]]:
        """Keep the batch's good rows. Returns position and reason of the others, in order."""
        self.connection.register("batch", batch)
        judged = self.connection.execute(
            JUDGE,
            {
                "feed": self.spec.name,
                "salt": self.salt,
                "title_max_chars": self.settings.title_max_chars,
                "strict": self.settings.unreadable_optional == "quarantine",
            },
        ).to_arrow_table()
        self.connection.unregister("batch")
        reasons = judged["reason"].combine_chunks()
        keyed = batch.append_column("offer_key", judged["offer_key"].combine_chunks())
        good = keyed.filter(pc.is_null(reasons)) if reasons.null_count < len(reasons) else keyed
        taken = self._take_share(good)
        self.held_back += good.num_rows - taken.num_rows
        if taken.num_rows:
            self._keep(taken)
        bad = pc.indices_nonzero(pc.is_valid(reasons)).to_pylist()
        return list(zip(bad, reasons.take(pa.array(bad, pa.int64())).to_pylist(), strict=True))

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
            QUARANTINE_SCHEMA,
        )
        if table.num_rows:
            self._run_on("broken", table, KEEP_QUARANTINE)

    def supersede(self) -> None:
        """Close the offer files, then index them. Of rows with one key only the last stays; others go to quarantine."""
        self.offers.close()
        self.connection.execute(FIND_SUPERSEDED)
        for (country,) in self._rows(SUPERSEDED_COUNTRIES):
            path = self.out / offers_file(country)
            self.connection.execute(QUARANTINE_SUPERSEDED, {"reason": SUPERSEDED, "offers": str(path)})
            gone = self.connection.execute(SUPERSEDED_ROWS, {"country": country}).to_arrow_table()["source_row"]
            self.offers.remove_rows(country, gone.to_numpy())
        self.offers.write_indexes()

    def reasons(self) -> list[tuple[str, int, list[int]]]:
        """Each reason in quarantine, most frequent first: rows, and the first three lines."""
        return [(reason, count, lines) for reason, count, lines in self._rows(REASONS)]

    def write_quarantine(self, target: Path) -> None:
        self.connection.execute(
            f"COPY ({QUARANTINE}) TO $target (FORMAT parquet, COMPRESSION zstd)",
            {"source_file": self.file.name, "target": str(target)},
        )

    def _take_share(self, good: pa.Table) -> pa.Table:
        """The rows whose key lies in the spec's share of the key space, which is uniform."""
        low, high = (round(edge * KEY_SPACE) for edge in self.spec.key_share)
        if (low, high) == (0, KEY_SPACE):
            return good
        keys = good["offer_key"].to_numpy()
        return good.filter(pa.array((keys >= np.uint64(low)) & (keys <= np.uint64(high - 1))))

    def _keep(self, good: pa.Table) -> None:
        size = good.num_rows
        given = {
            **{name: good[name] for name in OFFER_SCHEMA.names if name in good.column_names},
            "withdrawn": pc.fill_null(good["withdrawn"], False),
            "feed": pa.repeat(pa.scalar(self.spec.name), size),
            "source_file": pa.repeat(pa.scalar(self.file.name), size),
            "source_row": good["record"],
        }
        for reason, name in DROPPED.items():
            left_out = pc.and_(good[f"has_{name}"], pc.is_null(good[name]))
            self.dropped[reason] += pc.sum(left_out).as_py()
        self.offers.add(pa.table([given[name] for name in OFFER_SCHEMA.names], OFFER_SCHEMA))
        keys = {"offer_key": good["offer_key"], "country": good["country"]}
        self._run_on("good", pa.table({**keys, "source_row": good["record"], "line": good["line"]}), KEEP_KEYS)

    def _run_on(self, name: str, table: pa.Table, query: str) -> None:
        self.connection.register(name, table)
        self.connection.execute(query)
        self.connection.unregister(name)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()
