"""From logits to an answer: the class, its calibrated probability, and its lead over the next class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.engines.folders import read_json
from sortiment.errors import EngineError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """Temperature per country; logits are divided by it before the softmax. It never changes the class."""

    temperature: dict[str, float]
    default: float

    def temperatures(self, countries: Sequence[str] | None, offers: int) -> Floats:
        """One temperature per offer, [offers]. A country that was not calibrated has the default."""
        if countries is None:
            return np.full(offers, self.default, np.float32)
        if len(countries) != offers:
            raise EngineError(
                "countries and texts differ in number", value=len(countries), allowed=f"{offers}, one per text"
            )
        return np.array([self.temperature.get(country, self.default) for country in countries], np.float32)


def read_calibration(folder: Path) -> Calibration:
    """`calibration.json`. Raises EngineError where a temperature is not a positive number."""
    content = read_json(folder, "calibration.json")
    temperature = {str(country): float(value) for country, value in content.get("temperature", {}).items()}
    default = float(content.get("default", 1.0))
    wrong = [value for value in (*temperature.values(), default) if not (np.isfinite(value) and value > 0)]
    if wrong:
        raise EngineError(
            f"{folder / 'calibration.json'} holds a temperature that cannot be used",
            value=wrong[0],
            allowed="numbers above 0",
            fix="materialize student_checkpoint again",
        )
    return Calibration(temperature, default)


def probabilities(logits: Floats, temperatures: Floats) -> Floats:
    """Calibrated probabilities, [offers, classes], rows summing to 1."""
    scaled = logits.astype(np.float32) / temperatures[:, None]
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def rank_top(shares: Floats) -> tuple[npt.NDArray[np.int32], Floats, Floats]:
    """Class, its probability, and its lead over the second, each [offers]. Ties go to the lower class index."""
    rows = np.arange(shares.shape[0])
    index = shares.argmax(axis=1)
    confidence = shares[rows, index]
    if shares.shape[1] == 1:
        return index.astype(np.int32), confidence, confidence
    second = np.partition(shares, shares.shape[1] - 2, axis=1)[:, -2]
    return index.astype(np.int32), confidence, confidence - second
