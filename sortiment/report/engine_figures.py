"""Figures of speed and money: engines, instances, and encoders on both at once."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sortiment.report.data_figures import _plain_log_ticks
from sortiment.report.label_places import place_labels
from sortiment.report.numbers import number_text
from sortiment.report.rows import CostRow, RankingRow, SpeedRow, read_rows
from sortiment.report.style import (
    AXIS,
    BLUE,
    GRAY,
    GREEN,
    HATCHES,
    INK,
    MUTED,
    SURFACE,
    WIDE_INCHES,
    add_legend,
    bare_figure,
    describe,
    dress_rows,
    in_house_style,
    new_figure,
    short_number,
    short_text,
    short_usd,
    show_grid,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOG_FROM_RATIO = 30


def basis_of(source: str) -> str:
    """measured, published or estimated: the first word of a source; a source without it counts as estimated."""
    first = source.split(maxsplit=1)[0].strip(":,;").lower() if source.split() else ""
    return first if first in HATCHES else "estimated"


@in_house_style
def plot_speed(rows: Sequence[SpeedRow | Mapping[str, Any]]) -> "Figure":
    """Offers per second by engine, end to end; a tick where the model alone would be; times the naive baseline."""
    name, title = "speed", "Offers per second by engine, end to end"
    engines = [row for row in read_rows(SpeedRow, rows) if row.offers_per_s]
    engines.sort(key=lambda row: (-(row.offers_per_s or 0), row.engine))
    if not engines:
        return bare_figure(name, title, "No engine was timed.")
    values = [row.offers_per_s or 0.0 for row in engines]
    figure = new_figure(name, title, 0.34 * len(engines) + 0.75, WIDE_INCHES)
    axes = figure.add_subplot()
    bases = [basis_of(row.source) for row in engines]
    left = _draw_value_bars(axes, values, bases, [BLUE] * len(engines))
    alone = [(row.model_offers_per_s, place) for place, row in enumerate(engines) if row.model_offers_per_s]
    handles, labels = _basis_handles(bases)
    if alone:
        ticks = axes.scatter([x for x, _ in alone], [y for _, y in alone], s=90, marker="|", color=GRAY, linewidth=1.8)
        handles.append(ticks)
        labels.append("model alone")
    ends = [max(row.offers_per_s or 0.0, row.model_offers_per_s or 0.0) for row in engines]
    for place, (row, end) in enumerate(zip(engines, ends, strict=True)):
        text = f"{number_text(row.offers_per_s)}/s"
        text += f" · {short_number(row.ratio_to_naive)}× naive" if row.ratio_to_naive else ""
        _write_behind(axes, end, place, text)
    _finish_value_axis(axes, left, max(ends))
    dress_rows(axes, [row.engine for row in engines], 30)
    add_legend(axes, handles, labels)
    best = engines[0]
    return describe(figure, f"Fastest: {best.engine}, {values[0]:,.0f} offers/s ({best.source}).")


@in_house_style
def plot_cost(rows: Sequence[CostRow | Mapping[str, Any]], chosen: str | None = None) -> "Figure":
    """USD per million offers by instance and engine, cheapest first; hatching says what the speed rests on.

    `chosen` is an instance's name, or instance and engine as `instance / engine`.
    """
    name, title = "cost", "USD per million offers, by instance"
    priced = [row for row in read_rows(CostRow, rows) if row.usd_per_million]
    priced.sort(key=lambda row: (row.usd_per_million or 0, row.instance, row.engine or ""))
    if not priced:
        return bare_figure(name, title, "No instance was priced.")
    priced = priced[:30]
    values = [row.usd_per_million or 0.0 for row in priced]
    names = [f"{row.instance} / {row.engine}" if row.engine else row.instance for row in priced]
    picked = [chosen is not None and chosen in (full, row.instance) for full, row in zip(names, priced, strict=True)]
    if sum(picked) > 1:
        first = picked.index(True)
        picked = [place == first for place in range(len(picked))]
    figure = new_figure(name, title, 0.34 * len(priced) + 0.75, WIDE_INCHES)
    axes = figure.add_subplot()
    bases = [row.basis for row in priced]
    left = _draw_value_bars(axes, values, bases, [GREEN if one else BLUE for one in picked])
    for place, (value, one) in enumerate(zip(values, picked, strict=True)):
        _write_behind(axes, value, place, short_usd(value) + (" · chosen" if one else ""), strong=one)
    _finish_value_axis(axes, left, max(values))
    dress_rows(axes, names, 36)
    add_legend(axes, *_basis_handles(bases))
    return describe(figure, f"Cheapest: {names[0]}, {short_usd(values[0])} per million ({bases[0]}).")


def _draw_value_bars(axes: "Axes", values: Sequence[float], bases: Sequence[str], colors: Sequence[str]) -> float:
    """Horizontal bars, hatched by basis, on a logarithmic axis where they differ much. Returns the axis' start."""
    wide_range = max(values) / min(values) > LOG_FROM_RATIO
    left = 10 ** _floor_log10(min(values) * 0.6) if wide_range else 0.0
    if wide_range:
        axes.set_xscale("log")
    for place, (value, basis, color) in enumerate(zip(values, bases, colors, strict=True)):
        axes.barh(place, value - left, left=left, height=0.58, color=color, hatch=HATCHES[basis], edgecolor=SURFACE,
                  linewidth=0)  # fmt: skip
    return left


