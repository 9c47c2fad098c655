"""Calling the distillation, shared by the tests of what it gives and of what it refuses."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sortiment.artifacts import file_sha256
from sortiment.encoders import FeatureCache
from sortiment.progress import Progress, silent
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
    features: FeatureCache | None = None,
    progress: Progress = silent,
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
        progress=progress,
        names=names,
        features=features,
    )


class Killed(Exception):
    """A run ends here, as by a kill: what is on disk is all that is left of it."""


def killed_after(offers: int) -> Progress:
    """A progress that kills the training after so many offers, or at its end where it does not come that far."""

    class Step:
        done = 0

        def advance(self, count: int = 1, note: str = "") -> None:
            self.done += count
            if self.done > offers:
                raise Killed

    @contextmanager
    def progress(what: str, total: int | None = None, unit: str = "offers") -> Iterator[Any]:
        if what != "distill the student":
            with silent(what, total, unit) as quiet:
                yield quiet
            return
        yield Step()
        raise Killed

    return progress


def hashes_of(folder: Path) -> dict[str, str]:
    """File to hash, of a whole folder."""
    return {str(file.relative_to(folder)): file_sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def market_of(samples: dict[str, Path], soft_labels: dict[str, Path], classes: list[str]) -> SimpleNamespace:
    return SimpleNamespace(samples=samples, soft_labels=soft_labels, classes=classes)
