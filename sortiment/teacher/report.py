"""What a trained teacher is, and how good it is, for people and for `teacher.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sortiment.evaluation import calibration_error, score
from sortiment.sampling import RepeatsAbroad
from sortiment.settings import EvaluationSettings
from sortiment.teacher.combining import Link
from sortiment.teacher.offers import TEST, VALIDATION, Offers
from sortiment.teacher.ridge import Floats, Ints

TEACHER = "teacher"


@dataclass(frozen=True)
class Judged:
    """What the held-out offers were taken for. best: of the teacher and of each expert alone, the class of each offer,
    int64 [offers]. confidence: the logarithm of the teacher's probability of its best class."""

    best: Mapping[str, Ints]
    confidence: Floats


@dataclass(frozen=True)
class TeacherReport:
    """What was trained and how good it is.

    classes: taught. untaught: categories that occur in the samples and have no training offer: the teacher cannot
    name them. single_offer_classes: taught from one offer. suspect_offers: trained on with less weight. link: from
    scores to probabilities, fitted on the split `linked_on`. names: how strongly each expert takes what the categories'
    names add; empty where they did not help, or were not given. scores: split (validation, test) to model (teacher and
    each expert alone) to `{offers, accuracy, macro_f1, ...}`; offers of an untaught category count as wrong.
    calibration_error: of the teacher on the test offers. unlabelled_offers: read for how often classes occur.
    countries_without_labels: of those offers; they are answered for otherwise (`shares`). tuning: what of the encoder
    was tuned, and its mean loss in each epoch; None where it stayed as it was. left_out_offers: training offers that
    repeat a held-out offer of another country, not learned; kept_repeats: that do too, and are (`sampling/abroad.py`).
    """

    training_offers: int
    classes: int
    untaught: tuple[str, ...]
    single_offer_classes: int
    suspect_offers: int
    link: Link
    linked_on: str
    names: dict[str, float]
    scores: dict[str, dict[str, dict[str, Any]]]
    calibration_error: float | None
    unlabelled_offers: int
    countries_without_labels: tuple[str, ...]
    left_out_offers: int
    kept_repeats: int
    tuning: dict[str, Any] | None = None

    def summary(self) -> dict[str, Any]:
        """The report as JSON."""
        content = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.tuning is None:
            del content["tuning"]
        return content


def report_training(
    held_out: Offers,
    labels: Ints,
    taught: Ints,
    training_weight: Floats,
    classes: tuple[str, ...],
    untaught: tuple[str, ...],
    judged: Judged,
    link: Link,
    strengths: Mapping[str, float],
    linked_on: str,
    unlabelled_offers: int,
    countries_without_labels: Sequence[str],
    tuning: dict[str, Any] | None,
    repeats: RepeatsAbroad,
) -> TeacherReport:
    """labels, judged: of the held-out offers. taught, training_weight: classes and weights of the others."""
    split_scores: dict[str, dict[str, dict[str, Any]]] = {}
    for split in (VALIDATION, TEST):
        rows = np.flatnonzero(held_out.split == split)
        if len(rows):
            truth = [str(held_out.labels[row]) for row in rows]
            split_scores[split] = {
                name: score(truth, np.array(classes)[best[rows]], {}, EvaluationSettings())["overall"]
                for name, best in judged.best.items()
            }
    counts = np.bincount(taught, minlength=len(classes))
    test = np.flatnonzero(held_out.split == TEST)
    return TeacherReport(
        training_offers=len(taught),
        classes=len(classes),
        untaught=untaught,
        single_offer_classes=int((counts == 1).sum()),
        suspect_offers=int((training_weight < 1.0).sum()),
        link=link,
        linked_on=linked_on,
        names=dict(strengths),
        scores=split_scores,
        calibration_error=(
            calibration_error(np.exp(judged.confidence[test]), judged.best[TEACHER][test] == labels[test])
            if len(test)
            else None
        ),
        unlabelled_offers=unlabelled_offers,
        countries_without_labels=tuple(countries_without_labels),
        left_out_offers=repeats.count,
        kept_repeats=repeats.kept,
        tuning=tuning,
    )
