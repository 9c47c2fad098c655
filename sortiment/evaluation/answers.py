"""What each model answers for the test offers: the table from which scores, gates and confusions are made.

One row per labelled test offer, ordered by offer_key: `offer_key, country, department, slice, feed, shop_id, title,
category_id` (the shop's label), `weight` (1 / inclusion probability), and per model `<model>_id`, `<model>_confidence`,
and the best classes with their probabilities, best first: `<model>_top`, `<model>_top_share`. Models are `teacher` (its
soft labels, made before), `student`, `int8` (the engine that will be served), `fast` and `champion`, if any.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.encoders import offer_texts
from sortiment.errors import TrainingError
from sortiment.evaluation.dimensions import group_answers
from sortiment.evaluation.scores import score
from sortiment.progress import Progress, silent
from sortiment.settings import EvaluationSettings
from sortiment.student.prediction import Classification, rank_top

ANSWERS_FILE = "answers.parquet"
SAMPLE_FILE = "sample.parquet"
SOFT_LABELS_FILE = "soft_labels.parquet"
CLASSES_FILE = "classes.json"
KEPT_COLUMNS = ["offer_key", "country", "department", "slice", "feed", "shop_id", "title", "category_id"]
TEXT_COLUMNS = ["brand", "shop_category", "description"]
KEPT_CLASSES = 16
AT_ONCE = 16_384
TEACHER = "teacher"
MODEL_COLUMNS = ("id", "confidence", "top", "top_share")

Index = npt.NDArray[np.int32]
Share = npt.NDArray[np.float32]


class Answering(Protocol):
    """What a student, an engine and a champion have in common."""

    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def inputs(self) -> Sequence[str]:
        """The offer columns that make a text, as the model was trained."""

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> Any:
        """An object with `index` int32 [n] and `confidence` float32 [n]."""


def answer_test_offers(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    models: Mapping[str, Answering],
    progress: Progress = silent,
) -> dict[str, pa.Table]:
    """Each partition's answers; partitions without labelled test offers have an empty table.

    samples, soft_labels: partition key to artifact folder. teacher_classes: of soft labels that list none. Each
    model reads the columns that it was trained on. All partitions are classified in one pass: batches stay full.
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
    countries = everything["country"].to_pylist()
    for name, model in models.items():
        columns = {column: everything[column].to_pylist() for column in model.inputs}
        texts = offer_texts(columns, model.inputs)
        with progress(f"evaluate {name}", total=everything.num_rows) as step:
            found = [
                rank_classes(model, texts[at : at + AT_ONCE], countries[at : at + AT_ONCE], KEPT_CLASSES)
                for at in range(0, len(texts), AT_ONCE)
            ]
            step.advance(everything.num_rows)
        top_index = np.concatenate([part.top_index for part in found])
        top_share = np.concatenate([part.top_probability for part in found])
        everything = _append_model(everything, name, model.classes, top_index, top_share)
    return {
        key: everything.filter(pc.equal(everything["partition"], key))
        .drop_columns(["partition"])
        .select(_order(models))
        for key in tables
    }


def rank_classes(model: Answering, texts: Sequence[str], countries: Sequence[str] | None, top_k: int) -> Classification:
    """The best `top_k` classes of each text, calibrated, whatever kind of model it is."""
    from sortiment.engines import Engine

    if isinstance(model, Engine):
        return rank_top(model.score(texts, countries), top_k)
    found: Classification = model.classify(texts, countries, top_k=top_k)  # type: ignore[call-arg]
    return found


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
    """Each model's scores, overall and along each of DIMENSIONS (docs/contracts.md, "Scores")."""
    groups = group_answers(answers)
    truth = answers["category_id"].to_pylist()
    return {name: score(truth, answers[f"{name}_id"].to_pylist(), groups, settings) for name in models_of(answers)}


def read_answers(folders: Sequence[Path]) -> pa.Table:
    """The answers of many partitions as one table, ordered by offer_key."""
    return pa.concat_tables([pq.read_table(folder / ANSWERS_FILE) for folder in folders]).sort_by("offer_key")


def _order(models: Mapping[str, Answering]) -> list[str]:
    named = [f"{name}_{what}" for name in (TEACHER, *models) for what in MODEL_COLUMNS]
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
    offers, labels = offers.combine_chunks(), labels.combine_chunks()
    weight = pc.divide(1.0, offers["inclusion_probability"])
    table = offers.select([*KEPT_COLUMNS, *(c for c in TEXT_COLUMNS if c in offers.column_names)])
    table = table.append_column("weight", weight.cast(pa.float64()))
    index, share = _pad_soft_labels(labels)
    table = _append_model(table, TEACHER, teacher_classes, index, share)
    return table.append_column("partition", pa.array([key] * table.num_rows, pa.string()))


def _classes_of(soft_labels: Path, otherwise: Sequence[str]) -> Sequence[str]:
    """The classes of the teacher that labelled a partition: another one where only that was labelled anew."""
    own = soft_labels / CLASSES_FILE
    classes: Sequence[str] = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else otherwise
    return classes


def _pad_soft_labels(labels: pa.Table) -> tuple[Index, Share]:
    """The teacher's stored classes and probabilities, best first, [offers, KEPT_CLASSES]; -1 and 0 as padding."""
    index = np.full((labels.num_rows, KEPT_CLASSES), -1, np.int32)
    share = np.zeros((labels.num_rows, KEPT_CLASSES), np.float32)
    for row, (classes, logits) in enumerate(
        zip(labels["top_index"].to_pylist(), labels["top_logit"].to_pylist(), strict=True)
    ):
        kept = classes[:KEPT_CLASSES]
        index[row, : len(kept)] = kept
        share[row, : len(kept)] = np.exp(logits[: len(kept)])
    return index, share


def _append_model(table: pa.Table, name: str, classes: Sequence[str], index: Index, share: Share) -> pa.Table:
    """The model's four columns. index: class of each place, -1 = none."""
    names = np.asarray(classes, dtype=object)
    starts = pa.array(np.concatenate([[0], (index >= 0).sum(1).cumsum()]), pa.int32())
    known = index >= 0
    first = index[:, 0] if index.size else np.zeros(0, np.int32)
    sure = share[:, 0] if share.size else np.zeros(0, np.float32)
    columns = (
        pa.array(names[first], pa.string()),
        pa.array(sure, pa.float32()),
        pa.ListArray.from_arrays(starts, pa.array(names[index[known]], pa.string())),
        pa.ListArray.from_arrays(starts, pa.array(share[known], pa.float32())),
    )
    for what, column in zip(MODEL_COLUMNS, columns, strict=True):
        table = table.append_column(f"{name}_{what}", column)
    return table
