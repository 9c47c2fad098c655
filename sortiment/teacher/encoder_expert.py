"""The expert that knows meaning: ridge regression on a Gaussian kernel over frozen embeddings.

Embeddings are standardized, then scaled so that two unrelated offers are about sqrt(2) apart whatever the encoder's
width, and one kernel width fits all encoders. Compared with logistic regression on the same features in
docs/experiments.md. What it knows of the categories' names is a ridge regression on the names alone, its prior.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.teacher.names import NameFeatures
from sortiment.teacher.ridge import (
    Floats,
    Ints,
    RidgeFit,
    fit_exact,
    fit_on_landmarks,
    group_landmarks,
)

ROWS_PER_BLOCK = 1024
NUMBERS_AT_MOST = 50_000_000  # scores that are held at once, of each expert
FILE = "encoder_expert.safetensors"


class EncoderExpert:
    """center, scale: [hidden]. landmarks: [m, hidden], standardized. coefficients: [m, classes]."""

    def __init__(self, center: Floats, scale: Floats, landmarks: Floats, coefficients: Floats, width: float) -> None:
        self.center, self.scale = center, scale
        self.landmarks, self.coefficients = landmarks, coefficients
        self.width = width

    def scores(self, features: Floats) -> Floats:
        """float32 [n, classes]. features: [n, hidden], as the encoder gives them."""
        standard = (features - self.center) * self.scale
        scores = np.empty((len(features), self.coefficients.shape[1]), np.float32)
        for start in range(0, len(features), ROWS_PER_BLOCK):
            rows = slice(start, start + ROWS_PER_BLOCK)
            scores[rows] = gaussian_kernel(standard[rows], self.landmarks, self.width) @ self.coefficients
        return scores

    def joined(self, added: "EncoderExpert", strength: float) -> "EncoderExpert":
        """One expert whose scores are its own and `strength` times those of another that begins with its landmarks."""
        coefficients = np.float32(strength) * added.coefficients
        coefficients[: len(self.coefficients)] += self.coefficients
        return EncoderExpert(self.center, self.scale, added.landmarks, coefficients, self.width)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {
            "center": self.center,
            "scale": self.scale,
            "landmarks": self.landmarks,
            "coefficients": self.coefficients,
            "width": np.array([self.width], np.float32),
        }
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / FILE)
        (folder / FILE).chmod(0o644)

    @classmethod
    def load(cls, folder: Path) -> "EncoderExpert":
        from safetensors.numpy import load_file

        arrays = load_file(folder / FILE)
        return cls(
            arrays["center"],
            arrays["scale"],
            arrays["landmarks"],
            arrays["coefficients"],
            float(arrays["width"][0]),
        )


def fit_encoder_expert(
    features: Floats,
    labels: Ints,
    classes: int,
    weights: Floats,
    *,
    regularization: float,
    width: float,
    exact_offers: int,
    landmarks: int,
    seed: int,
    name_regularization: float,
    names: NameFeatures | None = None,
) -> tuple[EncoderExpert, RidgeFit, EncoderExpert | None]:
    """features: [n, hidden] of the training offers; labels, weights: of each. names: of the classes, with vectors
    [names, hidden]. The second expert says what the names add to the first (`ridge`); None without names."""
    center = features.mean(0, dtype=np.float64).astype(np.float32)
    spread = features.std(0, dtype=np.float64)
    scale = (1.0 / np.maximum(spread, 1e-6) / np.sqrt(features.shape[1])).astype(np.float32)
    standard = (features - center) * scale
    prior = None if names is None else _fit_prior(names, center, scale, classes, width, name_regularization)
    if len(labels) <= exact_offers:
        means, kernel = standard, gaussian_kernel(standard, standard, width)
        known = None if prior is None else prior.scores(features)
        fit = fit_exact(kernel, labels, classes, weights, regularization, known)
    else:
        means = _means(standard, group_landmarks(labels, landmarks, seed))

        def blocks(start: int, stop: int) -> Floats:
            return gaussian_kernel(standard[start:stop], means, width)

        def prior_blocks(start: int, stop: int) -> Floats:
            assert prior is not None
            return prior.scores(features[start:stop])

        kernel = gaussian_kernel(means, means, width)
        fit = fit_on_landmarks(
            blocks, kernel, labels, classes, weights, regularization, None if prior is None else prior_blocks
        )
    own = EncoderExpert(center, scale, means, fit.coefficients, width)
    if prior is None or fit.smoothing is None:
        return own, fit, None
    rows, values = np.vstack([means, prior.landmarks]), np.vstack([-fit.smoothing, prior.coefficients])
    return own, fit, EncoderExpert(center, scale, rows, values, width)


def _fit_prior(
    names: NameFeatures, center: Floats, scale: Floats, classes: int, width: float, regularization: float
) -> EncoderExpert:
    rows = (names.vectors - center) * scale
    fit = fit_exact(gaussian_kernel(rows, rows, width), names.classes, classes, names.weights, regularization)
    return EncoderExpert(center, scale, rows, fit.coefficients, width)


def split_offers(offers: int, classes: int, numbers_at_most: int = NUMBERS_AT_MOST) -> Iterator[slice]:
    """So many offers in parts whose scores fit into memory. Parts of whole blocks: scores are the same to the last bit,
    whatever the parts."""
    blocks = max(numbers_at_most // (classes * ROWS_PER_BLOCK), 1)
    for start in range(0, offers, blocks * ROWS_PER_BLOCK):
        yield slice(start, min(start + blocks * ROWS_PER_BLOCK, offers))


def gaussian_kernel(left: Floats, right: Floats, width: float) -> Floats:
    """exp(-|a - b|^2 / (2 width^2)): float32 [left, right]."""
    kernel: Floats = left @ right.T
    kernel *= 2.0
    kernel -= np.einsum("ij,ij->i", left, left)[:, None]
    kernel -= np.einsum("ij,ij->i", right, right)[None, :]
    np.minimum(kernel, 0.0, out=kernel)
    kernel /= np.float32(2.0 * width * width)
    np.exp(kernel, out=kernel)
    return kernel


def _means(rows: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups)
    starts = np.r_[0, counts.cumsum()[:-1]]
    sums: Floats = np.add.reduceat(rows[order], starts, axis=0)
    sums /= counts[:, None].astype(np.float32)
    return sums
