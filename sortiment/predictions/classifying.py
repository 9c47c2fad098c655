"""Classifying a country's offers in bulk: bounded memory, resumable, equal titles once.

    OUT/split/shard=K/*.parquet    the live offers, spread over shards by title (equal titles meet); gone at the end
    OUT/shards/K.parquet           the predictions of shard K, written whole or not at all; gone at the end
    OUT/predictions.parquet        all of them: shard after shard, within a shard by title and offer_key

A killed run goes on at the first shard that it had not finished. Splitting by title makes each shard's work, and so
each prediction, independent of where a run was interrupted.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.artifacts import content_version
from sortiment.blobs import write_atomically
from sortiment.errors import UnreadableOffers
from sortiment.predictions.answering import NO_CLASS, Answered, Classifier, ClassNames, answer_offers, name_classes
from sortiment.progress import Progress, Step, silent
from sortiment.settings import PredictionSettings

CODE_VERSION = "2"
PREDICTIONS_FILE = "predictions.parquet"
PLAN, SPLIT, SHARDS, SPILL = "plan.json", "split", "shards", "spill"
SPLIT_FLUSH_ROWS = 100_000  # rows in memory over all shards before the split writes them
JOIN_ROWS = 65_536
SPLIT_SQL = (Path(__file__).parent / "split_offers.sql").read_text(encoding="utf-8")
READ_SQL = "SELECT * FROM read_parquet($files) ORDER BY country, title, offer_key"
COUNT_SQL = """
SELECT count(*), count(*) FILTER (review), count(category_id),
       count(*) FILTER (category_id = predicted_id), avg(confidence::DOUBLE)
