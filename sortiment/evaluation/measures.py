"""What a table of answers says beyond right and wrong: how wrong, how sure, how far from the teacher.

hierarchical_f1    a mistake inside the department costs less (`hierarchy.py`)
top5_accuracy      the label is among the five best classes
ece                expected calibration error over 15 bins
agreement, kl      with the teacher: share of equal answers, mean divergence in nats (`probabilities.py`)
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sortiment.evaluation.answers import KEPT_CLASSES, TEACHER, models_of
from sortiment.evaluation.hierarchy import hierarchical_f1
from sortiment.evaluation.probabilities import (
    BINS,
    calibration_error,
    compare_models,
    reliability,
    top_accuracy,
)
from sortiment.evaluation.scores import OVERALL

TOP = 5
COUNTRY_BINS = 6  # a country has too few offers for fifteen

Paths = Mapping[str, Sequence[str]]
Measured = dict[str, dict[str, Any]]
Numbers = npt.NDArray[np.int64]
Ids = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Measures:
    """One model on one group of offers; agreement and kl are None for the teacher itself."""

    offers: int
    hierarchical_f1: float
    top5_accuracy: float
    ece: float
    agreement: float | None
    kl: float | None


@dataclass(frozen=True)
class _Ranked:
    """One model's best classes as numbers [offers, KEPT_CLASSES], -1 = none, with their probabilities; the labels as
    numbers, and best classes and labels as ids."""

    index: Numbers
    share: npt.NDArray[np.float64]
    labels: Numbers
    answered: Ids
    truth: Ids

    def of(self, rows: Numbers) -> "_Ranked":
        return _Ranked(self.index[rows], self.share[rows], self.labels[rows], self.answered[rows], self.truth[rows])


def measure_answers(answers: pa.Table, paths: Paths) -> dict[str, Measured]:
    """Model to `{overall, by_country: {country: ...}}`, each as Measures in JSON. paths: category id to names.

    Raises SettingsError where there are no answers.
    """
    ranked = _rank_models(answers)
    groups = _countries_of(answers)
    found: dict[str, Measured] = {}
    for model, own in ranked.items():
        teacher = None if model == TEACHER else ranked[TEACHER]
        found[model] = {
            OVERALL: _measure(own, teacher, paths),
            "by_country": {
                country: _measure(own.of(rows), teacher and teacher.of(rows), paths) for country, rows in groups.items()
            },
        }
    return found


def _measure(own: _Ranked, teacher: _Ranked | None, paths: Paths) -> dict[str, Any]:
    apart = compare_models(teacher.index, teacher.share, own.index, own.share) if teacher else None
    measures = Measures(
        offers=len(own.labels),
        hierarchical_f1=hierarchical_f1(own.truth.tolist(), own.answered.tolist(), paths),
        top5_accuracy=top_accuracy(own.index, own.labels, TOP),
        ece=calibration_error(own.share[:, 0], own.index[:, 0] == own.labels),
        agreement=apart.agreement if apart else None,
        kl=apart.kl if apart else None,
    )
    return asdict(measures)


def bin_answers(answers: pa.Table) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """`overall` and each country to every model's reliability bins, fifteen and six, as `ReliabilityBin` in JSON."""
    groups = {OVERALL: np.arange(answers.num_rows), **_countries_of(answers)}
    truth = np.array(answers["category_id"].to_pylist(), dtype=object)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in groups}
    for model in models_of(answers):
        right = np.array(answers[f"{model}_id"].to_pylist(), dtype=object) == truth
        sure = answers[f"{model}_confidence"].to_numpy().astype(np.float64)
        for name, rows in groups.items():
            found[name][model] = [
                asdict(each) for each in reliability(sure[rows], right[rows], BINS if name == OVERALL else COUNTRY_BINS)
            ]
    return found


def _countries_of(answers: pa.Table) -> dict[str, Numbers]:
    """Country to its offers' rows."""
    countries = np.array(answers["country"].to_pylist(), dtype=object)
    return {country: np.flatnonzero(countries == country) for country in sorted(set(countries))}


def _rank_models(answers: pa.Table) -> dict[str, _Ranked]:
    """Every model's classes as numbers that all models share."""
    truth = answers["category_id"].to_pylist()
    numbers: dict[str, int] = {}
    labels = np.array([numbers.setdefault(category, len(numbers)) for category in truth], np.int64)
    ranked = {}
    for model in models_of(answers):
        index = np.full((answers.num_rows, KEPT_CLASSES), -1, np.int64)
        share = np.zeros((answers.num_rows, KEPT_CLASSES))
        tops, shares = answers[f"{model}_top"].to_pylist(), answers[f"{model}_top_share"].to_pylist()
        for row, (classes, each) in enumerate(zip(tops, shares, strict=True)):
            index[row, : len(classes)] = [numbers.setdefault(category, len(numbers)) for category in classes]
            share[row, : len(each)] = each
        answered = np.array(answers[f"{model}_id"].to_pylist(), dtype=object)
        ranked[model] = _Ranked(index, share, labels, answered, np.array(truth, dtype=object))
    return ranked
