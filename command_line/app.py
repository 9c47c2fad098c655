"""All commands in one place; each command's module is imported when it is called."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from resources.profiles import Profile, read_profile
from sortiment import __version__
from sortiment.errors import SortimentError

app = typer.Typer(
    name="sortiment",
    help="Puts every shop offer into its catalog category. Home: $SORTIMENT_HOME, or .sortiment here.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
release = typer.Typer(help="The release log: what is live, what was, and how to go back.", no_args_is_help=True)
bench = typer.Typer(
    help="Measures this machine; every figure in the docs comes from one of these.", no_args_is_help=True
)
app.add_typer(release, name="release")
app.add_typer(bench, name="bench")

MarketOption = Annotated[str | None, typer.Option("--market", help="A market of the home; default the last one.")]


def main() -> None:
    """Run the command; an error of ours is four facts on the terminal and exit code 1, never a traceback."""
    try:
        app()
    except SortimentError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]{type(error).__name__}[/]: {_plain(error.what)}", highlight=False)
        for name, text in (("seen", error.value), ("allowed", error.allowed), ("to do", error.fix)):
            if text:
                console.print(f"  [dim]{name:>8}[/]  {_plain(str(text))}", highlight=False)
        sys.exit(1)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


@app.callback()
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"sortiment {__version__}")
        raise typer.Exit()


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

    run_demo(read_profile(), feed or [], fresh, settings)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 3000,
    market: MarketOption = None,
) -> None:
    """The Dagster UI on what the demo made."""
    from command_line.ui import open_ui

    open_ui(read_profile(market=market), port)


@app.command()
def classify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Offers: CSV, JSONL or Parquet, also .gz or .zst.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Parquet to write.")],
    market: MarketOption = None,
) -> None:
    """Put the offers of a file into categories with the released champion."""
    from command_line.classify import classify_with_champion

    classify_with_champion(read_profile(market=market), source, target)


@app.command()
def doctor() -> None:
    """What this machine can and cannot do, and the command that mends it."""
    from command_line.doctor import examine

    examine(read_profile())


def opened(market: str | None) -> Profile:
    """The profile of a market that exists."""
    return read_profile(market=market)
