"""One temperature per country, so that a confidence of 0.9 is right nine times in ten.

Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.blobs import write_atomically
from sortiment.errors import TrainingError

CALIBRATION_FILE = "calibration.json"
SMALLEST, LARGEST = 0.2, 5.0
GOLDEN_STEPS = 40
PRIOR_OFFERS = 50
BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Logits are divided by the temperature. `default` is for countries without one of their own."""

    default: float = 1.0
    temperature: Mapping[str, float] = field(default_factory=dict)

    def of(self, countries: Sequence[str] | None, count: int) -> npt.NDArray[np.float32]:
        """One temperature per offer."""
        if countries is None:
            return np.full(count, self.default, np.float32)
        return np.array([self.temperature.get(country, self.default) for country in countries], np.float32)

    def write(self, folder: Path) -> None:
        content = {"default": self.default, "temperature": dict(sorted(self.temperature.items()))}
        write_atomically(folder / CALIBRATION_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_calibration(folder: Path) -> Calibration:
    """The folder's calibration.json."""
    file = folder / CALIBRATION_FILE
    if not file.is_file():
        raise TrainingError("calibration.json is missing", value=str(folder), fix="materialize the student again")
    content = json.loads(file.read_text(encoding="utf-8"))
    return Calibration(content["default"], content["temperature"])


def fit_calibration(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], countries: Sequence[str]
) -> Calibration:
    """Temperatures that minimize the labels' negative log likelihood. logits: (offers, classes).

    A country's temperature is drawn towards the common one as if that had been seen on 50 more offers, so that a
    country with few labels does not get a temperature of its own by chance. No offers: temperature 1.
    """
    if not len(labels):
        return Calibration()
    default = best_temperature(logits, labels, None)
    of_offer = np.asarray(countries)
    temperature = {}
    for country in sorted(set(countries)):
        own = of_offer == country
        temperature[country] = best_temperature(logits[own], labels[own], default)
    return Calibration(default, temperature)


def calibration_error(confidence: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins of equal width; 0.0 is perfect."""
    if not confidence.size:
        return 0.0
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.abs(np.bincount(bins, confidence - right, BINS))
    return float(gaps.sum() / confidence.size)


def best_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], prior: float | None) -> float:
    """The temperature that minimizes the labels' negative log likelihood, drawn towards `prior` as if that had been
    seen on 50 more offers: golden-section search over its logarithm. logits: (offers, classes)."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        best = scaled.max(1)
        likelihood = scaled[rows, labels] - best - np.log(np.exp(scaled - best[:, None]).sum(1))
        pull = 0.0 if prior is None else PRIOR_OFFERS * (log_temperature - np.log(prior)) ** 2
        return float(pull - likelihood.sum(dtype=np.float64))

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
