"""Whether probabilities can be believed, and how far two models' probabilities are apart.

Arrays as soft labels hold them: `top_index` int [offers, k], best first, -1 as padding; `top_probability` [offers, k],
0 as padding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import SettingsError

Ints = npt.NDArray[Any]
Floats = npt.NDArray[Any]

BINS = 15
LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class ReliabilityBin:
    """Offers whose confidence is between `low` and `high`: how sure the model was, and how often it was right."""

    low: float
    high: float
    offers: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Agreement:
    """Two models on the same offers. agreement: share with the same best class. kl: mean divergence of `other` from
    `reference` in nats, all classes outside the stored ones counting as one class."""

    offers: int
    agreement: float
    kl: float


def reliability(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> list[ReliabilityBin]:
    """Equal-width bins that hold offers, ascending: the reliability diagram (Guo et al. 2017)."""
    at = np.minimum((np.asarray(confidence, np.float64) * bins).astype(np.int64), bins - 1)
    offers = np.bincount(at, minlength=bins)
    sure, hits = np.bincount(at, confidence, minlength=bins), np.bincount(at, right, minlength=bins)
    return [
        ReliabilityBin(
            index / bins,
            (index + 1) / bins,
            int(offers[index]),
            float(sure[index] / offers[index]),
            float(hits[index] / offers[index]),
        )
        for index in np.flatnonzero(offers).tolist()
    ]


def calibration_error(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, weighted by the bins' offers."""
    if not len(confidence):
        raise SettingsError("a calibration error needs answers", value=0, allowed="one offer or more")
    gaps = [abs(part.confidence - part.accuracy) * part.offers for part in reliability(confidence, right, bins)]
    return sum(gaps) / len(confidence)


def calibration_noise(confidence: Floats, bins: int = BINS) -> float:
    """The calibration error that a perfectly calibrated model would show on so many offers, on average.

    Of a bin's offers some more or fewer than expected are right by chance: the mean of that, as of a normal
    distribution with the variance of independent answers. An error near this one is not a fault of the model.
    """
    if not len(confidence):
        raise SettingsError("a calibration error needs answers", value=0, allowed="one offer or more")
    sure = np.clip(np.asarray(confidence, np.float64), 0.0, 1.0)
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    variance = np.bincount(place, sure * (1.0 - sure), bins)
    return float(np.sqrt(variance * 2.0 / np.pi).sum() / len(sure))


def top_accuracy(top_index: Ints, labels: Ints, k: int = 5) -> float:
    """Share of offers whose label is among the k best classes."""
    if not len(labels):
        raise SettingsError("a top-k accuracy needs answers", value=0, allowed="one offer or more")
    return float((top_index[:, :k] == np.asarray(labels)[:, None]).any(1).mean())


def compare_models(
    reference_index: Ints, reference_probability: Floats, other_index: Ints, other_probability: Floats
) -> Agreement:
    """How far `other` is from `reference`, on the same offers and the same classes. Raises SettingsError for none.

    A class that the reference stores and the other does not gets an equal part of the other's remaining mass, as if it
    were the only one there.
    """
    if not len(reference_index) or len(reference_index) != len(other_index):
        raise SettingsError(
            "models are compared on the same offers",
            value=(len(reference_index), len(other_index)),
            allowed="equal counts, one offer or more",
        )
    same = (reference_index[:, :, None] == other_index[:, None, :]) & (reference_index >= 0)[:, :, None]
    theirs = np.einsum("ijk,ik->ij", same, other_probability, dtype=np.float64)
    stored = same.any(2)
    other_rest = np.clip(1.0 - np.sum(other_probability, axis=1, dtype=np.float64), 0.0, 1.0)
    shares = other_rest / (1.0 + ((reference_index >= 0) & ~stored).sum(1))
    theirs = np.where(stored, theirs, shares[:, None])
    own = np.where(reference_index >= 0, reference_probability, 0.0).astype(np.float64)
    terms = own * np.log(np.maximum(own, LEAST_PROBABILITY) / np.maximum(theirs, LEAST_PROBABILITY))
    own_rest = np.clip(1.0 - own.sum(1), 0.0, 1.0)
    outside = np.clip(1.0 - np.where(reference_index >= 0, theirs, 0.0).sum(1), 0.0, 1.0)
    rest = own_rest * np.log(np.maximum(own_rest, LEAST_PROBABILITY) / np.maximum(outside, LEAST_PROBABILITY))
    return Agreement(
        offers=len(reference_index),
        agreement=float((reference_index[:, 0] == other_index[:, 0]).mean()),
        kl=max(0.0, float((terms.sum(1) + rest).mean())),
    )
