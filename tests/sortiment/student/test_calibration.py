"""Fitting a calibration: what was done to honest logits is found and undone."""

import numpy as np
import numpy.typing as npt
import pytest

from sortiment.calibration import Calibration, log_entropy
from sortiment.evaluation import calibration_error
from sortiment.student.calibration import best_temperature, fit_calibration

Floats = npt.NDArray[np.float32]


def draw_honest(offers: int, classes: int, seed: int) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Logits, and labels drawn with just their probabilities."""
    draw = np.random.default_rng(seed)
    logits = (draw.normal(size=(offers, classes)) * draw.uniform(0.5, 5, (offers, 1))).astype(np.float32)
    shares = Calibration().probabilities(logits, np.ones(offers, np.float32)).astype(np.float64)
    labels = [draw.choice(classes, p=row / row.sum()) for row in shares]
    return logits, np.array(labels, np.int32)


def test_temperatures_mend_overconfidence_country_by_country() -> None:
    logits, labels = draw_honest(4000, 8, 1)
    countries = ["DE"] * 2000 + ["GB"] * 2000
    shouted = logits * np.where(np.arange(4000) < 2000, 3.0, 1.0)[:, None].astype(np.float32)
    found = fit_calibration(shouted, labels, countries)
    honest = Calibration().probabilities(logits, np.ones(4000, np.float32))
    shares = found.probabilities(shouted, found.of(countries, 4000))
    assert found.temperature["DE"] == pytest.approx(3 * found.temperature["GB"], rel=0.15)
    assert found.of(["FR"], 1)[0] == np.float32(found.default)
    for half in (slice(0, 2000), slice(2000, 4000)):
        by_chance, found_error = (
            calibration_error(some[half].max(1), some[half].argmax(1) == labels[half]) for some in (honest, shares)
        )
        assert found_error < by_chance + 0.01


def test_honest_logits_get_no_slope() -> None:
    for seed in range(3):
        logits, labels = draw_honest(2000, 8, seed)
        found = fit_calibration(logits, labels, ["DE"] * 2000)
        assert found.entropy_slope == 0.0
        assert found.default == pytest.approx(1.0, abs=0.08)


def test_answers_that_are_too_sure_where_sure_and_timid_where_not_are_mended() -> None:
    logits, labels = draw_honest(22_000, 8, 2)
    shifted = logits - logits.max(1, keepdims=True)
    bent = (shifted * (0.6 * np.exp(-0.3 * log_entropy(shifted)))[:, None]).astype(np.float32)
    learn, test = slice(0, 2000), slice(2000, 22_000)
    found = fit_calibration(bent[learn], labels[learn], ["DE"] * 2000)
    assert found.entropy_slope > 0.03

    def error_of(calibration: Calibration) -> float:
        shares = calibration.probabilities(bent[test], calibration.of(None, 20_000))
        return calibration_error(shares.max(1), shares.argmax(1) == labels[test])

    assert error_of(found) < 0.8 * error_of(Calibration(best_temperature(bent[learn], labels[learn], None)))


def test_no_labels_leave_logits_as_they_are() -> None:
    assert fit_calibration(np.zeros((0, 3), np.float32), np.zeros(0, np.int32), []) == Calibration()


@pytest.mark.parametrize("labels", [[0], [1, 1], [0, 1, 2]])
def test_a_handful_of_offers_gives_numbers_that_can_be_used(labels: list[int]) -> None:
    logits = np.eye(3, dtype=np.float32)[: len(labels)] * 4
    found = fit_calibration(logits, np.array(labels, np.int32), ["DE"] * len(labels))
    assert np.isfinite([found.default, found.entropy_slope]).all()
    assert found.default > 0
