"""Ridge regression of soft labels on sparse features: conjugate gradients for all classes at once.

    minimize  sum_i w_i |y_i - x_i W|^2 + r |W|^2

No step size, no epochs, no random numbers: the cost is a few dozen products of sparse matrices, linear in the offers.
As when scoring, spelling is a matter of the words and not of the texts: an offer costs its words and pairs alone. The
dual system is scaled so that its smallest eigenvalue is 1 (Hestenes and Stiefel 1952, for many right-hand sides).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.errors import TrainingError
from sortiment.fast.features import Features
from sortiment.fast.network import Floats
from sortiment.progress import Step


@dataclass(frozen=True)
class Solution:
    """rows: [rows, classes], what each row's features say together. runs: [runs, classes], of each run of characters.
    residual: what is left of the equations, relative, largest of all classes."""

    rows: Floats
    runs: Floats
    residual: float
    iterations: int


def solve_ridge(
    features: Features,
    targets: Floats,
    weights: Floats,
    *,
    regularization: float,
    tolerance: float,
    iterations: int,
    step: Step,
) -> Solution:
    """features: of n offers. targets: [n, classes]. weights: of each offer. Raises TrainingError for bad numbers."""
    scale = np.sqrt(weights / np.float32(regularization)).astype(np.float32)[:, None]
    turned = features.texts.T.tocsr()

    def apply(vectors: Floats) -> Floats:
        product: Floats = features.texts @ features.spread(turned @ (scale * vectors))[0]
        product *= scale
        product += vectors
        return product

    left = scale * targets
    solution = np.zeros_like(left)
    direction = left.copy()
    size = first = np.maximum(_squares(left), 1e-30)
    done = 0
    while done < iterations and np.sqrt((size / first).max()) > tolerance:
        moved = apply(direction)
        length = (size / np.maximum(_dots(direction, moved), 1e-30)).astype(np.float32)
        solution += length * direction
        left -= length * moved
        new = _squares(left)
        direction *= (new / np.maximum(size, 1e-30)).astype(np.float32)
        direction += left
        size = new
        done += 1
        step.advance(1)
    rows, runs = features.spread(turned @ (scale * solution))
    if not (np.isfinite(rows).all() and np.isfinite(runs).all()):
        raise TrainingError(
            "the fast student's equations could not be solved",
            value=f"regularization {regularization}",
            fix="raise fast.regularization",
        )
    return Solution(rows, runs, float(np.sqrt((size / first).max())), done)


def _squares(columns: Floats) -> npt.NDArray[np.float64]:
    return _dots(columns, columns)


def _dots(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Of each column."""
    sums: npt.NDArray[np.float64] = np.einsum("ij,ij->j", left, right, dtype=np.float64)
    return sums
