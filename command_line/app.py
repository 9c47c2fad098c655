"""All commands in one place; each command's module is imported when it is called."""

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from command_line.many_values import ManyValuesCommand
from command_line.quality import quality
from sortiment import __version__
from sortiment.errors import SettingsError, SortimentError
from sortiment.release.command import release_commands
from sortiment.sampling.bench_command import sampling

if TYPE_CHECKING:
    from resources.profiles import Profile
    from sortiment.release import ReleaseLog

MarketOption = Annotated[str | None, typer.Option("--market", help="A market of the home; default the last one.")]

app = typer.Typer(
    name="sortiment",
    help="Puts every shop offer into its catalog category. Home: $SORTIMENT_HOME, or .sortiment here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(
    help="Measure this machine; every figure in the docs comes from one of these.", no_args_is_help=True
)


def main() -> None:
    """Run the command; an error of ours is four facts on the terminal and exit code 1, never a traceback."""
    try:
        app()
    except SortimentError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]{type(error).__name__}[/]: {escape(error.what)}", highlight=False)
        for name, text in (("seen", error.seen), ("allowed", error.allowed), ("to do", error.fix)):
            if text:
                console.print(f"  [dim]{name:>8}[/]  {escape(text)}", highlight=False)
        sys.exit(1)


def _open(market: str | None = None) -> "Profile":
    """The profile. Raises SettingsError where a market is asked for that the home does not have (S3 may have it)."""
    from resources.profiles import read_profile

    profile = read_profile(market=market)
    if market is not None and profile.s3_root is None and not profile.market_folder.is_dir():
        raise SettingsError(
            "there is no such market in the home",
            value=market,
            allowed=", ".join(profile.markets()) or "none yet",
            fix=f"one of those, or another SORTIMENT_HOME (now {profile.home})",
        )
    return profile


def _open_log(context: typer.Context) -> "ReleaseLog":
    from sortiment.release import ReleaseLog

    return ReleaseLog(_open(context.obj).storage().blobs)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sortiment {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Puts every shop offer into its catalog category. Home: $SORTIMENT_HOME, or .sortiment here."""


@app.command()
def demo(
    feed: Annotated[
        list[Path] | None, typer.Option("--feed", help="A feed spec (repeatable); default the synthetic market.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="A YAML file of stage settings that replace the demo's.")
    ] = None,
) -> None:
    """The whole loop: feeds, sample, teacher, student, int8, release, drift, retraining, report."""
    from demo.run import run_demo

    run_demo(_open(), feed or [], fresh, settings)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 3000,
    market: MarketOption = None,
) -> None:
    """The Dagster UI on what the demo made."""
    from command_line.ui import open_ui

    open_ui(_open(market), port)


@app.command()
def classify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Offers: CSV, JSONL or Parquet, also .gz or .zst.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Parquet to write.")],
    country: Annotated[str | None, typer.Option(help="The offers' country, where the file does not say it.")] = None,
    title: Annotated[str | None, typer.Option(help="The title's column, where its name does not tell.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV file, where the header does not tell.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a text file that is neither UTF-8 nor Windows-1252 nor has a mark.")
    ] = None,
    market: MarketOption = None,
) -> None:
    """Put the offers of a file into categories with the released champion."""
    from command_line.classify import classify_with_champion

    classify_with_champion(_open(market), source, target, country, title, delimiter, encoding)


@app.command()
def doctor() -> None:
    """What this machine can and cannot do, and the command that mends it."""
    from command_line.doctor import examine

    examine(_open())


release = release_commands(_open_log, now=lambda: datetime.now(UTC), who=getpass.getuser)


@release.callback()
def choose_market(context: typer.Context, market: MarketOption = None) -> None:
    """The release log: what is live, what was, why, and how to undo it."""
    context.obj = market


app.add_typer(release, name="release")
app.add_typer(bench, name="bench")
bench.command("sampling")(sampling)
bench.command("quality", cls=ManyValuesCommand)(quality)
