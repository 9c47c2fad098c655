"""Stopping early, by validation offers, on a tiny network."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sortiment.errors import TrainingError
from sortiment.settings import StudentSettings
from sortiment.student import StudentReport
from sortiment.student.stopping import Stopping
from tests.sortiment.student.distilling import Killed, distill, hashes_of, killed_after, market_of

OFFERS = 2 * 6 * (36 + 60)  # training offers of the tiny market
PLANNED = 9


@pytest.fixture(scope="module")
def patient(quick_settings: StudentSettings) -> StudentSettings:
    """Few taught words and a slow rate, so that not even the first epoch is perfect."""
    return quick_settings.model_copy(
        update={"epochs": PLANNED, "patience": 2, "word_epochs": 0, "tail_emphasis": 0.0, "learning_rate": 1e-3}
    )


@pytest.fixture(scope="module")
def stopped(
    tiny_market: Any, tiny_encoder: Path, patient: StudentSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, StudentReport]:
    out = tmp_path_factory.mktemp("stopped")
    return out, distill(tiny_market, tiny_encoder, patient, out)


def test_training_ends_after_so_many_epochs_without_a_better_one() -> None:
    scores = iter([0.5, 0.6, 0.6, 0.4])
    stopping = Stopping(2, lambda: next(scores))
    weight = torch.zeros(1)
    for epoch in range(1, 5):
        assert not stopping.is_over
        weight += 1
        stopping.end_epoch({"weight": weight})
        assert stopping.best_epoch == min(epoch, 2)
    assert stopping.is_over
    assert stopping.best["weight"].item() == 2.0


def test_the_best_epochs_weights_are_kept_and_the_report_says_which_and_when(
    stopped: tuple[Path, StudentReport],
) -> None:
    folder, report = stopped
    assert report.stopped_after is not None and report.best_epoch is not None
    assert report.stopped_after == report.best_epoch + 2 < PLANNED
    assert len(report.losses) == len(report.epoch_macro_f1) == report.stopped_after
    assert report.macro_f1 == max(report.epoch_macro_f1) == report.epoch_macro_f1[report.best_epoch - 1]
    facts = json.loads((folder / "student.json").read_text(encoding="utf-8"))
    assert (facts["best_epoch"], facts["stopped_after"]) == (report.best_epoch, report.stopped_after)
    assert f"the weights are those of epoch {report.best_epoch}" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_run_that_is_killed_after_any_epoch_ends_with_the_same_bytes(
    stopped: tuple[Path, StudentReport],
    tiny_market: Any,
    tiny_encoder: Path,
    patient: StudentSettings,
    tmp_path: Path,
) -> None:
    _, report = stopped
    assert report.stopped_after is not None
    for epochs in range(1, report.stopped_after + 1):
        out = tmp_path / str(epochs)
        with pytest.raises(Killed):
            distill(tiny_market, tiny_encoder, patient, out, progress=killed_after(epochs * OFFERS + 10))
        again = distill(tiny_market, tiny_encoder, patient, out)
        assert again.resumed_epochs == epochs
        assert hashes_of(out) == hashes_of(stopped[0])


def test_without_patience_all_epochs_are_taken_and_the_last_one_counts(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    report = distill(tiny_market, tiny_encoder, quick_settings, tmp_path)
    assert (report.best_epoch, report.stopped_after, report.epoch_macro_f1) == (None, None, ())
    assert len(report.losses) == quick_settings.epochs


def test_patience_without_labelled_validation_offers_is_refused(
    tiny_market: Any, tiny_encoder: Path, patient: StudentSettings, tmp_path: Path
) -> None:
    samples = {}
    for key, folder in tiny_market.samples.items():
        table = pq.read_table(folder / "sample.parquet")
        split = ["test" if side == "validation" else side for side in table["split"].to_pylist()]
        place = table.column_names.index("split")
        samples[key] = tmp_path / key
        samples[key].mkdir()
        pq.write_table(table.set_column(place, "split", pa.array(split)), samples[key] / "sample.parquet")
    market = market_of(samples, tiny_market.soft_labels, tiny_market.classes)
    with pytest.raises(TrainingError, match=r"validation offers.*student\.patience to 0"):
        distill(market, tiny_encoder, patient, tmp_path / "out")
