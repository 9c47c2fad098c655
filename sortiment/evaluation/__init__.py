"""Evaluation: what each model answers on the test offers, and how good that is."""

from sortiment.evaluation.answers import (
    ANSWERS_FILE,
    answer_test_offers,
    models_of,
    read_answers,
    score_answers,
    write_answers,
)
from sortiment.evaluation.behaviour import KINDS, failed_kinds, measure_behaviour, read_test_offers
from sortiment.evaluation.confusions import Confusion, find_worst_confusions
from sortiment.evaluation.dimensions import DIMENSIONS
from sortiment.evaluation.hierarchy import hierarchical_f1
from sortiment.evaluation.measures import Measures, bin_answers, measure_answers
from sortiment.evaluation.probabilities import (
    Agreement,
    ReliabilityBin,
    calibration_error,
    calibration_noise,
    compare_models,
    reliability,
    top_accuracy,
)
from sortiment.evaluation.scores import OVERALL, Leaf, macro_f1, score
from sortiment.evaluation.unknown import area_under_roc, score_unknown

CODE_VERSION = "3"

__all__ = [
    "ANSWERS_FILE",
    "CODE_VERSION",
    "DIMENSIONS",
    "KINDS",
    "OVERALL",
    "Agreement",
    "Confusion",
    "Leaf",
    "Measures",
    "ReliabilityBin",
    "answer_test_offers",
    "area_under_roc",
    "bin_answers",
    "calibration_error",
    "calibration_noise",
    "compare_models",
    "failed_kinds",
    "find_worst_confusions",
    "hierarchical_f1",
    "macro_f1",
    "measure_answers",
    "measure_behaviour",
    "models_of",
    "read_answers",
    "read_test_offers",
    "reliability",
    "score",
    "score_answers",
    "score_unknown",
    "top_accuracy",
    "write_answers",
]
