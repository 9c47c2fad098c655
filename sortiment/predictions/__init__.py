"""Predictions: a champion's answers for a country's offers, or for anybody's file."""

from sortiment.predictions.answering import Answers, Classifier
from sortiment.predictions.classifying import CODE_VERSION, PREDICTIONS_FILE, PredictionReport, classify_offers
from sortiment.predictions.files import FileReport, classify_file
from sortiment.predictions.held_out import classify_held_out
from sortiment.predictions.listing import list_predictions, plan_predictions, read_predictions

__all__ = [
    "CODE_VERSION",
    "PREDICTIONS_FILE",
    "Answers",
    "Classifier",
    "FileReport",
    "PredictionReport",
    "classify_file",
    "classify_held_out",
    "classify_offers",
    "list_predictions",
    "plan_predictions",
    "read_predictions",
]