FROM read_parquet($file)
"""
DEPARTMENTS_SQL = """
SELECT coalesce(predicted_department, '') AS department, count(*)
FROM read_parquet($file) GROUP BY department ORDER BY department
"""
OFFER_COLUMNS = ("offer_key", "country", "shop_id", "feed", "category_id")
TEXT_COLUMNS = ("title", "brand", "shop_category", "description")
SCHEMA = pa.schema(
    [
        ("offer_key", pa.uint64()),
        ("country", pa.string()),
        ("shop_id", pa.string()),
        ("feed", pa.string()),
        ("category_id", pa.string()),
        ("predicted_id", pa.string()),
        ("predicted_department", pa.string()),
        ("confidence", pa.float32()),
        ("top_margin", pa.float32()),
        ("model_version", pa.string()),
        ("review", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class PredictionReport:
    """What was classified. Shares are of `offers`.

    asked: texts that the engine computed; `duplicate_share` of the offers repeated one of them.
    review: offers whose confidence is below the limit. labelled, agree: offers that carry a label, and those of them
    whose label is what was predicted. departments: predicted offers by department ('' = not in the tree any more).
    """

    offers: int
    asked: int
    duplicate_share: float
    review: int
    review_share: float
    labelled: int
    agree: int
    mean_confidence: float
    departments: dict[str, int]
    shards: int
    unknown_categories: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def classify_offers(
    engine: Classifier,
    parts: Sequence[str],
    *,
    taxonomy: Path,
    model_version: str,
    settings: PredictionSettings,
    out: Path,
    progress: Progress = silent,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> PredictionReport:
    """Write `predictions.parquet` (one row per live offer) into `out`, a folder that a killed run may have begun.

    parts: Parquet files or s3:// URIs of offers, oldest first; where an offer_key repeats, the last one counts.
    taxonomy: the taxonomy artifact's folder.
    connection: a DuckDB that can read the parts; needed for s3:// only.
    Raises UnreadableOffers where the parts cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = name_classes(engine.classes, taxonomy)
    task = _Task(engine, names, model_version, settings)
    database = connection or _open_database(settings, out)
    with _naming(parts):
        rows = _count_rows(parts, database)
        shards = -(-rows // settings.shard_offers)
        _plan(task.plan(parts, rows), out)
        _split_once(out, parts, shards, database)
    with progress("classify", total=rows, unit="offers") as step:
        for number in range(shards):
            target = out / SHARDS / f"{number:06d}.parquet"
            _classify_shard(out / SPLIT / f"shard={number}", target, task, database, step)
    asked = _join_shards(out, shards)
    report = _report(out / PREDICTIONS_FILE, asked, shards, names, database)
    if connection is None:
        database.close()
    for name in (SPLIT, SHARDS, SPILL):
        shutil.rmtree(out / name, ignore_errors=True)
    (out / PLAN).unlink()
    return report


@dataclass(frozen=True)
class _Task:
    """What is the same for all shards."""

    engine: Classifier
    names: ClassNames
    model_version: str
    settings: PredictionSettings

    def plan(self, parts: Sequence[str], rows: int) -> dict[str, Any]:
        return {
            "code": CODE_VERSION,
            "parts": list(parts),
            "rows": rows,
            "model_version": self.model_version,
            "classes": self.names.ids,
            "departments": self.names.departments,
            "settings": self.settings.model_dump(mode="json"),
            "inputs": list(self.engine.inputs),
        }


@contextmanager
def _naming(parts: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise UnreadableOffers(
            "offers of loaded feed files cannot be read",
            value=f"{', '.join(parts)}: {str(error).partition(chr(10))[0]}",
            allowed="the files as they were written",
            fix="materialize feed_files (it compares the file with its manifest, and loads again what is damaged), "
            "then this again; if nothing was damaged, look at the disk",
        ) from error


def _count_rows(parts: Sequence[str], database: duckdb.DuckDBPyConnection) -> int:
    if not parts:
        return 0
    row = database.execute("SELECT count(*) FROM read_parquet($parts)", {"parts": list(parts)}).fetchone()
    assert row is not None, "a count has one row"
    return int(row[0])


def _open_database(settings: PredictionSettings, out: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "memory_limit": f"{settings.memory_limit_mb}MB",
            "temp_directory": str(out / SPILL),
            "preserve_insertion_order": False,
            "partitioned_write_flush_threshold": SPLIT_FLUSH_ROWS,
        }
    )


def _plan(content: dict[str, Any], out: Path) -> None:
    """Keep what a killed run of exactly this plan left; throw away what another left."""
    written = (json.dumps({"version": content_version(content)}) + "\n").encode()
    plan = out / PLAN
    if plan.exists() and plan.read_bytes() == written:
        return
    for name in (SPLIT, SHARDS):
        shutil.rmtree(out / name, ignore_errors=True)
    write_atomically(plan, written)


def _split_once(out: Path, parts: Sequence[str], shards: int, database: duckdb.DuckDBPyConnection) -> None:
    """One pass over the parts. The folder appears under its name only when it is whole."""
    (out / SHARDS).mkdir(exist_ok=True)
    if shards == 0 or (out / SPLIT).exists():
        return
    begun = out / f".{SPLIT}"
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    split = database.sql(SPLIT_SQL, params={"parts": list(parts), "shards": shards})
    split.write_parquet(str(begun), partition_by=["shard"], compression="zstd")
    begun.rename(out / SPLIT)


def _classify_shard(shard: Path, target: Path, task: "_Task", database: duckdb.DuckDBPyConnection, step: Step) -> None:
    if target.exists():
        step.advance(pq.read_metadata(target).num_rows, note="done before")
        return
    asked = 0
    begun = target.with_suffix(".begun")
    with pq.ParquetWriter(begun, SCHEMA, compression="zstd") as writer:
        for batch in _read_shard(shard, task.settings.batch_titles, database):
            columns = {name: batch.column(name).to_pylist() for name in (*TEXT_COLUMNS, "country")}
            answered = answer_offers(task.engine, columns, columns["country"])
            writer.write_batch(_rows(batch, answered, task))
            asked += answered.asked
            step.advance(batch.num_rows)
        writer.add_key_value_metadata({"asked": str(asked)})
    begun.rename(target)


def _read_shard(shard: Path, rows: int, database: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    files = sorted(str(file) for file in shard.glob("*.parquet"))
    if not files:  # no title fell into this shard
        return
    relation = database.sql(READ_SQL, params={"files": files})
    yield from relation.to_arrow_reader(rows)


def _rows(batch: pa.RecordBatch, answered: Answered, task: "_Task") -> pa.RecordBatch:
    """Predictions of one batch, in the contract's columns."""
    nothing = answered.index == NO_CLASS
    place = pa.array(answered.index, mask=nothing)
    confidence = pa.array(answered.confidence, mask=nothing)
    unsure = ~(answered.confidence >= np.float32(task.settings.review_confidence))
    return pa.RecordBatch.from_arrays(
        [
            *(batch.column(name).cast(SCHEMA.field(name).type) for name in OFFER_COLUMNS),
            pa.array(task.names.ids, pa.string()).take(place),
            pa.array(task.names.departments, pa.string()).take(place),
            confidence,
            pa.array(answered.margin, mask=nothing),
            pa.array([task.model_version] * batch.num_rows, pa.string()),
            pa.array(unsure),
        ],
        schema=SCHEMA,
    )


def _join_shards(out: Path, shards: int) -> int:
    """Write predictions.parquet from the shards, in their order. Returns how many texts were computed."""
    asked = 0
    begun = out / f".{PREDICTIONS_FILE}"
    with pq.ParquetWriter(begun, SCHEMA, compression="zstd") as writer:
        for number in range(shards):
            file = pq.ParquetFile(out / SHARDS / f"{number:06d}.parquet")
            asked += int(file.metadata.metadata[b"asked"])
            for batch in file.iter_batches(JOIN_ROWS):
                writer.write_batch(batch)
    begun.rename(out / PREDICTIONS_FILE)
    return asked


def _report(
    predictions: Path, asked: int, shards: int, names: ClassNames, database: duckdb.DuckDBPyConnection
) -> PredictionReport:
    row = database.execute(COUNT_SQL, {"file": str(predictions)}).fetchone()
    assert row is not None, "an aggregate has one row"
    offers, review, labelled, agree, confidence = row
    departments = database.execute(DEPARTMENTS_SQL, {"file": str(predictions)}).fetchall()
    return PredictionReport(
        offers=offers,
        asked=asked,
        duplicate_share=round(1.0 - asked / offers, 6) if offers else 0.0,
        review=review,
        review_share=round(review / offers, 6) if offers else 0.0,
        labelled=labelled,
        agree=agree,
        mean_confidence=round(confidence or 0.0, 6),
        departments=dict(departments),
        shards=shards,
        unknown_categories=names.unknown,
    )
