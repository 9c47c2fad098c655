"""Release: gates between a challenger and the champion's place, and the log of everything that was live."""

from sortiment.release.events import Champion, ReleaseEvent
from sortiment.release.gates import Gate, ReleaseDecision, decide_release
from sortiment.release.judging import judge_answers
from sortiment.release.log import ReleaseLog
from sortiment.release.pairing import PairedFall, Parity, measure_fall, measure_parity

CODE_VERSION = "1"
"""Raise it when the same answers and settings would give another decision."""

__all__ = [
    "CODE_VERSION",
    "Champion",
    "Gate",
    "PairedFall",
    "Parity",
    "ReleaseDecision",
    "ReleaseEvent",
    "ReleaseLog",
    "decide_release",
    "judge_answers",
    "measure_fall",
    "measure_parity",
]
