"""Probabilities that can be believed have no calibration error; equal models have no distance."""

import numpy as np
import pytest

from sortiment.errors import SettingsError
from sortiment.evaluation import (
    calibration_error,
    calibration_noise,
    compare_models,
    hierarchical_f1,
    reliability,
    top_accuracy,
)

PATHS = {"a": ("home", "lamps"), "b": ("home", "chairs"), "c": ("food", "lamps"), "d": ("food",)}


def test_honest_confidence_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(50_000)
    assert calibration_error(confidence, rng.random(50_000) < confidence) < 0.01


def test_overconfidence_is_its_gap() -> None:
    right = np.arange(1_000) % 10 < 7
    assert calibration_error(np.full(1_000, 0.9), right) == pytest.approx(0.2)
    (only,) = reliability(np.full(1_000, 0.9), right)
    assert (only.offers, only.accuracy) == (1_000, 0.7)


def test_what_chance_does_to_an_honest_model_is_told_beforehand() -> None:
    rng = np.random.default_rng(1)
    confidence = np.sqrt(rng.random(900))
    drawn = [calibration_error(confidence, rng.random(900) < confidence) for _ in range(200)]
    assert calibration_noise(confidence) == pytest.approx(np.mean(drawn), rel=0.05)
    assert calibration_noise(np.ones(3)) == 0.0


def test_certainty_falls_into_the_last_bin() -> None:
    (only,) = reliability(np.ones(3), np.ones(3, bool))
    assert only.high == 1.0


def test_the_best_five_hold_the_label_or_not() -> None:
    top = np.array([[3, 1, 2], [0, 1, 2]])
    assert top_accuracy(top, np.array([2, 3]), k=5) == 0.5
    assert top_accuracy(top, np.array([2, 3]), k=1) == 0.0


def test_a_model_is_no_distance_from_itself() -> None:
    index, probability = np.array([[0, 1], [2, -1]]), np.array([[0.7, 0.2], [0.9, 0.0]])
    assert compare_models(index, probability, index, probability).kl == pytest.approx(0.0, abs=1e-9)
    assert compare_models(index, probability, index, probability).agreement == 1.0


def test_distance_is_the_divergence_over_all_classes() -> None:
    reference, other = np.array([[0.5, 0.3, 0.2]]), np.array([[0.2, 0.3, 0.5]])
    answer = compare_models(np.array([[0, 1, 2]]), reference, np.array([[2, 1, 0]]), other[:, ::-1])
    assert answer.kl == pytest.approx(float((reference * np.log(reference / other)).sum()))
    assert answer.agreement == 0.0


def test_a_class_that_the_other_model_did_not_store_costs_but_stays_finite() -> None:
    answer = compare_models(np.array([[0]]), np.array([[0.9]]), np.array([[1]]), np.array([[0.9]]))
    assert 1.0 < answer.kl < 5.0


def test_an_answer_in_the_right_department_is_half_right() -> None:
    assert hierarchical_f1(["a"], ["a"], PATHS) == 1.0
    assert hierarchical_f1(["a"], ["b"], PATHS) == 0.5
    assert hierarchical_f1(["a"], ["c"], PATHS) == 0.0
    assert hierarchical_f1(["c"], ["d"], PATHS) == pytest.approx(2 / 3)
    assert hierarchical_f1(["x"], ["y"], PATHS) == 0.0


def test_no_answers_are_an_error_and_not_a_score() -> None:
    nothing = np.zeros((0, 2))
    with pytest.raises(SettingsError):
        compare_models(nothing, nothing, nothing, nothing)
    with pytest.raises(SettingsError):
        top_accuracy(nothing, np.zeros(0))
    with pytest.raises(SettingsError):
        calibration_error(np.zeros(0), np.zeros(0, bool))
