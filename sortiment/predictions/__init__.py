"""Predictions: a champion's answers for a country's offers, or for anybody's file."""

from sortiment.predictions.answering import Answers, Classifier
from sortiment.predictions.classifying import PREDICTIONS_FILE, PredictionReport, classify_offers
from sortiment.predictions.files import FileReport, classify_file

__all__ = [
    "PREDICTIONS_FILE",
    "Answers",
    "Classifier",
    "FileReport",
    "PredictionReport",
    "classify_file",
    "classify_offers",
]
