"""Scores and decisions as the evaluation hands them over."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sortiment.blobs import LocalBlobs
from sortiment.release import Gate, ReleaseDecision, ReleaseLog

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def leaf(macro_f1: float, offers: int, half_width: float = 0.01) -> dict[str, float]:
    return {
        "offers": offers,
        "accuracy": macro_f1,
        "macro_f1": macro_f1,
        "low": macro_f1 - half_width,
        "high": macro_f1 + half_width,
    }


@pytest.fixture
def scores() -> Callable[..., dict[str, Any]]:
    """Builds one model's scores: overall macro-F1, and slices as `country="DE:0.8:400"`."""

    def build(macro_f1: float, offers: int = 2_000, half_width: float = 0.01, **slices: str) -> dict[str, Any]:
        built: dict[str, Any] = {"overall": leaf(macro_f1, offers, half_width)}
        for kind, text in slices.items():
            rows = [part.split(":") for part in text.split()]
            built[f"by_{kind}"] = {name: leaf(float(f1), int(count), 0.02) for name, f1, count in rows}
        return built

    return build


@pytest.fixture
def log(tmp_path: Path) -> ReleaseLog:
    return ReleaseLog(LocalBlobs(tmp_path))


@pytest.fixture
def passing() -> Callable[..., ReleaseDecision]:
    """A decision that passed; `against` the champion's version, None for a first release."""

    def build(against: str | None = None) -> ReleaseDecision:
        gate = Gate("support", "overall", 100, 100, None, 50, None, True, "100 test offers")
        return ReleaseDecision(passed=True, first=against is None, against=against, gates=(gate,))

    return build


@pytest.fixture
def refusing() -> ReleaseDecision:
    gate = Gate("support", "overall", 10, 10, None, 50, None, False, "10 test offers; at least 50 are needed")
    return ReleaseDecision(passed=False, first=True, against=None, gates=(gate,))


@pytest.fixture
def noon() -> datetime:
    return NOON
