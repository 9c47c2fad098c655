"""Rows as tables: means over seeds and how far the seeds are apart.

A terminal of 80 columns is wide enough for both tables: there headings and figures stand on two lines, and arms are
never cut.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from sortiment.quality.refusals import NO_TIME

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = (
    "",
    "seeds",
    "accuracy",
    "macro-F1",
    "of teacher",
    "tail macro-F1",
    "ECE",
    "by chance",
    "offers/s, one core",
)
UNKNOWN_HEADING = "unknown AUROC"
SHORT_HEADINGS = {
    "accuracy": "acc.",
    "macro-F1": "macro\nF1",
    "of teacher": "of\nteacher",
    "tail macro-F1": "tail\nF1",
    "by chance": "by\nchance",
    "offers/s, one core": "offers\n/s",
    UNKNOWN_HEADING: "unknown\nAUROC",
}
FLIPS_ARMS = 4  # side by side
LEADING_ZERO = re.compile(r"(?<!\d)0\.")
FIGURES = ("unknown_auroc", "accuracy", "macro_f1", "macro_f1_tail", "ece", "ece_by_chance", "offers_per_s")


@dataclass(frozen=True)
class Summary:
    """One arm over its seeds. means, spreads: by figure; a spread is the standard deviation, None of one seed.

    of_teacher: its macro-F1 over the teacher's, of the seeds that both have.
    """

    feed: str
    labels_per_class: int | None
    model: str
    seeds: tuple[int, ...]
    means: Mapping[str, float | None]
    spreads: Mapping[str, float | None]
    of_teacher: float | None


def summarize_rows(rows: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """One summary per feed, regime and arm, in the order in which they first appear."""
    groups: dict[tuple[str, int | None, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["feed"], row["labels_per_class"], name_of(row)), []).append(row)
    teachers = {
        (row["feed"], row["labels_per_class"], row["seed"]): row["macro_f1"]
        for row in rows
        if row["model"] == "teacher"
    }
    summaries = []
    for (feed, labels, model), members in groups.items():
        pairs = [(row["macro_f1"], teachers.get((feed, labels, row["seed"]))) for row in members]
        shared = [(own, teacher) for own, teacher in pairs if teacher]
        ratio = sum(own for own, _ in shared) / sum(teacher for _, teacher in shared) if shared else None
        figures = {name: [row[name] for row in members if row.get(name) is not None] for name in FIGURES}
        summaries.append(
            Summary(
                feed,
                labels,
                model,
                tuple(row["seed"] for row in members),
                {name: mean(values) if values else None for name, values in figures.items()},
                {name: stdev(values) if len(values) > 1 else None for name, values in figures.items()},
                ratio,
            )
        )
    return summaries


def name_of(row: Mapping[str, Any]) -> str:
    """The arm's name as people read it."""
    name = f"{row['model']}, {row['layers']} layers" if row["layers"] else str(row["model"])
    return f"{name}, hard labels" if row["distilled"] is False else name


def tabulate(rows: Sequence[Mapping[str, Any]]) -> Iterable["Table"]:
    """A table per feed and regime, for a terminal."""
    summaries = summarize_rows(rows)
    for feed, labels in dict.fromkeys((one.feed, one.labels_per_class) for one in summaries):
        members = [one for one in summaries if (one.feed, one.labels_per_class) == (feed, labels)]
        title = f"{feed}, {'all labels' if labels is None else f'{labels} labels a class'}"
        table = _open_table(title, [SHORT_HEADINGS.get(name, name) for name in headings_of(members)])
        for one in members:
            arm, *figures = cells_of(one)
            table.add_row(arm.replace(", hard", ",\nhard"), *map(_stack, figures))
        yield table


def headings_of(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """The columns of a table; one more where categories were left out."""
    left_out = any(one.means["unknown_auroc"] is not None for one in summaries)
    return (*HEADINGS, UNKNOWN_HEADING) if left_out else HEADINGS


def cells_of(one: Summary) -> list[str]:
    """A summary as text, a cell per column."""
    speed = one.means["offers_per_s"]
    cells = [
        one.model,
        str(len(one.seeds)),
        _figure(one, "accuracy"),
        _figure(one, "macro_f1"),
        "" if one.of_teacher is None else f"{one.of_teacher:.1%}",
        _figure(one, "macro_f1_tail"),
        _figure(one, "ece"),
        _chance(one.means["ece_by_chance"]),
        "" if speed is None else f"{speed:,.0f}",
    ]
    return cells if one.means["unknown_auroc"] is None else [*cells, _figure(one, "unknown_auroc")]


def tabulate_flips(rows: Sequence[Mapping[str, Any]]) -> Iterable["Table"]:
    """How often each arm's answer flips, by kind of change; means over seeds. A table per feed and four arms."""
    asked = [row for row in rows if row.get("flips")]
    for feed in dict.fromkeys(row["feed"] for row in asked):
        members = [row for row in asked if row["feed"] == feed]
        every = list(dict.fromkeys(name_of(row) for row in members))
        for arms in (every[start : start + FLIPS_ARMS] for start in range(0, len(every), FLIPS_ARMS)):
            title = f"{feed}, share of answers that flip"
            table = _open_table(title, ["", *(arm.replace(", ", ",\n") for arm in arms)])
            for kind in members[0]["flips"]:
                found = [[row["flips"][kind] for row in members if name_of(row) == arm] for arm in arms]
                table.add_row(kind, *(_rate([value for value in values if value is not None]) for values in found))
            yield table


def explain_skipped(skipped: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences: how many rows did not fit the budget, and why others cannot be measured."""
    groups = Counter((row["feed"], row["why"]) for row in skipped if row.get("why", NO_TIME) != NO_TIME)
    late = len(skipped) - groups.total()
    lines = [f"{_rows(count)} of {feed} left out: {why}" for (feed, why), count in groups.items()]
    return [*lines, f"{_rows(late)} did not fit the budget"] if late else lines


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _open_table(title: str, headings: Sequence[str]) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, show_edge=False, padding=0, title_justify="left")
    for name in headings:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    return table


def _stack(cell: str) -> str:
    """A figure over its spread, without leading zeros."""
    return LEADING_ZERO.sub(".", cell.replace(" ± ", "\n±"))


def _rate(values: Sequence[float]) -> str:
    return f"{mean(values):.1%}" if values else "–"


def _chance(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _figure(one: Summary, name: str) -> str:
    value, spread = one.means[name], one.spreads[name]
    if value is None:
        return ""
    return f"{value:.3f}" if spread is None else f"{value:.3f} ± {spread:.3f}"
