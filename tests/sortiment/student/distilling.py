"""Calling the distillation, shared by the tests of what it gives and of what it refuses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sortiment.progress import silent
from sortiment.settings import StudentSettings
from sortiment.student import StudentReport, distill_student
from sortiment.teacher import CategoryNames


def distill(
    market: Any,
    encoder: Path,
    settings: StudentSettings,
    out: Path,
    start_from: Path | None = None,
    changed: list[str] | None = None,
    names: CategoryNames | None = None,
) -> StudentReport:
    return distill_student(
        market.samples,
        market.soft_labels,
        market.classes,
        encoder,
        settings,
        out,
        start_from=start_from,
        changed=changed,
        progress=silent,
        names=names,
    )


def market_of(samples: dict[str, Path], soft_labels: dict[str, Path], classes: list[str]) -> SimpleNamespace:
    return SimpleNamespace(samples=samples, soft_labels=soft_labels, classes=classes)
