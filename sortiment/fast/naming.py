"""What the categories' names say, as the fast student's prior: its ridge pulls towards that and not towards 0.

The prior is the same regression of class on features, solved for the names alone. It answers before any offer is seen,
so how far it is to be believed is known from the offers at no cost: the slope of their targets on its answers. Names
that are codes get a slope of about 0.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sortiment.fast.features import Features
from sortiment.fast.network import Floats
from sortiment.fast.solving import NUMBERS_AT_MOST, Ridge, split_classes
from sortiment.progress import Step
from sortiment.teacher.names import NameTexts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Prior:
    """ridge, solution: the names' equations, and what solves them, [names, classes]. strength: 0 to 1, how far they
    are believed."""

    ridge: Ridge
    solution: Floats
    strength: float

    def spread(self, block: slice) -> tuple[Floats, Floats]:
        """What they say of all rows and of the runs, as strongly as it is believed, [rows, classes of the block]."""
        rows, runs = self.ridge.spread(self.solution[:, block])
        return rows * np.float32(self.strength), runs * np.float32(self.strength)

    def answer(self, texts: "csr_matrix", block: slice) -> Floats:
        """Their scores of some texts, [texts, classes of the block]. texts: sparse [texts, rows]."""
        answers: Floats = texts @ self.ridge.spread(self.solution[:, block])[0]
        answers *= np.float32(self.strength)
        return answers


def fit_prior(
    features: Features,
    names: NameTexts,
    targets: "csr_matrix",
    weights: Floats,
    *,
    regularization: float,
    tolerance: float,
    iterations: int,
    step: Step,
    numbers_at_most: int = NUMBERS_AT_MOST,
) -> Prior:
    """features: of the training offers' texts and behind them of the names'. targets, weights: of the offers."""
    from scipy.sparse import csr_matrix

    offers, classes = targets.shape
    count = len(names.classes)
    own = csr_matrix((np.ones(count, np.float32), (np.arange(count), names.classes)), shape=(count, classes))
    gathered = replace(features, texts=names.gathered(features.texts[offers:]))
    ridge = Ridge(gathered, names.weights, regularization, numbers_at_most)
    solution = np.zeros((count, classes), np.float32)

    def targets_of(block: slice) -> Floats:
        dense: Floats = own[:, block].toarray()
        return dense

    def keep(block: slice, part: Floats) -> None:
        solution[:, block] = part

    ridge.solve(targets_of, classes, keep, tolerance=tolerance, iterations=iterations, step=step)
    sure = Prior(ridge, solution, 1.0)
    seen = replace(features, texts=features.texts[:offers])
    return replace(sure, strength=_slope(targets, sure, seen, weights, numbers_at_most))


def _slope(targets: "csr_matrix", prior: Prior, features: Features, weights: Floats, numbers_at_most: int) -> float:
    """Of the targets on the prior's answers, both less their classes' means; 0 to 1."""
    share = (weights / weights.sum())[:, None]
    spread = together = 0.0
    for block in split_classes(targets.shape[1], features, numbers_at_most):
        answers = prior.answer(features.texts, block)
        centered = answers - (share * answers).sum(0)
        spread += float((share * np.square(centered)).sum(dtype=np.float64))
        together += float((share * centered * targets[:, block].toarray()).sum(dtype=np.float64))
    return min(max(together / spread, 0.0), 1.0) if spread > 0 else 0.0
