"""A fresh student on the labelled validation offers: calibration, and the figures of its report.

Accuracy and macro-F1 here are for a report; evaluation has the full set, with intervals.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.calibration import Calibration
from sortiment.evaluation import calibration_error
from sortiment.student.calibration import fit_calibration
from sortiment.student.corpus import NO_CLASS, Corpus

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
MEASURED = (
    *("accuracy", "macro_f1", "teacher_accuracy", "teacher_macro_f1", "teacher_agreement"),
    *("calibration_error_before", "calibration_error_after"),
)


def measure_validation(corpus: Corpus, score: Callable[[Rows], Floats]) -> tuple[Calibration, dict[str, Any]]:
    """Calibration and figures, None where there is no labelled validation offer to measure them on.

    score: logits of corpus rows, (rows, outputs), outputs past the classes unused.
    """
    rows = corpus.labelled_rows("validation")
    if not len(rows):
        return Calibration(), {"validation_offers": 0, **dict.fromkeys(MEASURED)}
    labels = corpus.labels[rows]
    countries = [corpus.countries[country] for country in corpus.country[rows]]
    logits = score(rows)[:, : len(corpus.classes)]
    calibration = fit_calibration(logits, labels, countries)
    best = logits.argmax(1).astype(np.int32)
    teacher = corpus.top_index[rows, 0] if corpus.top_index.shape[1] else np.full(len(rows), NO_CLASS, np.int32)
    return calibration, {
        "validation_offers": len(rows),
        "accuracy": accuracy_of(best, labels),
        "macro_f1": macro_f1_of(best, labels),
        "teacher_accuracy": accuracy_of(teacher, labels),
        "teacher_macro_f1": macro_f1_of(teacher, labels),
        "teacher_agreement": accuracy_of(best, teacher),
        "calibration_error_before": _error(logits, labels, Calibration(), countries),
        "calibration_error_after": _error(logits, labels, calibration, countries),
    }


def judge_epoch(corpus: Corpus, score: Callable[[Rows], Floats]) -> float:
    """Macro-F1 on the labelled validation offers. score: as `measure_validation` takes it."""
    rows = corpus.labelled_rows("validation")
    best = score(rows)[:, : len(corpus.classes)].argmax(1).astype(np.int32)
    return macro_f1_of(best, corpus.labels[rows])


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
