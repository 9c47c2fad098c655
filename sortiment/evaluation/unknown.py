"""Offers of a category that no model learned: a score for how unlike everything known an offer looks.

The score is the entropy of the calibrated probabilities over the logarithm of the number of classes: 0 = one class has
it all, 1 = all are alike. It needs nothing but the model's own answer, so every model has it. What else was tried
(largest probability, lead, kernel scores, nearest training offers, new n-grams, combinations) is in
docs/experiments.md; `sortiment bench quality --unknown` measures it on categories left out of training.
"""

import numpy as np
import numpy.typing as npt

from sortiment.errors import SettingsError

Scores = npt.NDArray[np.float64]
LEAST = 1e-12


def score_unknown(probability: npt.NDArray[np.float32]) -> Scores:
    """Between 0 and 1 for each row of calibrated probabilities, [offers, classes], rows summing to 1."""
    classes = probability.shape[1]
    if classes < 2:
        return np.zeros(len(probability))
    shares = np.clip(probability, LEAST, 1.0).astype(np.float64)
    entropy: Scores = -(shares * np.log(shares)).sum(1) / np.log(classes)
    return np.clip(entropy, 0.0, 1.0)


def area_under_roc(unknown: npt.NDArray[np.bool_], scores: Scores) -> float:
    """Chance that an unknown offer has a higher score than a known one, ties half (Mann and Whitney 1947).

    Raises SettingsError where all are known, or none is.
    """
    count = int(unknown.sum())
    if not 0 < count < len(unknown):
        raise SettingsError(
            "a ROC needs known and unknown offers",
            value=f"{count} unknown of {len(unknown)}",
            fix="leave categories with test offers out",
        )
    _, places, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(sizes) - (sizes - 1) / 2)[places]
    return float((rank[unknown].sum() - count * (count + 1) / 2) / (count * (len(unknown) - count)))
