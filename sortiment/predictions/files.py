"""Classifying one file of anybody's: `sortiment classify IN OUT`. One row out per row in, in the file's order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.cleaning import clean_column, map_distinct
from sortiment.errors import StorageError
from sortiment.feeds import FeedSpec, list_feed_files, read_batches
from sortiment.feeds.raw import RawBatch
from sortiment.feeds.reasons import MISSING_TITLE
from sortiment.feeds.spec import COMPRESSIONS, EXTENSIONS
from sortiment.feeds.values import parse_country
from sortiment.predictions.answering import NO_CLASS, Answered, Classifier, ClassNames, answer_offers, name_classes
from sortiment.predictions.guessing import UNKNOWN_COUNTRY, guess_spec
from sortiment.progress import Progress, silent
from sortiment.settings import PredictionSettings

PARQUET = "parquet"
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("offer_id", pa.string()),
        ("country", pa.string()),
        ("title", pa.string()),
        ("category_id", pa.string()),
        ("path", pa.list_(pa.string())),
        ("department", pa.string()),
        ("confidence", pa.float32()),
        ("top_margin", pa.float32()),
        ("review", pa.bool_()),
        ("model_version", pa.string()),
        ("problem", pa.string()),
    ]
)


@dataclass(frozen=True)
class FileReport:
    """What became of a file's rows: rows = classified + not_classified.

    problems: why rows were not classified, counted (reasons as in feed quarantine). review: classified rows below the
    confidence limit. asked: texts that the engine computed. columns: what was read as what; encoding, delimiter: how.
    """

    rows: int
    classified: int
    not_classified: int
    review: int
    asked: int
    problems: dict[str, int]
    columns: dict[str, str]
    encoding: str
    delimiter: str | None


def classify_file(
    engine: Classifier,
    source: Path,
    target: Path,
    *,
    taxonomy: Path,
    model_version: str,
    settings: PredictionSettings,
    columns: Mapping[str, str] | None = None,
    country: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    progress: Progress = silent,
) -> FileReport:
    """Write `target`, Parquet with one row per row of `source` (CSV, JSON lines or Parquet, also compressed).

    `row` counts from 1. A row without a title, or one that cannot be taken apart, has a `problem` and no category.
    columns: feed contract column to the file's column, where the header's names do not tell. country: of all rows,
    where the file has no country column; it picks the calibration. Raises FeedError where the file cannot be used,
    StorageError where `target` is the source, has another format's name or cannot be written.
    """
    _check_target(source, target)
    spec = guess_spec(source, columns or {}, country, delimiter, encoding)
    names = name_classes(engine.classes, taxonomy)
    counted = {"rows": 0, "classified": 0, "review": 0, "asked": 0}
    problems: dict[str, int] = {}
    begun = target.with_name(f".{target.name}.begun")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(begun, SCHEMA, compression="zstd") as writer, progress("classify", unit="rows") as step:
            for batch in read_batches(list_feed_files(spec)[0], spec):
                answered, table = _classify_batch(batch, counted["rows"], engine=engine, names=names, spec=spec)
                review = ~(answered.confidence >= np.float32(settings.review_confidence))
                table = table.append_column("review", pa.array(review.tolist() + [True] * len(batch.broken)))
                table = table.append_column("model_version", pa.array([model_version] * table.num_rows, pa.string()))
                writer.write_table(table.select(SCHEMA.names).cast(SCHEMA).sort_by("row"))
                for reason in table["problem"].drop_null().to_pylist():
                    problems[reason] = problems.get(reason, 0) + 1
                known = answered.index != NO_CLASS
                counted["rows"] += table.num_rows
                counted["classified"] += int(known.sum())
                counted["review"] += int((review & known).sum())
                counted["asked"] += answered.asked
                step.advance(table.num_rows)
        begun.rename(target)
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written", value=str(error), fix="make room, or choose another place"
        ) from error
    finally:
        begun.unlink(missing_ok=True)
    return FileReport(
        **counted,
        not_classified=counted["rows"] - counted["classified"],
        problems=dict(sorted(problems.items())),
        columns=dict(spec.file_columns),
        encoding=spec.encoding,
        delimiter=spec.delimiter,
    )


def _check_target(source: Path, target: Path) -> None:
    if target.is_dir() or (target.exists() and source.exists() and target.samefile(source)):
        raise StorageError(
            "the answers need a file of their own", value=str(target), allowed="a file that is not IN, and no folder"
        )
    kind = EXTENSIONS.get(target.suffix.lower().removeprefix("."), PARQUET)
    if kind != PARQUET or target.suffix.lower().removeprefix(".") in COMPRESSIONS:
        raise StorageError(
            "the answers are written as Parquet",
            value=str(target),
            allowed="a name that does not say otherwise",
            fix=f"call it {target.with_suffix('.parquet').name}",
        )


def _classify_batch(
    batch: RawBatch, before: int, *, engine: Classifier, names: ClassNames, spec: FeedSpec
) -> tuple[Answered, pa.Table]:
    """Answers for the rows that could be taken apart, and a table of these and, after them, the broken ones."""
    size = len(batch.records)
    columns = {name: _clean(batch, name, spec) for name in ("title", "offer_id", "country", *engine.inputs)}
    countries = _countries(columns["country"], spec)
    texts = {name: columns[name].to_pylist() for name in engine.inputs}
    answered = answer_offers(engine, texts, [country or "" for country in countries.to_pylist()])
    nothing = answered.index == NO_CLASS
    place = pa.array(answered.index, mask=nothing)
    problem = [
        (batch.problems[position].reason if position in batch.problems else MISSING_TITLE) if missing else None
        for position, missing in enumerate(nothing.tolist())
    ]
    rows = pa.table(
        {
            "row": pa.array(batch.records, pa.int64()),
            "offer_id": columns["offer_id"],
            "country": countries,
            "title": columns["title"],
            "category_id": pa.array(names.ids, pa.string()).take(place),
            "path": pa.array(names.paths, pa.list_(pa.string())).take(place),
            "department": pa.array(names.departments, pa.string()).take(place),
            "confidence": pa.array(answered.confidence, mask=nothing),
            "top_margin": pa.array(answered.margin, mask=nothing),
            "problem": pa.array(problem, pa.string()),
        }
    )
    if not batch.broken:
        return answered, rows
    # Rows are numbered through; those that could not be taken apart are the numbers that no other row has.
    missing = sorted(set(range(before + 1, before + size + len(batch.broken) + 1)) - set(batch.records))
    broken = sorted(batch.broken, key=lambda row: row.line)
    lost = pa.table(
        {
            "row": pa.array(missing, pa.int64()),
            "problem": pa.array([row.problem.reason for row in broken], pa.string()),
        }
    )
    return answered, pa.concat_tables([rows, lost], promote_options="default")


def _clean(batch: RawBatch, name: str, spec: FeedSpec) -> pa.Array:
    """A column, cleaned as feeds are; nulls where the file does not have it or says one of the spec's null values."""
    if name not in batch.columns:
        return pa.nulls(len(batch.records), pa.string())
    column = clean_column(batch.columns[name])
    return map_distinct(column, lambda text: None if text in spec.null_values else text, pa.string())


def _countries(column: pa.Array, spec: FeedSpec) -> pa.Array:
    """ISO codes; the spec's constant where the row has none, NULL where nobody said."""
    constant = spec.constants.get("country")
    default = None if constant == UNKNOWN_COUNTRY else constant
    codes = map_distinct(column, parse_country, pa.string())
    return codes if default is None else pa.compute.fill_null(codes, default)
