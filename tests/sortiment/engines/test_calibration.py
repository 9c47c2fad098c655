"""Temperatures per country change the confidence and never the class."""

import json
from pathlib import Path

import numpy as np
import pytest

from sortiment.engines.calibration import Calibration, probabilities, rank_top, read_calibration
from sortiment.errors import EngineError


def test_a_country_has_its_own_temperature_and_an_unknown_one_the_default() -> None:
    calibration = Calibration({"DE": 2.0}, 1.5)
    assert calibration.temperatures(["DE", "XX", "DE"], 3).tolist() == [2.0, 1.5, 2.0]
    assert calibration.temperatures(None, 2).tolist() == [1.5, 1.5]


def test_countries_must_be_as_many_as_texts() -> None:
    with pytest.raises(EngineError, match="differ in number"):
        Calibration({}, 1.0).temperatures(["DE"], 2)


def test_probabilities_sum_to_one_even_where_classes_are_masked() -> None:
    shares = probabilities(
        np.array([[3.0, 1.0, -10_000.0], [800.0, 790.0, -1e30]], np.float32), np.array([1.0, 2.0], np.float32)
    )
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert shares[:, 2].tolist() == [0.0, 0.0]


def test_a_higher_temperature_lowers_the_confidence_and_keeps_the_class() -> None:
    logits = np.array([[2.0, 1.0, 0.0]] * 2, np.float32)
    index, confidence, margin = rank_top(probabilities(logits, np.array([1.0, 3.0], np.float32)))
    assert index.tolist() == [0, 0]
    assert confidence[1] < confidence[0]
    assert margin[1] < margin[0]


def test_ties_go_to_the_lower_class() -> None:
    index, _, margin = rank_top(np.array([[0.4, 0.4, 0.2]], np.float32))
    assert (index[0], margin[0]) == (0, 0)


def test_a_single_class_is_certain() -> None:
    index, confidence, margin = rank_top(np.ones((2, 1), np.float32))
    assert (index.tolist(), confidence.tolist(), margin.tolist()) == ([0, 0], [1, 1], [1, 1])


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_temperature_that_is_not_above_zero_is_refused(tmp_path: Path, wrong: float) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps({"temperature": {"DE": wrong}, "default": 1.0}))
    with pytest.raises(EngineError, match="temperature that cannot be used"):
        read_calibration(tmp_path)
