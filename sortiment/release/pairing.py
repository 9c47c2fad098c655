"""Is a fall in quality more than chance? Paired tests on the same offers.

Two models that answered the same offers differ only on some of them. Under the hypothesis that neither is better,
each such pair of answers might as well stand the other way round: swapping them at random gives the distribution of
the macro-F1 difference by chance alone (approximate randomization, Noreen 1989; Yeh 2000, "More accurate tests for
the statistical significance of result differences"). It keeps its level on slices of a few dozen offers, where a
bootstrap of macro-F1 does not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PairedFall:
    """How much worse the second model did on the same offers. Negative numbers: it did better."""

    offers: int
    discordant: int
    macro_f1_fall: float
    accuracy_fall: float
    p_value: float


@dataclass(frozen=True)
class Parity:
    """The quantized model beside the student that it came from, on the same offers.

    p_value: chance of so large a fall if both were equally good; None where only the two scores are known.
    """

    offers: int
    student_macro_f1: float
    quantized_macro_f1: float
    agreement: float | None = None
    p_value: float | None = None


def measure_fall(
    truth: Iterable[str], before: Iterable[str], after: Iterable[str], rounds: int, seed: int
) -> PairedFall:
    """Compare two models' answers with the truth, offer by offer; the p-value is one-sided (`after` is worse).

    Macro-F1 is the mean over the categories that the truth holds. The three columns have one entry per offer.
    """
    codes, classes = _encode(truth, before, after)
    actual, old, new = codes
    fall = macro_f1(actual, old, classes) - macro_f1(actual, new, classes)
    differ = old != new
    accuracy_fall = float(np.mean(old == actual) - np.mean(new == actual)) if len(actual) else 0.0
    p_value = (
        _randomize(actual, old, new, classes=classes, fall=fall, rounds=rounds, seed=seed) if differ.any() else 1.0
    )
    return PairedFall(len(actual), int(differ.sum()), fall, accuracy_fall, p_value)


def measure_parity(
    truth: Iterable[str], student: Iterable[str], quantized: Iterable[str], rounds: int, seed: int
) -> Parity:
    """The parity of a quantized model, with its p-value, from per-offer answers."""
    (actual, old, new), classes = _encode(truth, student, quantized)
    fall = macro_f1(actual, old, classes) - macro_f1(actual, new, classes)
    return Parity(
        offers=len(actual),
        student_macro_f1=macro_f1(actual, old, classes),
        quantized_macro_f1=macro_f1(actual, new, classes),
        agreement=float(np.mean(old == new)) if len(actual) else 1.0,
        p_value=_randomize(actual, old, new, classes=classes, fall=fall, rounds=rounds, seed=seed)
        if (old != new).any()
        else 1.0,
    )


def macro_f1(actual: IntArray, predicted: IntArray, classes: int) -> float:
    """Mean F1 over the classes that occur in `actual`; 0.0 without offers."""
    support = np.bincount(actual, minlength=classes)
    answers = np.bincount(predicted, minlength=classes)
    hits = np.bincount(actual[actual == predicted], minlength=classes)
    return _mean_f1(hits, answers, support)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for having looked at all of them (Holm 1979): compare each with one significance level."""
    ordered = sorted(p_values, key=lambda name: (p_values[name], name))
    adjusted, floor = {}, 0.0
    for rank, name in enumerate(ordered):
        floor = max(floor, min(1.0, p_values[name] * (len(ordered) - rank)))
        adjusted[name] = floor
    return adjusted


def _encode(*columns: Iterable[str]) -> tuple[list[IntArray], int]:
    lists = [list(column) for column in columns]
    names = {name: code for code, name in enumerate(sorted({name for column in lists for name in column}))}
    return [np.array([names[name] for name in column], dtype=np.int64) for column in lists], len(names)


def _randomize(
    actual: IntArray, old: IntArray, new: IntArray, *, classes: int, fall: float, rounds: int, seed: int
) -> float:
    """Share of random swaps that make the new model look at least as much worse as it did."""
    differ = old != new
    same_actual, same = actual[~differ], old[~differ]
    support = np.bincount(actual, minlength=classes)
    agreed_answers = np.bincount(same, minlength=classes)
    agreed_hits = np.bincount(same_actual[same_actual == same], minlength=classes)
    truth, left, right = actual[differ], old[differ], new[differ]
    random = np.random.default_rng(seed)
    as_extreme = 0
    for _ in range(rounds):
        swap = random.random(len(truth)) < 0.5
        scores = []
        for answer in (np.where(swap, right, left), np.where(swap, left, right)):
            hits = agreed_hits + np.bincount(truth[truth == answer], minlength=classes)
            scores.append(_mean_f1(hits, agreed_answers + np.bincount(answer, minlength=classes), support))
        as_extreme += scores[0] - scores[1] >= fall - 1e-12
    return (1 + as_extreme) / (1 + rounds)


def _mean_f1(hits: IntArray, answers: IntArray, support: IntArray) -> float:
    present = support > 0
    if not present.any():
        return 0.0
    return float(np.mean(2.0 * hits[present] / (answers[present] + support[present])))
