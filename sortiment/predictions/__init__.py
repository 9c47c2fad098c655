"""Predictions: a champion's answers for a country's offers, or for any file."""

from sortiment.predictions.answering import Answers, Classifier
from sortiment.predictions.classifying import PREDICTIONS_FILE, PredictionReport, classify_offers

__all__ = ["PREDICTIONS_FILE", "Answers", "Classifier", "PredictionReport", "classify_offers"]
