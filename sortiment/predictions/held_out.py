"""What the champion answers for offers that it has not learned from: what drift compares new offers with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.predictions.answering import Classifier, answer_offers, name_classes
from sortiment.predictions.classifying import PREDICTIONS_FILE, SCHEMA
from sortiment.settings import PredictionSettings

COLUMNS = ["offer_key", "country", "shop_id", "feed", "category_id", "title", "brand", "shop_category", "description"]


def classify_held_out(
    engine: Classifier,
    samples: Sequence[Path],
    *,
    taxonomy: Path,
    model_version: str,
    settings: PredictionSettings,
    out: Path,
) -> dict[str, Any]:
    """Write `predictions.parquet` for the validation and test offers of the samples (`sample.parquet` files).

    One row per offer, in the samples' order. Returns the summary: offers.
    """
    held_out = pc.field("split") != "train"
    offers = pa.concat_tables(
        [pq.read_table(sample, columns=[*COLUMNS, "split"], filters=held_out) for sample in samples]
    )
    names = name_classes(engine.classes, taxonomy)
    columns = {name: offers[name].to_pylist() for name in engine.inputs}
    answered = answer_offers(engine, columns, offers["country"].to_pylist())
    ids = np.array([*names.ids, None], dtype=object)[answered.index]
    departments = np.array([*names.departments, None], dtype=object)[answered.index]
    table = offers.select(["offer_key", "country", "shop_id", "feed", "category_id"])
    added = {
        "predicted_id": pa.array(ids, pa.string()),
        "predicted_department": pa.array(departments, pa.string()),
        "confidence": pa.array(answered.confidence, pa.float32()),
        "top_margin": pa.array(answered.margin, pa.float32()),
        "model_version": pa.array([model_version] * len(offers), pa.string()),
        "review": pa.array(answered.confidence < settings.review_confidence, pa.bool_()),
    }
    for name, column in added.items():
        table = table.append_column(name, column)
    pq.write_table(table.cast(SCHEMA), out / PREDICTIONS_FILE, compression="zstd")
    return {"offers": table.num_rows}
