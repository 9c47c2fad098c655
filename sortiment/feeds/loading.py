"""One feed file into one part: offers per country, quarantine, labels, report.

The file is read once, in batches. Memory is bounded by the batch and by `feeds.memory_mb`, whatever the file's size,
but for 8 bytes for each row that a later one replaces.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
from pyarrow import fs

from sortiment.errors import FeedError, StorageError
from sortiment.feeds.columnar import read_parquet
from sortiment.feeds.delimited import read_delimited
from sortiment.feeds.files import FeedFile, file_format, open_raw, open_text_bytes
from sortiment.feeds.jsonl import read_json_lines
from sortiment.feeds.lines import read_head
from sortiment.feeds.offer_files import offers_file
from sortiment.feeds.parsing import RowParser
from sortiment.feeds.raw import BrokenRow, Problem, RawBatch, gather
from sortiment.feeds.reasons import ADVICE, MEANING, SUPERSEDED
from sortiment.feeds.report import FeedFileReport, describe_countries, write_labels, write_report
from sortiment.feeds.spec import FeedSpec
from sortiment.feeds.staging import Databases, Staging
from sortiment.progress import Progress
from sortiment.settings import FeedSettings
from sortiment.taxonomy import PATH_SEPARATOR, Resolver

# What the same bytes, spec and settings become. Raise it when that changes.
CODE_VERSION = "feeds-5"
QUARANTINE_FILE = "quarantine.parquet"
REASON_COLUMNS = {
    "missing_offer_id": "offer_id",
    "missing_country": "country",
    "bad_country": "country",
    "missing_title": "title",
    "empty_title": "title",
    "title_too_long": "title",
    "bad_price": "price",
    "bad_currency": "currency",
    "bad_date": "observed_at",
    "bad_withdrawn": "withdrawn",
    "unknown_category": "category",
    "ambiguous_category": "category",
}


def load_feed_file(
    file: FeedFile,
    spec: FeedSpec,
    resolver: Resolver,
    settings: FeedSettings,
    out: Path,
    progress: Progress,
    filesystem: fs.FileSystem | None = None,
    databases: Databases | None = None,
) -> FeedFileReport:
    """Write offers per country with their indexes, quarantine, labels and report into `out` (docs/contracts.md).

    databases: those of the loads before this one, which make this one faster.
    Raises FeedError naming file, line and reason where the file cannot be read or too many of its rows are broken,
    StorageError where the disk is full.
    """
    started = time.monotonic()
    parser = RowParser(file, spec, resolver, settings)
    rows_read = 0
    empty = set(spec.columns)
    try:
        with (
            Staging(file, spec, settings, out, databases) as staging,
            progress(f"load {file.name}", unit="rows") as step,
        ):
            for batch in read_batches(file, spec, filesystem):
                bad = staging.add(parser.parse(batch))
                staging.quarantine([*batch.broken, *(_broken_row(batch, *found) for found in bad)])
                count = len(batch.records) + len(batch.broken)
                rows_read += count
                empty -= batch.filled(empty)
                step.advance(count)
            return _finish(staging, file, spec, rows_read, sorted(empty) if rows_read else [], started)
    except duckdb.Error as error:
        raise _storage_error(file, settings, error) from error


def read_batches(file: FeedFile, spec: FeedSpec, filesystem: fs.FileSystem | None = None) -> Iterator[RawBatch]:
    """The file's rows as text, batch by batch, whatever its format and compression."""
    yield from gather(_read_batches(file, spec, filesystem))


def _read_batches(file: FeedFile, spec: FeedSpec, filesystem: fs.FileSystem | None) -> Iterator[RawBatch]:
    kind = file_format(spec, file.name)
    if kind == "parquet":
        with open_raw(file, filesystem) as stream:
            yield from read_parquet(stream, spec, file.name)
        return
    with open_text_bytes(file, filesystem) as stream:
        head = read_head(stream, spec, file.name)
    with open_text_bytes(file, filesystem) as stream:
        read = read_delimited if kind == "csv" else read_json_lines
        yield from read(stream, head, spec, file.name)


def _finish(
    staging: Staging, file: FeedFile, spec: FeedSpec, rows_read: int, empty: list[str], started: float
) -> FeedFileReport:
    staging.supersede()
    out = staging.out
    reasons = staging.reasons()
    offers = [out / offers_file(country) for country in sorted(staging.offers.rows)]
    countries = describe_countries(staging.connection, offers)
    report = FeedFileReport(
        source_file=file.name,
        feed=spec.name,
        format=file_format(spec, file.name),
        rows_read=rows_read,
        rows_loaded=sum(country.offers for country in countries.values()),
        quarantined={reason: count for reason, count, _ in sorted(reasons)},
        dropped={reason: count for reason, count in staging.dropped.items() if count},
        countries=countries,
        empty=empty,
        held_back=staging.held_back,
    )
    _check_share(report, reasons, staging.settings)
    staging.write_quarantine(out / QUARANTINE_FILE)
    write_labels(staging.connection, offers, out)
    write_report(report, out)
    return replace(report, seconds=time.monotonic() - started)


def _check_share(report: FeedFileReport, reasons: list[tuple[str, int, list[int]]], settings: FeedSettings) -> None:
    if report.broken_share <= settings.quarantine_limit:
        return
    listed = "; ".join(
        f"{reason} ({MEANING[reason]}): {count:,} rows, such as line {', '.join(map(str, lines))}"
        for reason, count, lines in reasons[:5]
        if reason != SUPERSEDED
    )
    worst = next(reason for reason, _, _ in reasons if reason != SUPERSEDED)
    raise FeedError(
        f"{report.source_file}: {report.broken_share:.0%} of {report.rows_read:,} rows are broken: {listed}",
        value=f"{report.broken_share:.4f}",
        allowed=f"up to {settings.quarantine_limit} (feeds.quarantine_limit)",
        fix=f"correct the file or {report.feed}.yaml ({ADVICE.get(worst, '`columns`')}), or raise the limit",
    )


def _broken_row(batch: RawBatch, position: int, reason: str) -> BrokenRow:
    problem = batch.problems.get(position)
    if problem is None:
        column = REASON_COLUMNS[reason]
        cells = [batch.columns[name][position].as_py() for name in batch.columns if name.split(".")[0] == column]
        value = PATH_SEPARATOR.join(cell or "" for cell in cells).replace(PATH_SEPARATOR, " > ") if cells else None
        problem = Problem(reason, column, value)
    return BrokenRow(batch.lines[position], problem, batch.row_text(position))


def _storage_error(file: FeedFile, settings: FeedSettings, error: duckdb.Error) -> StorageError:
    if isinstance(error, duckdb.OutOfMemoryException):
        fix = f"raise feeds.memory_mb (now {settings.memory_mb})"
    else:
        fix = "make room on the disk, then run the same command"
    return StorageError(f"{file.name} could not be loaded", value=str(error), fix=fix)
