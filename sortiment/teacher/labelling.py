"""Soft labels for every sampled offer: the top classes' log probabilities and the mass of all others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.artifacts import write_atomically
from sortiment.encoders import offer_texts
from sortiment.progress import Progress
from sortiment.settings import TeacherSettings
from sortiment.teacher import SOFT_LABELS_FILE
from sortiment.teacher.ensemble import CLASSES_FILE, Teacher
from sortiment.teacher.heads import Floats

SAMPLE_FILE = "sample.parquet"
OFFERS_AT_ONCE = 8_192
LEAST_PROBABILITY = 1e-9


def run_labelling(
    teacher: Teacher,
    samples: Mapping[str, Path],
    out: Mapping[str, Path],
    settings: TeacherSettings,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """See `sortiment.teacher.label_samples`. A partition that a killed run finished is not labelled again."""
    waiting = [key for key in out if not (out[key] / SOFT_LABELS_FILE).is_file()]
    inputs = teacher.encoder_settings.inputs
    columns = [*dict.fromkeys(["offer_key", "country", *inputs])]
    tables = {key: pq.read_table(samples[key] / SAMPLE_FILE, columns=columns) for key in waiting}
    texts = {
        key: offer_texts({name: table[name].to_pylist() for name in inputs}, inputs) for key, table in tables.items()
    }
    countries = {key: table["country"].to_pylist() for key, table in tables.items()}
    # One look at the cache for all partitions, so that what is missing is embedded in full batches.
    _warm_features(teacher, [t for key in waiting for t in texts[key]], [c for key in waiting for c in countries[key]], progress)
    with progress("label", total=sum(map(len, texts.values()))) as step:
        for key in waiting:
            _write_labels(teacher, tables[key], texts[key], countries[key], settings, out[key])
            step.advance(len(texts[key]), key)
    return {key: _summarize(folder) for key, folder in out.items()}


def _warm_features(teacher: Teacher, texts: list[str], countries: list[str], progress: Progress) -> None:
    from sortiment.encoders import prompted

    if texts:
        teacher.features.features(prompted(texts, teacher.encoder.family, teacher.encoder_settings, countries), progress)


def _write_labels(
    teacher: Teacher, offers: pa.Table, texts: list[str], countries: list[str], settings: TeacherSettings, folder: Path
) -> None:
    count = min(settings.label_top_k, len(teacher.classes))
    index = np.zeros((len(texts), count), np.int32)
    logit = np.zeros((len(texts), count), np.float32)
    for start in range(0, len(texts), OFFERS_AT_ONCE):
        rows = slice(start, start + OFFERS_AT_ONCE)
        index[rows], logit[rows] = _take_top(teacher.probabilities(texts[rows], countries[rows]), count)
    rest = np.clip(1.0 - np.exp(logit).sum(1), 0.0, 1.0).astype(np.float32)
    table = pa.table(
        {
            "offer_key": offers["offer_key"],
            "top_index": pa.array(list(index), pa.list_(pa.int32())),
            "top_logit": pa.array(list(logit), pa.list_(pa.float32())),
            "rest_mass": pa.array(rest, pa.float32()),
        }
    )
    write_atomically(folder / CLASSES_FILE, (_classes_json(teacher)))
    arriving = folder / f".{SOFT_LABELS_FILE}"
    pq.write_table(table, arriving, compression="zstd")
    arriving.rename(folder / SOFT_LABELS_FILE)


def _take_top(probabilities: Floats, count: int) -> tuple[Any, Floats]:
    """Class indices and log probabilities, most likely first; equal ones by index."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    top = np.take_along_axis(probabilities, order, 1)
    return order.astype(np.int32), np.log(np.maximum(top, LEAST_PROBABILITY))


def _classes_json(teacher: Teacher) -> bytes:
    import json

    return json.dumps(list(teacher.classes), ensure_ascii=False).encode()


def _summarize(folder: Path) -> dict[str, Any]:
    labels = pq.read_table(folder / SOFT_LABELS_FILE)
    if not labels.num_rows:
        return {"offers": 0, "mean_confidence": None}
    first = np.array([top[0] for top in labels["top_logit"].to_pylist()])
    return {"offers": labels.num_rows, "mean_confidence": round(float(np.exp(first).mean()), 4)}
