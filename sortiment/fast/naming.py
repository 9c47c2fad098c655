"""What the categories' names say, as the fast student's prior: its ridge pulls towards that and not towards 0.

The prior is the same regression of class on features, solved for the names alone. It answers before any offer is seen,
so how far it is to be believed is known from the offers at no cost: the slope of their targets on its answers. Names
that are codes get a slope of about 0.
"""

from dataclasses import dataclass, replace

import numpy as np

from sortiment.fast.features import Features
from sortiment.fast.network import Floats
from sortiment.fast.solving import Solution, solve_ridge
from sortiment.progress import Step
from sortiment.teacher.names import NameTexts


@dataclass(frozen=True)
class Prior:
    """solution: what names say of rows and runs, as strongly as it is believed. strength: 0 to 1. answers: its scores
    of the training offers, [offers, classes]."""

    solution: Solution
    strength: float
    answers: Floats

    def joined(self, solved: Solution) -> Solution:
        """With what the offers say beyond the prior."""
        own = self.solution
        return replace(solved, rows=solved.rows + own.rows, runs=solved.runs + own.runs)


def fit_prior(
    features: Features,
    names: NameTexts,
    targets: Floats,
    weights: Floats,
    *,
    regularization: float,
    tolerance: float,
    iterations: int,
    step: Step,
) -> Prior:
    """features: of the training offers' texts and behind them of the names'. targets, weights: of the offers."""
    offers, classes = targets.shape
    own = np.zeros((len(names.classes), classes), np.float32)
    own[np.arange(len(own)), names.classes] = 1.0
    solved = solve_ridge(
        replace(features, texts=names.gathered(features.texts[offers:])),
        own,
        names.weights,
        regularization=regularization,
        tolerance=tolerance,
        iterations=iterations,
        step=step,
    )
    answers: Floats = features.texts[:offers] @ solved.rows
    strength = _slope(targets, answers, weights)
    believed = np.float32(strength)
    answers *= believed
    return Prior(replace(solved, rows=solved.rows * believed, runs=solved.runs * believed), strength, answers)


def _slope(targets: Floats, answers: Floats, weights: Floats) -> float:
    """Of the targets on the answers, both less their classes' means; 0 to 1."""
    share = (weights / weights.sum())[:, None]
    centered = answers - (share * answers).sum(0)
    spread = float((share * np.square(centered)).sum(dtype=np.float64))
    together = float((share * centered * targets).sum(dtype=np.float64))
    return min(max(together / spread, 0.0), 1.0) if spread > 0 else 0.0
