"""Drift: which slices have changed since the champion was released, beyond chance, and what to do about it.

Importing this is cheap; Evidently is imported when a page is written.
"""

from sortiment.drift.decision import Relabelling, Retraining, partitions_to_relabel, retraining_due
from sortiment.drift.measuring import CODE_VERSION, measure_drift
from sortiment.drift.report import DriftReport, DriftSignal, SliceDrift, read_report
from sortiment.drift.sides import DriftSide

__all__ = [
    "CODE_VERSION",
    "DriftReport",
    "DriftSide",
    "DriftSignal",
    "Relabelling",
    "Retraining",
    "SliceDrift",
    "measure_drift",
    "partitions_to_relabel",
    "read_report",
    "retraining_due",
]
