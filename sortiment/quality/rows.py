"""From answers to a row of the bench's table."""

from collections.abc import Set
from typing import Any

import numpy as np
import pyarrow as pa

from sortiment.evaluation import OVERALL, area_under_roc, calibration_error, calibration_noise, score
from sortiment.quality.answering import Answers
from sortiment.quality.arms import Task
from sortiment.settings import EvaluationSettings

TAIL = "tail"


def score_row(
    task: Task, test: pa.Table, answers: Answers, settings: EvaluationSettings, learned: Set[str]
) -> dict[str, Any]:
    """One row. Macro-F1 is `sortiment.evaluation`'s: the mean over the categories that occur among the test offers.

    macro_f1_tail: the same over the test offers of tail categories (the smallest, which together hold a tenth of the
    feed's labelled offers); None where no test offer is in one. macro_f1_low, macro_f1_high: 95 % bootstrap interval
    over test offers. unknown_auroc: only where categories were left out; the other figures are then over offers of the
    categories that were learned. ece: calibration error over 15 bins. ece_by_chance: what a perfectly calibrated model
    would show on as many offers. offers_per_s: on one core, from text to category.
    """
    truth, slices = (np.array(test[name].to_pylist(), object) for name in ("category_id", "slice"))
    predicted, confidence, more = answers.predicted, answers.confidence, {}
    if answers.unknown is not None:
        known = np.array([category in learned for category in truth])
        more = {
            "unknown_auroc": round(area_under_roc(~known, answers.unknown), 5),
            "unknown_offers": int((~known).sum()),
            "left_out_categories": len(set(truth[~known])),
        }
        truth, slices, predicted, confidence = truth[known], slices[known], predicted[known], confidence[known]
    scores = score(truth, predicted, {"slice": slices}, settings)
    overall, tail = scores[OVERALL], scores["by_slice"].get(TAIL)
    return {
        "feed": task.feed,
        "labels_per_class": task.labels_per_class,
        "seed": task.seed,
        "model": task.arm.model,
        "layers": task.arm.layers,
        "distilled": task.arm.distilled,
        "accuracy": round(overall["accuracy"], 5),
        "macro_f1": round(overall["macro_f1"], 5),
        "macro_f1_tail": None if tail is None else round(tail["macro_f1"], 5),
        "ece": round(calibration_error(confidence, predicted == truth), 5),
        "ece_by_chance": round(calibration_noise(confidence), 5),
        "offers_per_s": round(answers.offers_per_s, 1),
        "macro_f1_low": overall["low"],
        "macro_f1_high": overall["high"],
        "test_offers": len(truth),
        **more,
        **answers.facts,
    }
