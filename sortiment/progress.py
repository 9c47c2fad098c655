"""How long work tells a person how far it is: a count, a rate and an estimate, wherever it happens to run.

Stages take a `Progress` and never print. The terminal shows Rich bars, a Dagster run writes a log line every few
seconds, tests use `silent`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

SECONDS_BETWEEN_LOG_LINES = 5.0


class Step(Protocol):
    """One running piece of work."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` replaces the text behind the bar (for example the current loss)."""


class Progress(Protocol):
    """Opens steps: `with progress("distil", total=3000, unit="offers") as step: ...`."""

    def __call__(self, what: str, total: int | None = None, unit: str = "offers") -> AbstractContextManager[Step]: ...


class _SilentStep:
    def advance(self, count: int = 1, note: str = "") -> None:
        return None


@contextmanager
def silent(what: str, total: int | None = None, unit: str = "offers") -> Iterator[Step]:
    """A progress that shows nothing."""
    yield _SilentStep()


class _LogStep:
    def __init__(self, write: Callable[[str], None], what: str, total: int | None, unit: str) -> None:
        self.write, self.what, self.total, self.unit = write, what, total, unit
        self.done = 0
        self.note = ""
        self.started = self.last_line = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.note = note or self.note
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LOG_LINES:
            self.last_line = now
            self.write(self.line(now))

    def line(self, now: float) -> str:
        rate = self.done / max(now - self.started, 1e-9)
        text = f"{self.what}: {self.done:,}"
        if self.total:
            left = (self.total - self.done) / rate if rate > 0 else float("inf")
            text += f" of {self.total:,} {self.unit} ({self.done / self.total:.0%}), {rate:,.0f}/s, {left:,.0f} s left"
        else:
            text += f" {self.unit}, {rate:,.0f}/s"
        return f"{text}; {self.note}" if self.note else text


class LogProgress:
    """Writes a line every five seconds and one at the end, through any function of one string."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    @contextmanager
    def __call__(self, what: str, total: int | None = None, unit: str = "offers") -> Iterator[Step]:
        step = _LogStep(self.write, what, total, unit)
        yield step
        self.write(step.line(time.monotonic()))
