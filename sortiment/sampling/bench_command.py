"""The command `sortiment bench sampling`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from sortiment.errors import SettingsError
from sortiment.markdown import write_figures
from sortiment.misfits import list_misfits
from sortiment.progress import LogProgress
from sortiment.sampling.bench import FEED_ROWS, BenchResult, run_bench
from sortiment.sampling.bench_figures import describe_window, format_figures
from sortiment.sampling.bench_generated import INCREMENT_SHARE, OFFER_BYTES
from sortiment.settings import SamplingSettings


def sampling(
    rows: Annotated[
        float, typer.Option(help=f"Offers to generate, such as 1e6; about {OFFER_BYTES} bytes of disk each.")
    ] = 1e6,
    zipf: Annotated[float, typer.Option(min=0.0, max=3.0, help="Exponent of the category sizes.")] = 1.0,
    categories: Annotated[int, typer.Option(min=1, max=1_000_000, help="Categories of the market.")] = 3_000,
    per_category: Annotated[int, typer.Option(min=1, help="Offers asked of a category.")] = 200,
    parts: Annotated[int | None, typer.Option(min=1, help="Files; default one per million rows.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of every measurement.")] = 2,
    memory_mb: Annotated[int, typer.Option(min=64, help="DuckDB's memory limit for the window functions.")] = 1_000,
    window: Annotated[bool, typer.Option(help="Run the window functions too; the slowest part.")] = True,
    feeds: Annotated[
        bool | None,
        typer.Option(help=f"Load the offers from feed files too; default up to {FEED_ROWS:,} rows, it takes long."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the offers and of the draw.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Where all is written, but for what --keep keeps; default the temporary folder.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the generated offers in this folder, and find them there again.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plot_path: Annotated[Path | None, typer.Option("--plot", help="Draw the seconds here (png, svg or pdf).")] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", help="Compute nothing: write the tables of --json into this Markdown page."),
    ] = None,
) -> None:
    """Sampling at scale beside a full read, a census, a window function, pandas and polars."""
    if not 1 <= rows <= 1e10 or rows != int(rows):
        raise typer.BadParameter("a whole number from 1 to 1e10", param_hint="--rows")
    if figures is not None:
        if json_path is None:
            raise SettingsError("figures come from a JSON file", allowed="--json PATH --figures PAGE")
        write_figures(json_path, figures, format_figures)
        return
    console = Console()
    result = run_bench(
        int(rows),
        now=datetime.now(UTC),
        zipf=zipf,
        categories=categories,
        parts=parts,
        settings=_open_settings(seed=seed, per_category=per_category),
        threads=threads,
        memory_mb=memory_mb,
        window=window,
        feeds=feeds,
        seed=seed,
        folder=folder,
        keep=keep,
        json_path=json_path,
        plot_path=plot_path,
        progress=LogProgress(lambda line: console.print(f"[dim]{line}[/]", highlight=False)),
    )
    show_result(result, console)


def _open_settings(**knobs: int) -> SamplingSettings:
    """Raises SettingsError naming the first option that is out of its knob's bounds."""
    try:
        return SamplingSettings(**knobs)
    except ValidationError as error:
        misfit = list_misfits(error, SamplingSettings)[0]
        option = f"--{misfit.where.replace('_', '-')}"
        raise SettingsError(
            f"{option} is out of its bounds",
            value=misfit.seen,
            allowed=misfit.allowed,
            fix=f"pass another {option}",
        ) from error


def _rows_of(measurement: str, result: BenchResult) -> int:
    """How many offers it took in."""
    if measurement.endswith("shops"):
        return int(result.rows * INCREMENT_SHARE)
    return result.rows // result.arguments["parts"] if measurement == "one part again" else result.rows


def show_result(result: BenchResult, console: Console) -> None:
    """One table of everything measured, then the figures that count."""
    table = Table(title=f"{result.rows:,} offers, {result.arguments['parts']} parts")
    for name in ("", "seconds", "CPU seconds", "rows/s", "peak MB", "GB read"):
        table.add_column(name, justify="right" if name else "left")
    for name, found in result.measured.items():
        note = " (out of memory)" if found.get("out_of_memory") else " (stopped)" if found.get("stopped") else ""
        read = found.get("bytes_read")
        table.add_row(
            name + note,
            f"{found['seconds']:.2f}",
            f"{found['cpu_s']:.2f}" if "cpu_s" in found else "",
            "" if note else f"{_rows_of(name, result) / found['seconds']:,.0f}",
            f"{found['peak_rss_mb']:,.0f}" if "peak_rss_mb" in found else "",
            "" if read is None else f"{read / 1e9:.2f}",
        )
    console.print(table)
    console.print(
        f"sample / full read  {result.sample_over_full_read:.2f}, with the indexes that the loader writes "
        f"{result.sample_and_index_over_full_read:.2f}"
    )
    console.print(
        f"one percent more    {result.increment_share:.1%} of the first run, index and samples on both sides; without "
        f"indexes {result.increment_without_indexes_share:.1%}, without samples "
        f"{result.increment_of_state_with_index_share:.1%}, the state alone {result.increment_of_state_share:.1%} "
        "(of new and of known shops, the costlier)"
    )
    if result.increment_from_feeds_share is not None:
        console.print(f"... from feed files {result.increment_from_feeds_share:.1%}, loading on both sides")
    console.print(
        f"window functions    {describe_window(result.measured)}; for the same offers, with "
        f"{result.arguments['memory_mb']:,} MB"
    )
    console.print(f"peak memory         {result.peak_rss_mb:,.0f} MB")
    console.print(
        f"extrapolated, not measured: 4.5 billion offers in {result.extrapolated_sample_s / 60:,.0f} minutes "
        "on this machine, if time stays proportional to rows"
    )
