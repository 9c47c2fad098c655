"""Fitting a calibration (`sortiment/calibration.py`) on the labels of validation offers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sortiment.calibration import STEEPEST, Calibration, Floats, log_entropy, scale_by_entropy

SMALLEST, LARGEST = 0.2, 5.0
GOLDEN_STEPS = 40
PRIOR_OFFERS = 50
SLOPE_SPREAD = 0.05  # slopes beyond are not expected
NEWTON_STEPS, SMALL_STEP = 20, 1e-5
LEAST_SCALE = 0.05  # of an offer's logits, on the way to the slope
LEAST_GAIN = 2.0  # nats that a slope must be worth on the validation offers; Akaike asks for one

Ints = npt.NDArray[np.int32]


def fit_calibration(logits: Floats, labels: Ints, countries: Sequence[str]) -> Calibration:
    """Temperatures and slope that minimize the labels' negative log likelihood. logits: (offers, classes).

    A country's temperature is drawn towards the common one as if that had been seen on 50 more offers, so that a
    country with few labels does not get a temperature of its own by chance. A slope that is worth little is none. No
    offers: temperature 1.
    """
    if not len(labels):
        return Calibration()
    plain = _fit_temperatures(logits, labels, countries)
    of_offer = plain.of(countries, len(labels))
    slope = _fit_slope(logits, labels, of_offer)
    scaled = scale_by_entropy(logits, slope)
    sloped = replace(_fit_temperatures(scaled, labels, countries), entropy_slope=slope)
    gain = _loss(logits, labels, of_offer) - _loss(scaled, labels, sloped.of(countries, len(labels)))
    return sloped if gain > LEAST_GAIN else plain


def _fit_temperatures(logits: Floats, labels: Ints, countries: Sequence[str]) -> Calibration:
    default = best_temperature(logits, labels, None)
    of_offer = np.asarray(countries)
    rows = {country: of_offer == country for country in sorted(set(countries))}
    own = {country: best_temperature(logits[row], labels[row], default) for country, row in rows.items()}
    return Calibration(default, own)


def best_temperature(logits: Floats, labels: Ints, prior: float | None) -> float:
    """The temperature that minimizes the labels' negative log likelihood, drawn towards `prior` as if that had been
    seen on 50 more offers: golden-section search over its logarithm. logits: (offers, classes)."""

    def loss(log_temperature: float) -> float:
        pull = 0.0 if prior is None else PRIOR_OFFERS * (log_temperature - np.log(prior)) ** 2
        return pull + _loss(logits, labels, np.full(1, np.exp(log_temperature), np.float32))

    ratio = (np.sqrt(5.0) - 1) / 2
    low, high = float(np.log(SMALLEST)), float(np.log(LARGEST))
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(GOLDEN_STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return round(float(np.exp((low + high) / 2)), 4)


def _fit_slope(logits: Floats, labels: Ints, temperatures: Floats) -> float:
    """Newton's method for what each offer's logits, over its temperature, are multiplied by: a + b log(entropy of the
    logits as they are). The loss is convex in both, and the slope is b / a."""
    shifted = scale_by_entropy(logits, 0.0)
    inputs = np.stack([np.ones(len(labels)), log_entropy(shifted)], 1)
    shifted /= temperatures[:, None]
    of_label = shifted[np.arange(len(labels)), labels].astype(np.float64)
    found = np.array([1.0, 0.0])
    for _ in range(NEWTON_STEPS):
        shares = np.exp(shifted * np.maximum(inputs @ found, LEAST_SCALE).astype(np.float32)[:, None])
        shares /= shares.sum(1, keepdims=True)
        mean = np.einsum("ij,ij->i", shares, shifted, dtype=np.float64)
        spread = np.einsum("ij,ij,ij->i", shares, shifted, shifted, dtype=np.float64) - mean**2
        gradient = inputs.T @ (mean - of_label) + [0.0, found[1] / SLOPE_SPREAD**2]
        curvature = (inputs * np.maximum(spread, 0.0)[:, None]).T @ inputs + np.diag([1e-9, 1 / SLOPE_SPREAD**2])
        step = np.linalg.solve(curvature, gradient)
        found = found - step
        found[0] = np.clip(found[0], SMALLEST, LARGEST)
        found[1] = np.clip(found[1], -STEEPEST * found[0], STEEPEST * found[0])
        if np.abs(step).max() < SMALL_STEP:
            break
    return round(float(found[1] / found[0]), 4)


def _loss(logits: Floats, labels: Ints, temperatures: Floats) -> float:
    """Negative log likelihood of the labels, summed, in nats. temperatures: of each offer, or one for all."""
    scaled = scale_by_entropy(logits, 0.0)
    scaled /= temperatures[:, None]
    likelihood = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(1))
    return -float(likelihood.sum(dtype=np.float64))
