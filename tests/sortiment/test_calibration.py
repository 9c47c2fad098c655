"""Calibration changes how sure an answer is and never which class it is."""

import json
from pathlib import Path

import numpy as np
import pytest

from sortiment.calibration import STEEPEST, Calibration, log_entropy, read_calibration
from sortiment.errors import SortimentError, StorageError

CALM = Calibration()


def test_a_country_has_its_own_temperature_and_an_unknown_one_the_default() -> None:
    calibration = Calibration(1.5, {"DE": 2.0})
    assert calibration.of(["DE", "XX", "DE"], 3).tolist() == [2.0, 1.5, 2.0]
    assert calibration.of(None, 2).tolist() == [1.5, 1.5]


def test_countries_must_be_as_many_as_texts() -> None:
    with pytest.raises(SortimentError, match="differ in number"):
        CALM.of(["DE"], 2)


def test_probabilities_sum_to_one_even_where_classes_are_masked() -> None:
    logits = np.array([[3.0, 1.0, -10_000.0], [800.0, 790.0, -1e30]], np.float32)
    for slope in (0.0, STEEPEST, -STEEPEST):
        shares = Calibration(entropy_slope=slope).probabilities(logits, np.array([1.0, 2.0], np.float32))
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        assert shares[:, 2].tolist() == [0.0, 0.0]


def test_a_higher_temperature_lowers_the_confidence_and_keeps_the_class() -> None:
    shares = CALM.probabilities(np.array([[2.0, 1.0, 0.0]] * 2, np.float32), np.array([1.0, 3.0], np.float32))
    assert shares.argmax(1).tolist() == [0, 0]
    assert shares[1, 0] < shares[0, 0]


def test_the_entropy_is_a_share_of_the_greatest() -> None:
    shifted = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, -1e4, -1e4, -1e4], [0.0, 0.0, -1e4, -1e4]], np.float32)
    assert np.exp(log_entropy(shifted)) == pytest.approx([1.0, 1e-3, 0.5], rel=1e-5)


def test_a_slope_softens_sure_answers_more_than_unsure_ones_and_keeps_every_class() -> None:
    logits = np.random.default_rng(0).normal(size=(500, 20)).astype(np.float32) * np.linspace(0.5, 9, 500)[:, None]
    logits = logits.astype(np.float32)
    plain = CALM.probabilities(logits, CALM.of(None, 500))
    sloped = Calibration(entropy_slope=0.08).probabilities(logits, CALM.of(None, 500))
    assert (plain.argmax(1) == sloped.argmax(1)).all()
    odds = np.log(plain.max(1) / (1 - plain.max(1))) - np.log(sloped.max(1) / (1 - sloped.max(1)))
    sure, unsure = plain.max(1) > 0.95, plain.max(1) < 0.3
    assert sure.sum() > 20
    assert unsure.sum() > 20
    assert odds[sure].min() > odds[unsure].max() > 0


def test_logits_are_left_as_they_were() -> None:
    logits = np.array([[3.0, 1.0]], np.float32)
    Calibration(entropy_slope=0.05).probabilities(logits, CALM.of(None, 1))
    assert logits.tolist() == [[3.0, 1.0]]


def test_no_texts_have_no_probabilities() -> None:
    assert Calibration(entropy_slope=0.05).probabilities(np.zeros((0, 4), np.float32), CALM.of([], 0)).shape == (0, 4)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    calibration = Calibration(1.1, {"FR": 0.9, "DE": 2.0}, 0.0312)
    calibration.write(tmp_path)
    assert read_calibration(tmp_path) == calibration


def test_a_folder_from_before_there_were_slopes_has_none(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps({"temperature": {"DE": 2.0}, "default": 1.5}))
    assert read_calibration(tmp_path) == Calibration(1.5, {"DE": 2.0}, 0.0)


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_temperature_that_is_not_above_zero_is_refused(tmp_path: Path, wrong: float) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps({"temperature": {"DE": wrong}, "default": 1.0}))
    with pytest.raises(StorageError, match="temperature that cannot be used"):
        read_calibration(tmp_path)


@pytest.mark.parametrize("wrong", [0.11, -1, float("nan")])
def test_a_slope_that_could_turn_logits_round_is_refused(tmp_path: Path, wrong: float) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps({"entropy_slope": wrong}))
    with pytest.raises(StorageError, match="slope that cannot be used"):
        read_calibration(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"calibration\.json is missing"):
        read_calibration(tmp_path)
