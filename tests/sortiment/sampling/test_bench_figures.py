"""What the bench says of a measurement that did not end: that it did not, and what is known all the same."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sortiment.sampling.bench import BenchResult, sum_up
from sortiment.sampling.bench_command import show_result
from sortiment.sampling.bench_figures import describe_window, draw_plot, format_figures

WINDOWS = "windows, same offers"
SAMPLE = {"seconds": 10.0, "state_s": 6.0, "draw_s": 4.0, "peak_rss_mb": 100.0, "cpu_s": 9.0, "rows": 500}
READS = [f"full read{when}, {way}" for when in ("", " again") for way in ("Arrow", "DuckDB")]
GROWN = [f"{what}, {of} shops" for what in ("index", "one percent") for of in ("new", "known")]
MEASURED = dict.fromkeys([*READS, *GROWN, "index", "census", "sample"], SAMPLE)
ARGUMENTS = {"parts": 1, "categories": 20, "shops": 50, "threads": 1, "memory_mb": 1_000}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"seconds": 200.0, "stopped": True}, "stopped after 200 s: at least 20.0 times the sample"),
        ({"seconds": 25.0, "out_of_memory": True}, "out of memory, after 2.5 times the sample"),
        ({"seconds": 25.0, "out_of_memory": False}, "2.5 times the sample"),
        (None, "not run"),
    ],
)
def test_windows_that_were_stopped_or_ran_out_of_memory_are_not_told_like_those_that_ended(
    found: dict[str, Any] | None, said: str
) -> None:
    assert describe_window({"sample": SAMPLE} | ({} if found is None else {WINDOWS: found})) == said


@pytest.mark.parametrize(
    ("found", "flags"),
    [
        ({"seconds": 200.0, "stopped": True}, (True, False)),
        ({**SAMPLE, "seconds": 25.0, "out_of_memory": True}, (False, True)),
    ],
)
def test_windows_that_did_not_end_have_a_flag_in_the_json_and_no_rows_a_second(
    found: dict[str, Any], flags: tuple[bool, bool], tmp_path: Path
) -> None:
    result = sum_up(1_000, {**MEASURED, WINDOWS: found}, ARGUMENTS, datetime(2026, 1, 1, tzinfo=UTC))
    content = result.content()
    assert (content["window_stopped"], content["window_out_of_memory"]) == flags
    told = describe_window(result.measured)
    assert f"| windows for the same offers | 5 times slower, or out of memory | {told} |" in format_figures(content)
    shown = show(result)
    assert told in shown
    assert (rate_of(WINDOWS, shown), rate_of("sample", shown)) == ("", "100")
    draw_plot(content, tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert ("stopped" if flags[0] else "out of memory") in drawn and " 0 MB" not in drawn


def test_windows_that_ended_have_no_flag_and_their_rows_a_second() -> None:
    measured = {**MEASURED, WINDOWS: {**SAMPLE, "seconds": 25.0, "out_of_memory": False}}
    result = sum_up(1_000, measured, ARGUMENTS, datetime(2026, 1, 1, tzinfo=UTC))
    assert (result.window_stopped, result.window_out_of_memory, result.window_s) == (False, False, 25.0)
    assert rate_of(WINDOWS, show(result)) == "40"


def show(result: BenchResult) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        show_result(result, console)
    return captured.get()


def rate_of(name: str, shown: str) -> str:
    """The cell of rows/s in the row of a measurement."""
    (row,) = (line for line in shown.splitlines() if line.startswith(f"│ {name}") and f"{name}," not in line)
    return row.split("│")[4].strip()
