"""Figures of a student's report, and what stands there where nothing could be measured."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.settings import StudentSettings
from tests.sortiment.student.distilling import distill, market_of


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
