"""Evaluation: what each model answers on the test offers, and how good that is."""

from sortiment.evaluation.answers import (
    ANSWERS_FILE,
    answer_test_offers,
    models_of,
    read_answers,
    score_answers,
    write_answers,
)
from sortiment.evaluation.confusions import Confusion, find_worst_confusions
from sortiment.evaluation.hierarchy import hierarchical_f1
from sortiment.evaluation.probabilities import (
    Agreement,
    ReliabilityBin,
    calibration_error,
    compare_models,
    reliability,
    top_accuracy,
)
from sortiment.evaluation.scores import OVERALL, Leaf, macro_f1, score

CODE_VERSION = "1"

__all__ = [
    "ANSWERS_FILE",
    "CODE_VERSION",
    "OVERALL",
    "Agreement",
    "Confusion",
    "Leaf",
    "ReliabilityBin",
    "answer_test_offers",
    "calibration_error",
    "compare_models",
    "find_worst_confusions",
    "hierarchical_f1",
    "macro_f1",
    "models_of",
    "read_answers",
    "reliability",
    "score",
    "score_answers",
    "top_accuracy",
    "write_answers",
]
