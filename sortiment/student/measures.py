"""A fresh student on the labelled validation offers: calibration, and the figures of its report.

Accuracy and macro-F1 here are for a report; evaluation has the full set, with intervals.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.calibration import Calibration
from sortiment.evaluation import calibration_error
from sortiment.student.calibration import fit_calibration
from sortiment.student.corpus import NO_CLASS, Corpus
from sortiment.teacher.shares import spread_evenly

NUMBERS_AT_MOST = 50_000_000  # logits that are held at once

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Score = Callable[[Rows], Floats]
MEASURED = (
    *("accuracy", "macro_f1", "teacher_accuracy", "teacher_macro_f1", "teacher_agreement"),
    *("calibration_error_before", "calibration_error_after"),
)


def measure_validation(
    corpus: Corpus, score: Score, numbers_at_most: int = NUMBERS_AT_MOST
) -> tuple[Calibration, dict[str, Any]]:
    """Calibration and figures, None where there is no labelled validation offer to measure them on.

    score: logits of corpus rows, (rows, outputs), outputs past the classes unused. Asked a part at a time; calibrated,
    and its error taken, on as many evenly spread offers as are one part.
    """
    rows = corpus.labelled_rows("validation")
    if not len(rows):
        return Calibration(), {"validation_offers": 0, **dict.fromkeys(MEASURED)}
    labels = corpus.labels[rows]
    some = choose_calibrated(len(rows), len(corpus.classes), numbers_at_most)
    best, logits = np.zeros(len(rows), np.int32), np.zeros((len(some), len(corpus.classes)), np.float32)
    for start, part in _score_in_parts(corpus, rows, score, numbers_at_most):
        best[start : start + len(part)] = part.argmax(1)
        kept = (some >= start) & (some < start + len(part))
        logits[kept] = part[some[kept] - start]
    countries = [corpus.countries[country] for country in corpus.country[rows[some]]]
    calibration = fit_calibration(logits, labels[some], countries)
    teacher = corpus.top_index[rows, 0] if corpus.top_index.shape[1] else np.full(len(rows), NO_CLASS, np.int32)
    return calibration, {
        "validation_offers": len(rows),
        "accuracy": accuracy_of(best, labels),
        "macro_f1": macro_f1_of(best, labels),
        "teacher_accuracy": accuracy_of(teacher, labels),
        "teacher_macro_f1": macro_f1_of(teacher, labels),
        "teacher_agreement": accuracy_of(best, teacher),
        "calibration_error_before": _error(logits, labels[some], Calibration(), countries),
        "calibration_error_after": _error(logits, labels[some], calibration, countries),
    }


def judge_epoch(corpus: Corpus, score: Score) -> float:
    """Macro-F1 on the labelled validation offers. score: as `measure_validation` takes it."""
    rows = corpus.labelled_rows("validation")
    best = np.zeros(len(rows), np.int32)
    for start, part in _score_in_parts(corpus, rows, score, NUMBERS_AT_MOST):
        best[start : start + len(part)] = part.argmax(1)
    return macro_f1_of(best, corpus.labels[rows])


def choose_calibrated(offers: int, classes: int, numbers_at_most: int = NUMBERS_AT_MOST) -> Rows:
    """Evenly spread offers, as many as have no more logits than that."""
    return spread_evenly(offers, _offers_at_once(classes, numbers_at_most))


def _score_in_parts(corpus: Corpus, rows: Rows, score: Score, numbers_at_most: int) -> Iterator[tuple[int, Floats]]:
    """Where each part begins, and its logits, (offers of the part, classes)."""
    classes = len(corpus.classes)
    at_once = _offers_at_once(classes, numbers_at_most)
    for start in range(0, len(rows), at_once):
        yield start, score(rows[start : start + at_once])[:, :classes]


def _offers_at_once(classes: int, numbers_at_most: int) -> int:
    return max(numbers_at_most // classes, 1)


def accuracy_of(predicted: Ints, labels: Ints) -> float:
    """Share of equal entries."""
    return round(float((predicted == labels).mean()), 4)


def macro_f1_of(predicted: Ints, labels: Ints) -> float:
    """Mean F1 over the classes that occur in the labels."""
    size = int(max(predicted.max(), labels.max())) + 1
    right = np.bincount(labels[predicted == labels], minlength=size)
    truly = np.bincount(labels, minlength=size)
    said = np.bincount(np.maximum(predicted, 0), weights=predicted >= 0, minlength=size)
    present = truly > 0
    return round(float((2 * right / np.maximum(truly + said, 1))[present].mean()), 4)


def _error(logits: Floats, labels: Ints, calibration: Calibration, countries: Sequence[str]) -> float:
    shares = calibration.probabilities(logits, calibration.of(countries, len(labels)))
    return round(calibration_error(shares.max(1), shares.argmax(1) == labels), 4)
