"""From logits to probabilities that are right as often as they say: a temperature per country, a slope over entropy.

Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks". One temperature for all offers leaves
a distilled student too sure where it is sure and too timid where it is not, so what its logits are divided by also
follows the entropy of its own answer: Balanya, Maroñas, Ramos 2022, "Adaptive Temperature Scaling for Robust
Calibration of Deep Neural Networks", here linear in the logarithm of the entropy. Neither ever changes which class is
the likeliest.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.blobs import write_atomically
from sortiment.errors import SortimentError, StorageError

CALIBRATION_FILE = "calibration.json"
LEAST_ENTROPY = 1e-3  # as a share of the greatest: surer answers count as this sure
STEEPEST = 0.1  # slope: the surest answers' logits are divided by up to 3.2 times as much as the least sure

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What happens to a model's logits before the softmax.

    entropy_slope: they are multiplied by 1 + slope x log(entropy of their softmax / the greatest possible); 0 = not at
    all. temperature: of a country, by which they are then divided; `default` for the others.
    """

    default: float = 1.0
    temperature: Mapping[str, float] = field(default_factory=dict)
    entropy_slope: float = 0.0

    def of(self, countries: Sequence[str] | None, offers: int) -> Floats:
        """One temperature per offer, [offers]. Raises SortimentError where there is not one country per offer."""
        if countries is None:
            return np.full(offers, self.default, np.float32)
        if len(countries) != offers:
            raise SortimentError(
                "countries and texts differ in number", value=len(countries), allowed=f"{offers}, one per text"
            )
        return np.array([self.temperature.get(country, self.default) for country in countries], np.float32)

    def probabilities(self, logits: Floats, temperatures: Floats) -> Floats:
        """Rows that sum to 1, [offers, classes]. temperatures: [offers], as `of` gives them."""
        scaled = scale_by_entropy(logits, self.entropy_slope)
        scaled /= temperatures[:, None]
        _exponentiate(scaled)
        return scaled

    def write(self, folder: Path) -> None:
        content = {
            "default": self.default,
            "temperature": dict(sorted(self.temperature.items())),
            "entropy_slope": self.entropy_slope,
        }
        write_atomically(folder / CALIBRATION_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_calibration(folder: Path) -> Calibration:
    """The folder's `calibration.json`; one without a slope has none.

    Raises StorageError where it is missing or holds a number that cannot be used.
    """
    file = folder / CALIBRATION_FILE
    fix = "materialize the model again"
    if not file.is_file():
        raise StorageError(f"{CALIBRATION_FILE} is missing", value=str(folder), fix=fix)
    content = json.loads(file.read_text(encoding="utf-8"))
    temperature = {str(country): float(value) for country, value in content.get("temperature", {}).items()}
    found = Calibration(float(content.get("default", 1.0)), temperature, float(content.get("entropy_slope", 0.0)))
    for value in (found.default, *temperature.values()):
        if not (np.isfinite(value) and value > 0):
            raise StorageError(
                f"{file} holds a temperature that cannot be used", value=value, allowed="numbers above 0", fix=fix
            )
    if not abs(found.entropy_slope) <= STEEPEST:
        raise StorageError(
            f"{file} holds a slope that cannot be used",
            value=found.entropy_slope,
            allowed=f"-{STEEPEST} to {STEEPEST}",
            fix=fix,
        )
    return found


def scale_by_entropy(logits: Floats, slope: float) -> Floats:
    """Logits less the row's largest, times 1 + slope x log(entropy as a share of the greatest), [offers, classes]."""
    scaled: Floats = np.subtract(logits, logits.max(1, keepdims=True, initial=-np.inf), dtype=np.float32)
    if slope:
        scaled *= (1.0 + slope * log_entropy(scaled)).astype(np.float32)[:, None]
    return scaled


def log_entropy(shifted: Floats) -> Floats:
    """Logarithm of the softmax's entropy as a share of the greatest possible, [offers]. shifted: logits, of which
    each row's largest is 0."""
    shares = shifted.copy()
    total = _exponentiate(shares)
    entropy = np.log(total) - np.einsum("ij,ij->i", shares, shifted)
    greatest = np.log(max(shifted.shape[1], 2))
    found: Floats = np.log(np.clip(entropy / greatest, LEAST_ENTROPY, 1.0)).astype(np.float32)
    return found


def _exponentiate(shifted: Floats) -> Floats:
    """Softmax in place of rows whose largest is 0, and what they summed to, [offers]."""
    np.exp(shifted, out=shifted)
    total: Floats = shifted.sum(1)
    shifted /= total[:, None]
    return total
