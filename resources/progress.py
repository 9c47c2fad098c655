"""How a run shows how far it is: bars on a terminal, log lines in the Dagster UI."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from sortiment import progress as plain


class RateColumn(ProgressColumn):
    """Units per second so far, and the seconds that are left at that rate."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        if not task.completed or not elapsed:
            return Text("")
        rate = task.completed / elapsed
        unit = task.fields["unit"]
        if task.total is None or task.finished:
            return Text(f"{rate:,.0f} {unit}/s", style="cyan")
        return Text(f"{rate:,.0f} {unit}/s, {(task.total - task.completed) / rate:,.0f} s left", style="cyan")


class _BarStep:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self.bars, self.task = bars, task

    def advance(self, count: int = 1, note: str = "") -> None:
        self.bars.advance(self.task, count)
        if note:
            self.bars.update(self.task, note=note)


class TerminalProgress:
    """Rich bars. Where the output is no terminal (a pipe, a CI log), a line every few seconds instead."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def __call__(self, what: str, total: int | None = None, unit: str = "offers") -> Iterator[plain.Step]:
        if not self.console.is_terminal:
            with plain.LogProgress(lambda line: self.console.print(f"    {line}", highlight=False, markup=False))(
                what, total, unit
            ) as step:
                yield step
            return
        columns = [
            TextColumn("   "),
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}"),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        ]
        with Progress(*columns, console=self.console) as bars:
            task = bars.add_task(what, total=total, unit=unit, note="")
            yield _BarStep(bars, task)
            if total is None:
                bars.update(task, total=bars.tasks[task].completed or 1, completed=bars.tasks[task].completed or 1)


class ProgressResource(dg.ConfigurableResource[plain.Progress]):
    """style: `log` writes to the run's log, `terminal` draws bars on this process's terminal."""

    style: str = "log"

    def of(self, log: dg.DagsterLogManager) -> plain.Progress:
        if self.style == "terminal":
            return TerminalProgress(Console())
        return plain.LogProgress(log.info)