def _floor_log10(value: float) -> int:
    return math.floor(math.log10(value))


def _write_behind(axes: "Axes", x: float, y: float, text: str, strong: bool = False) -> None:
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", va="center", color=INK if strong else MUTED,
        fontweight="bold" if strong else "normal", annotation_clip=False,
    )  # fmt: skip


def _finish_value_axis(axes: "Axes", left: float, largest: float) -> None:
    """Room behind the longest bar for its text; a logarithmic axis keeps its ticks and says so."""
    if left > 0:
        axes.set_xlim(left, largest * (largest / left) ** 0.42)
        axes.set_xlabel("logarithmic scale")
        _plain_log_ticks(axes, "x")
        show_grid(axes, "x")
    else:
        axes.set_xlim(0, largest * 1.4)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)


def _basis_handles(bases: Sequence[str]) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    used = [basis for basis in HATCHES if basis in bases]
    return [Patch(facecolor=BLUE, edgecolor=SURFACE, hatch=HATCHES[basis], linewidth=0) for basis in used], used


@in_house_style
def plot_ranking(rows: Sequence[RankingRow | Mapping[str, Any]]) -> "Figure":
    """Encoders by offers per second and macro-F1; the line joins those that none beats on both (Pareto)."""
    name, title = "ranking", "Encoders: quality against speed"
    points = [row for row in read_rows(RankingRow, rows) if row.offers_per_s and row.macro_f1 is not None]
    if not points:
        return bare_figure(name, title, "No encoder was ranked.")
    figure = new_figure(name, title, 4.0, WIDE_INCHES)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    front = pareto_front(points)
    best = {row.encoder for row in front}
    line = [_place(row) for row in front]
    axes.plot([x for x, _ in line], [y for _, y in line], color=AXIS, linewidth=1.6, zorder=1, linestyle=(0, (4, 3)))
    for row in points:
        x, y = _place(row)
        color = GREEN if row.chosen else BLUE if row.encoder in best else GRAY
        marker = "D" if row.chosen else "o" if row.encoder in best else "s"
        if row.low is not None and row.high is not None:
            axes.vlines(x, row.low, row.high, color=color, linewidth=1.6, alpha=0.4, zorder=2)
        axes.scatter(x, y, s=70 if row.chosen else 42, color=color, zorder=3, edgecolor=SURFACE, marker=marker)
    axes.margins(x=0.16, y=0.16)
    axes.set_xlabel("offers per second, end to end (logarithmic)")
    axes.set_ylabel("macro-F1")
    _plain_log_ticks(axes, "x")
    show_grid(axes, "both")
    texts = [short_text(row.encoder, 34) + (" · chosen" if row.chosen else "") for row in points]
    place_labels(axes, [_place(row) for row in points], texts, joined=line)
    return describe(figure, "Not beaten on both: " + ", ".join(row.encoder for row in front) + ".")


def _place(row: RankingRow) -> tuple[float, float]:
    return row.offers_per_s or 1.0, row.macro_f1 or 0.0


def pareto_front(rows: Sequence[RankingRow]) -> list[RankingRow]:
    """The rows that no other row beats in speed and in macro-F1, slowest first."""
    front: list[RankingRow] = []
    for row in sorted(rows, key=lambda one: (-(one.offers_per_s or 0), -(one.macro_f1 or 0))):
        if not front or (row.macro_f1 or 0) > (front[-1].macro_f1 or 0):
            front.append(row)
    return front[::-1]
