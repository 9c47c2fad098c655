"""Release: gates between a challenger and the champion's place, and the log of everything that was live."""

from sortiment.release.events import Champion, ReleaseEvent
from sortiment.release.gates import Gate, ReleaseDecision, decide_release
from sortiment.release.log import ReleaseLog
from sortiment.release.pairing import PairedFall, Parity, measure_fall, measure_parity

__all__ = [
    "Champion",
    "Gate",
    "PairedFall",
    "Parity",
    "ReleaseDecision",
    "ReleaseEvent",
    "ReleaseLog",
    "decide_release",
    "measure_fall",
    "measure_parity",
]
