"""What a terminal of 80 columns shows of the rows."""

from typing import Any

import pytest
from rich.console import Console

from sortiment.quality.arms import MODELS, choose_arms
from sortiment.quality.markdown import format_figures
from sortiment.quality.refusals import NO_TIME
from sortiment.quality.tables import explain_skipped, tabulate, tabulate_flips

COLUMNS = 80


def rows_of(**more: Any) -> list[dict[str, Any]]:
    """Every arm over two seeds, its figures as wide as they come."""
    return [
        {
            "feed": "amazon_uk_toys", "labels_per_class": None, "seed": seed,
            "model": arm.model, "layers": arm.layers, "distilled": arm.distilled,
            "accuracy": 0.751 + seed / 10, "macro_f1": 0.521 + seed / 10, "macro_f1_tail": 0.404 + seed / 10,
            "ece": 0.027 + seed / 10, "ece_by_chance": 0.025, "offers_per_s": 350_707.0, **more,
        }
        for arm in choose_arms(MODELS, [3, 12])
        for seed in (0, 1)
    ]  # fmt: skip


def printed(tables: Any) -> str:
    console = Console(width=COLUMNS, record=True)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return captured.get()


@pytest.mark.parametrize("more", [{}, {"unknown_auroc": 0.812}])
def test_at_80_columns_no_heading_no_figure_and_no_arm_is_cut(more: dict[str, Any]) -> None:
    text = printed(tabulate(rows_of(**more)))
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= COLUMNS
    lines = [line.strip() for line in text.splitlines()]
    for arm in ("teacher", "tfidf", "fast ", "fasttext", "student, 3 layers ", "student, 12 layers "):
        assert sum(line.startswith(arm) for line in lines) == 1, arm
    assert sum(line.startswith("hard labels") for line in lines) == 3
    assert ".801" in text and "±.071" in text and "350,707" in text
    assert ("AUROC" in text) == bool(more)


def test_at_80_columns_each_arms_flips_stand_under_its_whole_name() -> None:
    kinds = {"umlauts as two letters": 0.125, "very long title": None}
    text = printed(tabulate_flips(rows_of(flips=kinds)))
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= COLUMNS
    assert text.count("hard labels") == 3 and text.count("12 layers") == 2
    assert text.count("12.5%") == 9


def test_what_was_left_out_is_said_by_reason() -> None:
    rows = [
        {"feed": "toys", "why": NO_TIME},
        {"feed": "toys", "why": "too small"},
        {"feed": "toys", "why": "too small"},
    ]
    lines = ["2 rows of toys left out: too small", "1 row did not fit the budget"]
    assert explain_skipped(rows) == lines
    assert explain_skipped([{"feed": "toys"}]) == ["1 row did not fit the budget"]  # of a JSON from before
    content = {"rows": [], "skipped": rows, "machine": "m", "encoder": "e", "inputs": ["title"]}
    assert format_figures(content).endswith("\n\n".join(f"{line}." for line in lines))
