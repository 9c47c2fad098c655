"""Weighted ridge regression of class indicators on a kernel: a classifier in closed form.

    minimize  sum_i w_i |y_i - f(x_i)|^2 + r |f|^2,   f(x) = sum_j k(x, landmark_j) a_j

Up to `exact_offers` every training offer is a landmark and the solution is exact. Beyond that a landmark is the mean of
a few training offers of one class, and the cost grows with the offers, not with their cube.

One factorization also gives each offer's leverage h, and with it what the model would have said of a training offer
had it not been trained on it: (f - h y) / (1 - h). So labels for training offers cost no cross-validation.
Regularized least squares classify as well as support vector machines (Rifkin and Klautau 2004, "In Defense of
One-Vs-All Classification"); the leave-one-out identity is PRESS (Allen 1974).

A prior is scores g(x) that are known before any offer is seen. Fitting y - g instead of y gives g + (f - smoothed g),
where the smoothed g is the same regression of g's values at the training offers: it takes the prior's word where there
are few offers, and the offers' where there are many. The leave-one-out identity holds for it unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import TrainingError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Blocks = Callable[[int, int], Floats]

FIRST_STEP, GROWTH_STEPS = 1e-9, 7
JITTER = 1e-5  # of the mean diagonal: landmarks that nearly coincide leave single precision nothing to solve
ROWS_PER_BLOCK = 2048
BYTES_ON_LANDMARKS = 20  # of an entry of the kernel: itself, and twice in double precision
BYTES_EXACT = 8  # itself, and coefficients of as many classes
EXACT_IN_DOUBLE = 3000  # beyond so many offers single precision halves the time and changes no answer


@dataclass(frozen=True)
class RidgeFit:
    """coefficients: float32 [landmarks, classes]. leverage: float32 [offers], below 1. smoothing: the coefficients of
    the prior's values at the training offers, float32 [landmarks, classes]; None without a prior."""

    coefficients: Floats
    leverage: Floats
    smoothing: Floats | None = None


def fit_exact(
    kernel: Floats,
    labels: Ints,
    classes: int,
    weights: Floats,
    regularization: float,
    prior: Floats | None = None,
) -> RidgeFit:
    """kernel: [n, n] between the training offers, overwritten. labels, weights: of each, the mean weight about 1.
    prior: [n, classes], its scores of the training offers."""
    from scipy.linalg import lapack

    penalty = (regularization / weights).astype(np.float64)
    # the kernel is symmetric: its transpose is itself in the column order that LAPACK works on in place
    system: npt.NDArray[Any] = kernel.T if len(kernel) > EXACT_IN_DOUBLE else np.array(kernel, np.float64, order="F")
    diagonal = np.arange(len(system))
    system[diagonal, diagonal] += penalty.astype(system.dtype)
    factor, failed = _lapack(lapack, "potrf", system)(system, lower=1, overwrite_a=1)
    if failed:
        raise _not_solvable(regularization)
    inverse, failed = _lapack(lapack, "potri", factor)(factor, lower=1, overwrite_c=1)
    if failed:
        raise _not_solvable(regularization)
    leverage = 1.0 - penalty * np.diag(inverse).astype(np.float64)
    coefficients = _times_indicators(inverse, labels, classes)
    smoothing = None if prior is None else inverse @ prior
    return _checked(coefficients, leverage, smoothing, regularization)


def fit_on_landmarks(
    kernel_blocks: Blocks,
    kernel: Floats,
    labels: Ints,
    classes: int,
    weights: Floats,
    regularization: float,
    prior_blocks: Blocks | None = None,
) -> RidgeFit:
    """kernel_blocks(start, stop): [rows, m] between training offers and landmarks. kernel: [m, m] of the landmarks.
    prior_blocks(start, stop): [rows, classes], the prior's scores of these training offers."""
    from scipy.linalg import cho_factor, cho_solve, solve_triangular

    landmarks, offers = len(kernel), len(labels)
    system = regularization * kernel.astype(np.float64)
    moments = np.zeros((landmarks, classes))
    smoothed = np.zeros((landmarks, classes if prior_blocks is not None else 0), np.float32)
    for start in range(0, offers, ROWS_PER_BLOCK):
        rows = slice(start, min(start + ROWS_PER_BLOCK, offers))
        block = kernel_blocks(rows.start, rows.stop)
        weighted = block * weights[rows, None]
        system += weighted.T @ block
        for label in np.unique(labels[rows]):
            moments[:, label] += weighted[labels[rows] == label].sum(0)
        if prior_blocks is not None:
            smoothed += weighted.T @ prior_blocks(rows.start, rows.stop)
    diagonal = np.arange(landmarks)
    system[diagonal, diagonal] += JITTER * system.trace() / landmarks
    try:
        factor = cho_factor(system, lower=True, overwrite_a=True)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise _not_solvable(regularization) from error
    coefficients = cho_solve(factor, moments)
    smoothing = None if prior_blocks is None else cho_solve(factor, smoothed)
    triangle = factor[0].astype(np.float32)
    leverage = np.empty(offers)
    for start in range(0, offers, ROWS_PER_BLOCK):
        rows = slice(start, min(start + ROWS_PER_BLOCK, offers))
        half = solve_triangular(triangle, kernel_blocks(rows.start, rows.stop).T, lower=True)
        leverage[rows] = weights[rows] * np.square(half).sum(0, dtype=np.float64)
    return _checked(coefficients, leverage, smoothing, regularization)


