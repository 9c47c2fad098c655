"""Validation offers are scored a part at a time; the figures are those of all, and missing where there are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sortiment.settings import StudentSettings
from sortiment.student.corpus import Corpus
from sortiment.student.measures import choose_calibrated, measure_validation
from tests.sortiment.student.distilling import distill, market_of

CLASSES, OFFERS = 6, 900


def corpus() -> Corpus:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, OFFERS).astype(np.int32)
    return Corpus(
        classes=tuple("abcdef"),
        partitions=("DE|all",),
        countries=("DE", "GB"),
        texts=[""] * OFFERS,
        labels=labels,
        partition=np.zeros(OFFERS, np.int32),
        country=draw.integers(0, 2, OFFERS).astype(np.int32),
        split=(np.arange(OFFERS) % 3).astype(np.int32),
        suspect=np.zeros(OFFERS, np.bool_),
        made_up=np.zeros(OFFERS, np.bool_),
        product=np.arange(1, OFFERS + 1, dtype=np.uint64),
        top_index=labels[:, None],
        top_probability=np.ones((OFFERS, 1), np.float32),
        rest=np.zeros(OFFERS, np.float32),
        known=np.ones(CLASSES, np.bool_),
    )


def test_parts_give_the_figures_of_the_whole() -> None:
    offers = corpus()
    logits = np.random.default_rng(1).normal(size=(OFFERS, CLASSES + 2)).astype(np.float32)
    logits[np.arange(OFFERS), offers.labels] += 1.5
    logits[:, CLASSES:] = 99  # outputs that no class has
    asked: list[int] = []

    def score(rows: Any) -> Any:
        asked.append(len(rows))
        return logits[rows]

    whole, expected = measure_validation(offers, score)
    assert asked == [300]
    asked.clear()
    parts, found = measure_validation(offers, score, numbers_at_most=CLASSES * 130)
    assert asked == [130, 130, 40]
    exact = [name for name in expected if not name.startswith("calibration")]
    assert {name: found[name] for name in exact} == {name: expected[name] for name in exact}
    assert parts.default == pytest.approx(whole.default, rel=0.2)
    assert set(parts.temperature) == {"DE", "GB"}


def test_offers_to_calibrate_on_are_all_or_evenly_spread() -> None:
    assert choose_calibrated(300, CLASSES).tolist() == list(range(300))
    some = choose_calibrated(300, CLASSES, CLASSES * 50)
    assert len(some) == 50 and some[0] == 0 and some[-1] == 299
    assert set(np.diff(some)) == {6, 7} or set(np.diff(some)) == {6}


def test_without_validation_labels_figures_are_missing_and_not_zero(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    samples = {}
    for key, folder in tiny_market.samples.items():
        samples[key] = tmp_path / key.replace("|", "-")
        samples[key].mkdir()
        table = pq.read_table(folder / "sample.parquet")
        split = pc.if_else(pc.equal(table["split"], "validation"), "train", table["split"])
        at = table.column_names.index("split")
        pq.write_table(table.set_column(at, "split", split.cast(pa.string())), samples[key] / "sample.parquet")
    market = market_of(samples, tiny_market.soft_labels, tiny_market.classes)
    report = distill(market, tiny_encoder, quick_settings.model_copy(update={"epochs": 1}), tmp_path / "student")
    assert report.validation_offers == 0
    assert (report.accuracy, report.macro_f1, report.calibration_error_after) == (None, None, None)
    assert "Not measured, and not calibrated" in (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
