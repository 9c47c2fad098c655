"""Accuracy and macro-F1 with intervals, overall and along every dimension that a person asks about.

Macro-F1 is the mean F1 over the categories that occur in the truth of the group that is scored: a category that
nobody is in cannot be missed, and one that is only predicted costs the precision of nobody in the group.
Intervals are percentile bootstraps over offers (Efron 1979), 95 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import SettingsError
from sortiment.settings import EvaluationSettings

LOW, HIGH = 2.5, 97.5
OVERALL = "overall"

Ids = Sequence[str | None] | npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Leaf:
    """One group of offers: how many, accuracy, macro-F1 and its interval (None where it was not asked for)."""

    offers: int
    accuracy: float
    macro_f1: float
    low: float | None
    high: float | None


def score(
    true_ids: Ids,
    predicted_ids: Ids,
    groups: Mapping[str, Ids],
    settings: EvaluationSettings,
    weights: npt.NDArray[Any] | None = None,
) -> dict[str, Any]:
    """`{overall, by_<dimension>: {key: leaf}}` of one model; leaves as in docs/contracts.md.

    groups: dimension (country, department, ...) to each offer's key. weights: how many live offers each stands for;
    None counts each once. Raises SettingsError where the columns have different lengths or there is no offer.
    """
    true, predicted = np.asarray(true_ids, dtype=object), np.asarray(predicted_ids, dtype=object)
    lengths = {len(true), len(predicted), *(len(keys) for keys in groups.values())}
    if len(lengths) != 1 or not len(true):
        raise SettingsError("scores need one answer per offer", value=sorted(lengths), allowed="equal lengths, not 0")
    _, codes = np.unique(np.concatenate([true, predicted]).astype(str), return_inverse=True)
    truth, answer = codes[: len(true)], codes[len(true) :]
    weight = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
    draws = _draw_counts(len(true), settings)
    result: dict[str, Any] = {OVERALL: asdict(_score_group(truth, answer, weight, draws))}
    for dimension, keys in groups.items():
        column = np.asarray(keys, dtype=object)
        leaves = {}
        for key in sorted({str(key) for key in column if key is not None}):
            members = np.flatnonzero(column == key)
            own = _draw_counts(len(members), settings)
            leaves[key] = asdict(_score_group(truth[members], answer[members], weight[members], own))
        result[f"by_{dimension}"] = leaves
    return result


def macro_f1(true_ids: Ids, predicted_ids: Ids) -> float:
    """Macro-F1 alone, over the categories in the truth; NaN-free, raises on no offers as `score` does."""
    plain = EvaluationSettings(bootstrap_rounds=0)
    return float(score(true_ids, predicted_ids, {}, plain)[OVERALL]["macro_f1"])


def _draw_counts(offers: int, settings: EvaluationSettings) -> Floats | None:
    """(offers, rounds): how often each offer is drawn in each resample."""
    if settings.bootstrap_rounds == 0:
        return None
    rng = np.random.default_rng([settings.seed, offers])
    return rng.multinomial(offers, np.full(offers, 1.0 / offers), settings.bootstrap_rounds).T.astype(np.float64)


def _score_group(truth: Integers, answer: Integers, weight: Floats, draws: Floats | None) -> Leaf:
    right = truth == answer
    # A group has few of thousands of categories: what is counted per category and resample is counted for those.
    names, codes = np.unique(np.concatenate([truth, answer]), return_inverse=True)
    truth, answer, classes = codes[: len(truth)], codes[len(truth) :], len(names)
    point = _macro_f1(truth, answer, weight[:, None], classes)[0]
    low = high = None
    if draws is not None:
        values = _macro_f1(truth, answer, draws * weight[:, None], classes)
        low, high = (float(value) for value in np.percentile(values, [LOW, HIGH]))
    return Leaf(len(truth), float(np.average(right, weights=weight)), float(point), low, high)


def _macro_f1(truth: Integers, answer: Integers, counts: Floats, classes: int) -> Floats:
    """Macro-F1 of each column of `counts` (offers, rounds)."""
    from scipy.sparse import csr_matrix

    offers = np.arange(len(truth))
    ones = np.ones(len(truth))
    is_true = csr_matrix((ones, (truth, offers)), shape=(classes, len(truth)))
    is_answer = csr_matrix((ones, (answer, offers)), shape=(classes, len(truth)))
    is_hit = csr_matrix(((truth == answer).astype(np.float64), (truth, offers)), shape=(classes, len(truth)))
    true_count, answer_count, hits = is_true @ counts, is_answer @ counts, is_hit @ counts
    present = true_count > 0
    f1 = np.divide(2 * hits, true_count + answer_count, out=np.zeros_like(hits), where=present)
    result: Floats = f1.sum(0) / np.maximum(present.sum(0), 1)
    return result
