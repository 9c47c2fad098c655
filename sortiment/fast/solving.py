"""Ridge regression of soft labels on sparse features: conjugate gradients for all classes at once.

    minimize  sum_i w_i |y_i - x_i W|^2 + r |W|^2

No step size, no epochs, no random numbers: the cost is a few dozen products of a sparse matrix, linear in the offers.
The dual system is scaled so that its smallest eigenvalue is 1 (Hestenes and Stiefel 1952, for many right-hand sides).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sortiment.errors import TrainingError
from sortiment.progress import Step

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Solution:
    """weights: [features, classes]. residual: what is left of the equations, relative, largest of all classes."""

    weights: Floats
    residual: float
    iterations: int


def solve_ridge(
    features: "csr_matrix",
    targets: Floats,
    weights: Floats,
    *,
    regularization: float,
    tolerance: float,
    iterations: int,
    step: Step,
) -> Solution:
    """features: [n, features]. targets: [n, classes]. weights: of each offer. Raises TrainingError for bad numbers."""
    scale = np.sqrt(weights / np.float32(regularization)).astype(np.float32)[:, None]
    turned = features.T.tocsr()

    def apply(vectors: Floats) -> Floats:
        product: Floats = features @ (turned @ (scale * vectors))
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
    found: Floats = turned @ (scale * solution)
    if not np.isfinite(found).all():
        raise TrainingError(
            "the fast student's equations could not be solved",
            value=f"regularization {regularization}",
            fix="raise fast.regularization",
        )
    return Solution(found, float(np.sqrt((size / first).max())), done)


def _squares(columns: Floats) -> npt.NDArray[np.float64]:
    return _dots(columns, columns)


def _dots(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Of each column."""
    sums: npt.NDArray[np.float64] = np.einsum("ij,ij->j", left, right, dtype=np.float64)
    return sums
