"""`sortiment release list | show | promote | rollback`: read the release log, overrule it, undo it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sortiment.errors import ReleaseError
from sortiment.release.events import ReleaseEvent, parse_model
from sortiment.release.log import ReleaseLog

STYLE = {"promote": "green", "rollback": "yellow", "refuse": "red"}

Version = Annotated[str, typer.Argument(help="Model version, or its first digits, as `release list` shows it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the log for ever.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def release_commands(
    open_log: Callable[[typer.Context], ReleaseLog],
    now: Callable[[], datetime],
    who: Callable[[], str],
    console: Console | None = None,
) -> typer.Typer:
    """The commands over whatever log `open_log` finds for a call; `who` names the person in the log."""
    out = console or Console()
    commands = typer.Typer(help="What is live, what was, why, and how to undo it.", no_args_is_help=True)

    @commands.command("list")
    def list_releases(context: typer.Context) -> None:
        """Every promotion, rollback and refusal, newest first."""
        log = open_log(context)
        events, champion = log.events(), log.champion()
        if not events:
            out.print("Nothing was released yet: `sortiment demo` makes a first release.")
            return
        out.print(_events_table(events, champion.number if champion else 0))

    @commands.command("show")
    def show_release(context: typer.Context, number: Annotated[int, typer.Argument(help="Of `release list`.")]) -> None:
        """One release: its artifacts and every gate with its numbers."""
        events = _released(open_log(context))
        if not 1 <= number <= len(events):
            raise ReleaseError("no such release", value=number, allowed=f"1 to {len(events)}")
        event = events[number - 1]
        out.print(_event_table(event))
        if event.decision is not None:
            out.print(_gates_table(event.decision))

    @commands.command("promote")
    def promote(
        context: typer.Context,
        version: Version,
        reason: Reason,
        kept: Annotated[
            Path | None,
            typer.Option("--from", help="champion.json, or a release's file, of a damaged log that was moved aside."),
        ] = None,
        yes: Yes = False,
    ) -> None:
        """Put a known model live by hand, whatever the gates said."""
        log = open_log(context)
        champion = log.champion()
        if kept is None:
            full, artifacts = _complete(version, _versions(_released(log))), None
        else:
            named, artifacts = _read_model(kept)
            full = _complete(version, [named])
        if not yes:
            typer.confirm(f"{champion.model_version if champion else 'no champion'} -> {full}?", abort=True)
        out.print(_event_table(log.promote_by_hand(full, now(), who(), reason, artifacts)))

    @commands.command("rollback")
    def rollback(
        context: typer.Context,
        reason: Reason,
        to: Annotated[str | None, typer.Option("--to", help="An earlier champion; without it, the last one.")] = None,
        yes: Yes = False,
    ) -> None:
        """Put the champion before the current one back in its place."""
        log = open_log(context)
        events = _released(log)
        full = None if to is None else _complete(to, _versions(events))
        champion = log.champion()
        if not yes:
            live = champion.model_version if champion else "no champion"
            typer.confirm(f"Take {live} down and put {full or 'the one before it'} back?", abort=True)
        out.print(_event_table(log.rollback(now(), who(), reason, to=full)))

    return commands


def _released(log: ReleaseLog) -> list[ReleaseEvent]:
    """The log's events. Raises ReleaseError where there are none: before anything is asked of anybody."""
    events = log.events()
    if not events:
        raise ReleaseError(
            "nothing was released yet", allowed="a market with a release", fix="`sortiment demo` makes a first release"
        )
    return events


def _events_table(events: list[ReleaseEvent], live: int) -> Table:
    table = Table(title="Releases", caption="* is live")
    for column in ("", "#", "action", "model", "instead of", "at (UTC)", "by", "reason"):
        table.add_column(column, overflow="fold")
    for event in reversed(events):
        table.add_row(
            "*" if event.number == live else "",
            str(event.number),
            f"[{STYLE[event.action]}]{event.action}[/]",
            event.model_version,
            event.previous or "",
            event.at.removesuffix("+00:00"),
            escape(event.by),
            escape(event.reason),
        )
    return table


def _event_table(event: ReleaseEvent) -> Table:
    table = Table(title=f"Release {event.number}: {event.action}", show_header=False)
    rows = {
        "model": event.model_version,
        "instead of": event.previous or "nothing",
        "at": event.at,
        "by": escape(event.by),
        "reason": escape(event.reason),
        **{f"artifact {name}": version for name, version in sorted(event.artifacts.items())},
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _gates_table(decision: dict[str, Any]) -> Table:
    table = Table(title="Gates: passed" if decision["passed"] else "Gates: refused")
    for column in ("gate", "slice", "offers", "challenger", "compared with", "limit", "p", "", "why"):
        table.add_column(column, overflow="fold")
    for gate in decision["gates"]:
        table.add_row(
            gate["gate"],
            gate["slice"],
            f"{gate['offers']:,}",
            _figure(gate["challenger"]),
            _figure(gate["champion"]),
            _figure(gate["limit"]),
            _figure(gate["p_value"]),
            "[green]passed[/]" if gate["passed"] else "[red]refused[/]",
            gate["why"],
        )
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if isinstance(value, int) else f"{value:.4f}"


def _read_model(file: Path) -> tuple[str, dict[str, str]]:
    """A model's version and artifacts from a file of a release log. Raises ReleaseError where it is not one."""
    found = parse_model(file.read_bytes()) if file.is_file() else None
    if found is None:
        raise ReleaseError(
            "no model can be read from this file",
            value=str(file),
            allowed="champion.json, or a release such as 000001.json, of the folder `releases` that was moved aside",
        )
    return found


def _versions(events: list[ReleaseEvent]) -> list[str]:
    return sorted({event.model_version for event in events})


def _complete(version: str, known: list[str]) -> str:
    """The one model version that starts so. Raises ReleaseError where none or several do."""
    found = [name for name in known if name.startswith(version)]
    if version in known:
        return version
    if len(found) != 1:
        raise ReleaseError(
            "no model of the log is meant by this" if not found else "several models of the log start so",
            value=version,
            allowed=", ".join(found or known) or "nothing was released yet",
        )
    return found[0]
