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
from sortiment.evaluation.scores import OVERALL, Leaf, macro_f1, score

CODE_VERSION = "1"

__all__ = [
    "ANSWERS_FILE",
    "CODE_VERSION",
    "OVERALL",
    "Confusion",
    "Leaf",
    "answer_test_offers",
    "find_worst_confusions",
    "macro_f1",
    "models_of",
    "read_answers",
    "score",
    "score_answers",
    "write_answers",
]
