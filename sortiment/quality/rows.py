"""From answers to a row of the bench's table."""

from typing import Any

import numpy as np
import pyarrow as pa

from sortiment.evaluation import OVERALL, calibration_error, score
from sortiment.quality.answering import Answers
from sortiment.quality.arms import Task
from sortiment.settings import EvaluationSettings

TAIL = "tail"


def score_row(task: Task, test: pa.Table, answers: Answers, settings: EvaluationSettings) -> dict[str, Any]:
    """One row. Macro-F1 is `sortiment.evaluation`'s: the mean over the categories that occur among the test offers.

    macro_f1_tail: the same over the test offers of tail categories (the smallest, which together hold a tenth of the
    feed's labelled offers); None where no test offer is in one. macro_f1_low, macro_f1_high: 95 % bootstrap interval
    over test offers. ece: calibration error over 15 bins. offers_per_s: on one core, from text to category.
    """
    truth = np.array(test["category_id"].to_pylist(), object)
    scores = score(truth, answers.predicted, {"slice": test["slice"].to_pylist()}, settings)
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
        "ece": round(calibration_error(answers.confidence, answers.predicted == truth), 5),
        "offers_per_s": round(answers.offers_per_s, 1),
        "macro_f1_low": overall["low"],
        "macro_f1_high": overall["high"],
        "test_offers": len(truth),
        **answers.facts,
    }
