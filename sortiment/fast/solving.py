"""Ridge regression of soft labels on sparse features: conjugate gradients for all classes at once.

    minimize  sum_i w_i |y_i - x_i W|^2 + r |W|^2

No step size, no epochs, no random numbers: the cost is a few dozen products of sparse matrices, linear in the offers.
As when scoring, spelling is a matter of the words and not of the texts: an offer costs its words and pairs alone. The
dual system is scaled so that its smallest eigenvalue is 1 (Hestenes and Stiefel 1952, for many right-hand sides).

Each class is a system of its own, so where they are too many for memory they are solved block after block. All end
after the same number of iterations, the first after which every one is solved: blocks decide nothing. One that another
overtakes starts again, which costs less than to keep what all would need to go on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sortiment.errors import TrainingError
from sortiment.fast.features import Features
from sortiment.fast.network import Floats
from sortiment.progress import Step

NUMBERS_AT_MOST = 50_000_000  # in one matrix of texts or rows by classes; about nine are held at once

TargetsOf = Callable[[slice], Floats]  # of a block of classes, [texts, classes of the block]
Keep = Callable[[slice, Floats], None]  # takes a block's solution, [texts, classes of the block]


@dataclass(frozen=True)
class Solution:
    """rows: [table rows, classes], what each row's features say together. runs: [runs, classes], of each run of
    characters. residual: what is left of the equations, relative, largest of all classes."""

    rows: Floats
    runs: Floats
    residual: float
    iterations: int


class Ridge:
    """The equations of some texts. features: of them. weights: of each."""

    def __init__(
        self, features: Features, weights: Floats, regularization: float, numbers_at_most: int = NUMBERS_AT_MOST
    ) -> None:
        self.features, self.regularization, self.numbers_at_most = features, regularization, numbers_at_most
        self.scale = np.sqrt(weights / np.float32(regularization)).astype(np.float32)[:, None]
        self.turned = features.texts.T.tocsr()

    def solve(
        self, targets: TargetsOf, classes: int, keep: Keep, *, tolerance: float, iterations: int, step: Step
    ) -> tuple[float, int]:
        """The residual and the iterations. keep: may get a block more than once, the last time is right. `step`
        advances by each class's iterations."""
        blocks = list(split_classes(classes, self.features, self.numbers_at_most))
        done, reached, left = 0, [-1] * len(blocks), [0.0] * len(blocks)
        while any(each != done for each in reached):
            for number, block in enumerate(blocks):
                if reached[number] != done:
                    solution, reached[number], left[number] = self._solve_block(
                        targets(block), done, tolerance, iterations, step
                    )
                    keep(block, solution)
                    done = max(done, reached[number])
        return max(left), done

    def spread(self, solution: Floats) -> tuple[Floats, Floats]:
        """What a block's solution says of all rows and of the runs. Raises TrainingError for bad numbers."""
        rows, runs = self.features.spread(self.turned @ (self.scale * solution))
        if not (np.isfinite(rows).all() and np.isfinite(runs).all()):
            raise TrainingError(
                "the fast student's equations could not be solved",
                value=f"regularization {self.regularization}",
                fix="raise fast.regularization",
            )
        return rows, runs

    def _solve_block(
        self, targets: Floats, least: int, tolerance: float, iterations: int, step: Step
    ) -> tuple[Floats, int, float]:
        """The solution, its iterations, `least` or more, and the largest residual."""
        left = self.scale * targets
        solution = np.zeros_like(left)
        direction = left.copy()
        size = first = np.maximum(_squares(left), 1e-30)
        done = 0
        while done < iterations and (done < least or np.sqrt((size / first).max()) > tolerance):
            moved = self._apply(direction)
            length = (size / np.maximum(_dots(direction, moved), 1e-30)).astype(np.float32)
            solution += length * direction
            left -= length * moved
            new = _squares(left)
            direction *= (new / np.maximum(size, 1e-30)).astype(np.float32)
            direction += left
            size = new
            done += 1
            step.advance(left.shape[1])
        return solution, done, float(np.sqrt((size / first).max()))

    def _apply(self, vectors: Floats) -> Floats:
        product: Floats = self.features.texts @ self.features.spread(self.turned @ (self.scale * vectors))[0]
        product *= self.scale
        product += vectors
        return product


def split_classes(classes: int, features: Features, numbers_at_most: int) -> Iterator[slice]:
    """The classes in blocks of nearly equal size, one where a matrix of all has no more numbers than that."""
    lines = max(*features.texts.shape, features.runs.size)
    count = min(max(-(-classes * lines // numbers_at_most), 1), classes)
    for start, stop in pairwise(np.linspace(0, classes, count + 1).astype(np.int64).tolist()):
        yield slice(start, stop)


def _squares(columns: Floats) -> npt.NDArray[np.float64]:
    return _dots(columns, columns)


def _dots(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Of each column."""
    sums: npt.NDArray[np.float64] = np.einsum("ij,ij->j", left, right, dtype=np.float64)
    return sums
