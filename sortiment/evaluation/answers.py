"""What each model answers for the test offers: the table from which scores, gates and confusions are made.

One row per labelled test offer, ordered by offer_key: `offer_key, country, department, slice, feed, title, category_id`
(the shop's label), `weight` (1 / inclusion probability), and per model `<model>_id` and `<model>_confidence`. They are
`teacher` (its soft labels, made before), `student`, `int8` (the engine that will be served) and `champion`, if any.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.encoders import offer_texts
from sortiment.errors import TrainingError
from sortiment.evaluation.scores import score
from sortiment.progress import Progress, silent
from sortiment.settings import EvaluationSettings

ANSWERS_FILE = "answers.parquet"
SAMPLE_FILE = "sample.parquet"
SOFT_LABELS_FILE = "soft_labels.parquet"
CLASSES_FILE = "classes.json"
KEPT_COLUMNS = ["offer_key", "country", "department", "slice", "feed", "title", "category_id"]
TEXT_COLUMNS = ["brand", "shop_category", "description"]


class Answering(Protocol):
    """What a student, an engine and a champion have in common."""

    @property
    def classes(self) -> Sequence[str]: ...
    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> Any:
        """An object with `index` int32 [n] and `confidence` float32 [n]."""


def answer_test_offers(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    models: Mapping[str, Answering],
    inputs: Sequence[str],
    progress: Progress = silent,
) -> dict[str, pa.Table]:
    """Each partition's answers; partitions without labelled test offers have an empty table.

    samples, soft_labels: partition key to artifact folder. teacher_classes: of soft labels that list none. inputs: the
    offer columns that make a model's text. All partitions are classified in one pass, so that batches stay full.
    Raises TrainingError where no partition has a labelled test offer.
    """
    known = {key: _classes_of(soft_labels[key], teacher_classes) for key in samples}
    tables = {key: _test_offers(key, samples[key], soft_labels[key], known[key]) for key in samples}
    everything = pa.concat_tables(tables.values())
    if not everything.num_rows:
        raise TrainingError(
            "no labelled offer is in the test split",
            value=f"{len(samples)} partitions",
            fix="give more labelled offers of the same categories (one that has a single offer needs it for training), "
            "or raise sampling.test_share",
        )
    columns = {column: everything[column].to_pylist() for column in inputs}
    texts, countries = offer_texts(columns, inputs), everything["country"].to_pylist()
    for name, model in models.items():
        with progress(f"evaluate {name}", total=everything.num_rows) as step:
            found = model.classify(texts, countries)
            step.advance(everything.num_rows)
        classes = np.asarray(model.classes, dtype=object)
        everything = everything.append_column(f"{name}_id", pa.array(classes[found.index], pa.string()))
        everything = everything.append_column(f"{name}_confidence", pa.array(found.confidence, pa.float32()))
    return {
        key: everything.filter(pc.equal(everything["partition"], key))
        .drop_columns(["partition"])
        .select(_order(models))
        for key in tables
    }


def write_answers(answers: pa.Table, out: Path) -> dict[str, Any]:
    """Write `answers.parquet` into the folder. Returns the summary: offers and each model's accuracy."""
    pq.write_table(answers, out / ANSWERS_FILE, compression="zstd")
    if not answers.num_rows:
        return {"offers": 0}
    right = {name: pc.equal(answers[f"{name}_id"], answers["category_id"]) for name in models_of(answers)}
    return {
        "offers": answers.num_rows,
        **{f"{name}_accuracy": pc.mean(hit.cast(pa.float64())).as_py() for name, hit in right.items()},
    }


def models_of(answers: pa.Table) -> list[str]:
    """The models that a table of answers holds."""
    return [name.removesuffix("_confidence") for name in answers.column_names if name.endswith("_confidence")]


def score_answers(answers: pa.Table, settings: EvaluationSettings) -> dict[str, dict[str, Any]]:
    """Each model's scores, overall and by country, department, slice and feed (docs/contracts.md, "Scores")."""
    groups = {name: answers[name].to_pylist() for name in ("country", "department", "slice", "feed")}
    truth = answers["category_id"].to_pylist()
    return {name: score(truth, answers[f"{name}_id"].to_pylist(), groups, settings) for name in models_of(answers)}


def read_answers(folders: Sequence[Path]) -> pa.Table:
    """The answers of many partitions as one table, ordered by offer_key."""
    return pa.concat_tables([pq.read_table(folder / ANSWERS_FILE) for folder in folders]).sort_by("offer_key")


def _order(models: Mapping[str, Answering]) -> list[str]:
    named = [f"{name}_{what}" for name in ("teacher", *models) for what in ("id", "confidence")]
    return [*KEPT_COLUMNS, "weight", *named]


def _test_offers(key: str, sample: Path, soft_labels: Path, teacher_classes: Sequence[str]) -> pa.Table:
    offers = pq.read_table(sample / SAMPLE_FILE)
    labels = pq.read_table(soft_labels / SOFT_LABELS_FILE, columns=["offer_key", "top_index", "top_logit"])
    if not offers["offer_key"].equals(labels["offer_key"]):
        raise TrainingError(
            f"the teacher's labels of {key} are of another sample",
            value=f"{labels.num_rows} labels, {offers.num_rows} offers",
            fix=f"materialize teacher_soft_labels of {key} again",
        )
    asked = pc.and_(pc.equal(offers["split"], "test"), pc.is_valid(offers["category_id"]))
    offers, labels = offers.filter(asked), labels.filter(asked)
    first = (
        pc.list_element(labels["top_index"], 0).to_numpy(zero_copy_only=False) if labels.num_rows else np.zeros(0, int)
    )
    sure = pc.exp(pc.list_element(labels["top_logit"], 0)) if labels.num_rows else pa.array([], pa.float32())
    classes = np.asarray(teacher_classes, dtype=object)
    weight = pc.divide(1.0, offers["inclusion_probability"])
    table = offers.select(
        [*KEPT_COLUMNS, *(c for c in ("brand", "shop_category", "description") if c in offers.column_names)]
    )
    table = table.append_column("weight", weight.cast(pa.float64()))
    table = table.append_column("teacher_id", pa.array(classes[first], pa.string()))
    table = table.append_column("teacher_confidence", sure.cast(pa.float32()))
    return table.append_column("partition", pa.array([key] * table.num_rows, pa.string()))


def _classes_of(soft_labels: Path, otherwise: Sequence[str]) -> Sequence[str]:
    """The classes of the teacher that labelled a partition: another one where only that was labelled anew."""
    own = soft_labels / CLASSES_FILE
    classes: Sequence[str] = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else otherwise
    return classes
