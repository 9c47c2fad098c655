"""The table at the end of the demo."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sortiment.report import parse_report
from sortiment.report.html import render_page
from sortiment.report.terminal import score_summary, summarize_report

MARKET = {"name": "[red]A market[/red]", "synthetic": False}


def printed(content: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(content)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_fits_the_terminal_and_holds_the_key_figures(report: dict[str, Any], width: int) -> None:
    text = printed(summarize_report(parse_report(report), Path("home/report.html")), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for expected in (
        "SYNTHETIC MARKET",
        "100,412",
        "0.862",
        "0.851",
        "0.849",
        "1,910",
        "$0.0148",
        "92.4%",
        "release 3",
    ):
        assert expected in text
    assert "neuronx-cc is not" in text
    assert "home/report.html" in text


def test_what_was_not_done_says_so_with_its_reason() -> None:
    report = parse_report(
        {"market": MARKET, "not_done": [{"what": "Drift", "why": "no second feed", "section": "drift"}]}
    )
    text = printed(summarize_report(report), 80)
    assert "not done" in text
    assert "no second feed" in text


def test_mapped_columns_that_no_row_fills_are_told() -> None:
    market = {**MARKET, "empty_columns": {"shop": ["brand", "category"]}}
    text = printed(summarize_report(parse_report({"market": market}), Path("r.html")), 120)
    assert "columns no row fills" in text and "shop: brand, category" in text


def test_names_are_not_taken_for_markup() -> None:
    assert "[red]A market[/red]" in printed(summarize_report(parse_report({"market": MARKET})), 80)


def test_the_score_table_has_a_row_per_country_and_feed(report: dict[str, Any]) -> None:
    text = printed(score_summary(parse_report(report)), 80)
    assert all(f" {name} " in text for name in ("DE", "GB", "second_day", "all"))


def test_a_drift_that_was_not_found_says_why_instead_of_scores() -> None:
    drift = {"partition": "GB|toys", "scenario": "new_vocabulary", "before": 0.8, "why": "not judged: 5 new offers"}
    content = {"market": MARKET, "drift": drift}
    text = printed(summarize_report(parse_report(content)), 100)
    assert "not found" in text and "GB|toys: not judged: 5 new offers" in text
    assert "not judged: 5 new offers" in render_page(parse_report(content))


def test_the_summary_names_feed_files_that_were_left_out() -> None:
    row = {"source_file": "day-2.parquet", "feed": "shop", "problem": "it is cut off"}
    report = parse_report({"market": MARKET, "quarantine": {"rows": 0, "left_out": [row]}})
    text = printed(summarize_report(report, Path("report.html")), 120)
    assert "files left out" in text and "cannot be read: day-2.parquet" in text