def leave_one_out(scores: Floats, labels: Ints, leverage: Floats) -> Floats:
    """What the model would say of training offers without having seen them. scores: [n, classes], in place."""
    rows = np.arange(len(labels))
    scores[rows, labels] -= leverage
    scores /= (1.0 - leverage)[:, None]
    return scores


def class_weights(labels: Ints, classes: int, balance: float) -> Floats:
    """Weight of each offer, mean 1: (offers of its class) to the power of minus `balance`; 0 = all equal."""
    counts = np.bincount(labels, minlength=classes)
    weights = counts[labels].astype(np.float64) ** -balance
    scaled: Floats = (weights / weights.mean()).astype(np.float32)
    return scaled


def group_landmarks(labels: Ints, limit: int, seed: int) -> Ints:
    """Each offer's landmark, 0 and up: random groups of nearly equal size within each class.

    About `limit` groups; a class of two offers or more keeps at least two.
    """
    order: Ints = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    counts, wanted = np.bincount(labels), landmarks_per_class(labels, limit)
    first = np.r_[0, wanted.cumsum()[:-1]]
    starts = np.r_[0, counts.cumsum()[:-1]]
    ordered = labels[order]
    within = np.arange(len(labels)) - starts[ordered]
    groups = np.empty(len(labels), np.int64)
    groups[order] = first[ordered] + within % wanted[ordered]
    return groups


def landmarks_per_class(labels: Ints, limit: int) -> Ints:
    """How many groups `group_landmarks` makes of each class."""
    counts = np.bincount(labels)
    in_proportion = np.round(counts * min(1.0, limit / len(labels))).astype(np.int64)
    return np.maximum(in_proportion, np.minimum(counts, 2))


def refuse_large_kernel(rows: int, what: str, bytes_per_entry: int, most_mb: int, fix: str) -> None:
    """Raises TrainingError where the equations of so many rows take more memory."""
    needed_mb = bytes_per_entry * rows**2 / 1e6
    if needed_mb > most_mb:
        raise TrainingError(
            f"the teacher's equations would not fit into memory: {what} are too many",
            value=f"{rows:,}, which take about {needed_mb:,.0f} MB",
            allowed=f"{most_mb:,} MB, by teacher.kernel_mb",
            fix=f"raise teacher.kernel_mb where the machine has the memory; else {fix}",
        )


def _times_indicators(inverse: npt.NDArray[Any], labels: Ints, classes: int) -> npt.NDArray[Any]:
    """inverse @ one_hot(labels), float32 [n, classes]. The lower triangle that LAPACK leaves is mirrored on the way."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    coefficients = np.zeros((len(inverse), classes), np.float32)
    for start in range(0, len(inverse), 512):
        stop = min(start + 512, len(inverse))
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        square = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = square + np.tril(square, -1).T
        coefficients[start:stop, present] = np.add.reduceat(inverse[start:stop, order], starts, axis=1)
    return coefficients


def _lapack(lapack: Any, name: str, array: npt.NDArray[Any]) -> Any:
    return getattr(lapack, ("d" if array.dtype == np.float64 else "s") + name)


def _checked(
    coefficients: npt.NDArray[Any],
    leverage: npt.NDArray[Any],
    smoothing: npt.NDArray[Any] | None,
    regularization: float,
) -> RidgeFit:
    if not all(np.isfinite(part).all() for part in (coefficients, leverage, smoothing) if part is not None):
        raise _not_solvable(regularization)
    return RidgeFit(
        coefficients.astype(np.float32),
        np.clip(leverage, 0.0, 0.999).astype(np.float32),
        None if smoothing is None else smoothing.astype(np.float32),
    )


def _not_solvable(regularization: float) -> TrainingError:
    return TrainingError(
        "the teacher's equations could not be solved",
        value=f"regularization {regularization}",
        fix="raise teacher.encoder_regularization and teacher.ngram_regularization",
    )
