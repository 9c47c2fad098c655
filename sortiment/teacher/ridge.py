"""Weighted ridge regression of class indicators on a kernel: a classifier in closed form.

    minimize  sum_i w_i |y_i - f(x_i)|^2 + r |f|^2,   f(x) = sum_j k(x, landmark_j) a_j

Up to `max_landmarks` offers every training offer is a landmark and the solution is exact. Beyond that a landmark is
the mean of a few training offers of one class, and the cost grows with the offers, not with their square.

One factorization also gives each offer's leverage h, and with it what the model would have said of a training offer
had it not been trained on it: (f - h y) / (1 - h). So labels for training offers cost no cross-validation.
Regularized least squares classify as well as support vector machines (Rifkin and Klautau 2004, "In Defense of
One-Vs-All Classification"); the leave-one-out identity is PRESS (Allen 1974).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import TrainingError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FIRST_STEP, GROWTH_STEPS = 1e-9, 7
JITTER = 1e-6
ROWS_PER_BLOCK = 2048
EXACT_IN_DOUBLE = 3000  # beyond so many offers single precision halves the time and changes no answer


@dataclass(frozen=True)
class RidgeFit:
    """coefficients: float32 [landmarks, classes]. leverage: float32 [offers], below 1."""

    coefficients: Floats
    leverage: Floats


def fit_exact(kernel: Floats, labels: Ints, classes: int, weights: Floats, regularization: float) -> RidgeFit:
    """kernel: [n, n] between the training offers. labels, weights: of each offer, the mean weight about 1."""
    from scipy.linalg import lapack

    penalty = (regularization / weights).astype(np.float64)
    system: npt.NDArray[Any] = np.array(kernel, np.float64 if len(kernel) < EXACT_IN_DOUBLE else np.float32, order="F")
    diagonal = np.arange(len(system))
    system[diagonal, diagonal] += penalty.astype(system.dtype)
    factor, failed = _lapack(lapack, "potrf", system)(system, lower=1, overwrite_a=1)
    if failed:
        raise _not_solvable(regularization)
    inverse, failed = _lapack(lapack, "potri", factor)(factor, lower=1, overwrite_c=1)
    if failed:
        raise _not_solvable(regularization)
    coefficients = _symmetric_times_indicators(inverse, labels, classes)
    leverage = 1.0 - penalty * np.diag(inverse).astype(np.float64)
    return _checked(coefficients, leverage, regularization)


def fit_on_landmarks(
    kernel_blocks: Any, kernel: Floats, labels: Ints, classes: int, weights: Floats, regularization: float
) -> RidgeFit:
    """kernel_blocks(start, stop): [rows, m] between training offers and landmarks. kernel: [m, m] of the landmarks."""
    from scipy.linalg import cho_solve, solve_triangular

    landmarks, offers = len(kernel), len(labels)
    system = regularization * kernel.astype(np.float64)
    diagonal = np.arange(landmarks)
    system[diagonal, diagonal] += JITTER * landmarks
    moments = np.zeros((landmarks, classes))
    for start in range(0, offers, ROWS_PER_BLOCK):
        rows = slice(start, min(start + ROWS_PER_BLOCK, offers))
        block = kernel_blocks(rows.start, rows.stop)
        weighted = block * weights[rows, None]
        system += weighted.T @ block
        for label in np.unique(labels[rows]):
            moments[:, label] += weighted[labels[rows] == label].sum(0)
    factor = _factorize(system, regularization)
    coefficients = cho_solve(factor, moments)
    leverage = np.empty(offers)
    for start in range(0, offers, ROWS_PER_BLOCK):
        rows = slice(start, min(start + ROWS_PER_BLOCK, offers))
        half = solve_triangular(factor[0], kernel_blocks(rows.start, rows.stop).T, lower=True)
        leverage[rows] = weights[rows] * (half * half).sum(0)
    return _checked(coefficients, leverage, regularization)


def _factorize(system: npt.NDArray[Any], regularization: float) -> Any:
    """Cholesky factor; near-equal landmarks make a system singular to rounding, so its diagonal grows until it is not."""
    from scipy.linalg import LinAlgError, cho_factor

    diagonal = np.arange(len(system))
    step = float(np.trace(system)) / len(system) * FIRST_STEP
    for _ in range(GROWTH_STEPS):
        try:
            return cho_factor(system, lower=True)
        except LinAlgError:
            system[diagonal, diagonal] += step
            step *= 10
    raise _not_solvable(regularization)


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
    """Each offer's landmark, at most about `limit` of them: random groups of equal size within each class."""
    size = -(-len(labels) // limit)
    order: Ints = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    ordered = labels[order]
    starts = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1]
    within = np.arange(len(labels)) - np.repeat(starts, np.diff(np.r_[starts, len(labels)]))
    groups = np.empty(len(labels), np.int64)
    groups[order] = (within % size == 0).cumsum() - 1
    return groups


def _symmetric_times_indicators(inverse: npt.NDArray[Any], labels: Ints, classes: int) -> npt.NDArray[Any]:
    """inverse @ one_hot(labels), from the lower triangle that LAPACK leaves: sums of columns, class by class."""
    rows = np.arange(0, len(inverse), 512)
    for start in rows:
        stop = min(start + 512, len(inverse))
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        square = inverse[start:stop, start:stop]
        lower = np.tril(square)
        inverse[start:stop, start:stop] = lower + np.tril(square, -1).T
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    coefficients = np.zeros((len(inverse), classes), inverse.dtype)
    coefficients[:, present] = np.add.reduceat(inverse[:, order], starts, axis=1)
    return coefficients


def _lapack(lapack: Any, name: str, array: npt.NDArray[Any]) -> Any:
    return getattr(lapack, ("d" if array.dtype == np.float64 else "s") + name)


def _checked(coefficients: npt.NDArray[Any], leverage: npt.NDArray[Any], regularization: float) -> RidgeFit:
    if not np.isfinite(coefficients).all() or not np.isfinite(leverage).all():
        raise _not_solvable(regularization)
    return RidgeFit(coefficients.astype(np.float32), np.clip(leverage, 0.0, 0.999).astype(np.float32))


def _not_solvable(regularization: float) -> TrainingError:
    return TrainingError(
        "the teacher's equations could not be solved",
        value=f"regularization {regularization}",
        fix="raise teacher.encoder_regularization and teacher.ngram_regularization",
    )
