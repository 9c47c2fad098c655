"""Figures of what a model is like: calibrated in each country or not, steady under other spellings or not."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sortiment.report.rows import BehaviourRow, ReliabilityBin, read_rows
from sortiment.report.score_figures import filled_bins
from sortiment.report.style import (
    AXIS,
    GRAY,
    INK,
    ROW_INCHES,
    SURFACE,
    add_legend,
    bare_figure,
    describe,
    dress_rows,
    in_house_style,
    new_figure,
    series_looks,
    show_grid,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
PANELS = 12
PANEL_INCHES = 1.9


@in_house_style
def plot_reliability_by_country(
    curves: Mapping[str, Mapping[str, Sequence[ReliabilityBin | Mapping[str, Any]]]],
) -> "Figure":
    """A small reliability diagram per country. curves: country to model to bins; the first twelve countries."""
    name, title = "reliability-by-country", "Calibration by country: share right against confidence"
    read = {
        country: {model: filled_bins(read_rows(ReliabilityBin, bins)) for model, bins in models.items()}
        for country, models in list(curves.items())[:PANELS]
    }
    read = {country: models for country, models in read.items() if any(models.values())}
    if not read:
        return bare_figure(name, title, "No calibration was measured.")
    models = list(dict.fromkeys(model for found in read.values() for model in found))
    looks = series_looks(models)
    rows = math.ceil(len(read) / COLUMNS)
    figure = new_figure(name, title, PANEL_INCHES * rows + 0.4)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
    handles: dict[str, Any] = {}
    for axes, (country, found) in zip(panels, read.items(), strict=False):
        axes.plot([0, 1], [0, 1], color=AXIS, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        for model, bins in found.items():
            (handles[model],) = axes.plot(
                [sure for sure, _, _ in bins], [right for _, right, _ in bins], color=looks[model].color,
                marker=looks[model].marker, markersize=4, markeredgecolor=SURFACE, linewidth=1.2, zorder=3,
            )  # fmt: skip
        axes.set_title(country, loc="left")
        axes.set_ylim(0, 1.05)
        axes.set_xlim(0, 1.03)
        show_grid(axes, "both")
    for axes in panels[len(read) :]:
        axes.set_visible(False)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower left",
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
    )
    return describe(figure, f"{len(read)} countries; on the diagonal a model is as good as it says.")


@in_house_style
def plot_behaviour(rows: Sequence[BehaviourRow | Mapping[str, Any]]) -> "Figure":
    """Share of answers that flip, per kind of change and model; the tick is the limit."""
    name, title = "behaviour", "How often an answer flips when the title is written otherwise"
    read = [row for row in read_rows(BehaviourRow, rows) if row.flip_rate is not None]
    if not read:
        return bare_figure(name, title, "No title was changed.")
    worst: dict[str, float] = {}
    for row in read:
        worst[row.kind] = max(worst.get(row.kind, 0.0), row.flip_rate or 0.0)
    kinds = sorted(worst, key=lambda kind: (worst[kind], kind))
    models = list(dict.fromkeys(row.model for row in read))
    looks = series_looks(models)
    figure = new_figure(name, title, max(ROW_INCHES, 0.11 * len(models) + 0.06) * len(kinds) + 0.85)
    axes = figure.add_subplot()
    handles = []
    for order, model in enumerate(models):
        own = [row for row in read if row.model == model]
        shift = (order - (len(models) - 1) / 2) * min(0.26, 0.7 / len(models))
        handles.append(
            axes.scatter(
                [row.flip_rate or 0.0 for row in own], [kinds.index(row.kind) + shift for row in own], s=30,
                color=looks[model].color, marker=looks[model].marker, edgecolor=SURFACE, linewidth=0.6, zorder=3,
            )
        )  # fmt: skip
    limits = {row.kind: row.limit for row in read if row.limit is not None}
    drawn = axes.scatter(
        list(limits.values()), [kinds.index(kind) for kind in limits], marker="|", s=110, color=GRAY, linewidth=1.4
    )
    dress_rows(axes, kinds)
    axes.set_xlabel("share of answers that flip")
    axes.set_xlim(left=-0.01)
    show_grid(axes, "x")
    add_legend(axes, [*handles, drawn], [*models, "limit"])
    beyond = [f"{row.model}, {row.kind}" for row in read if not row.passed]
    return describe(figure, "Beyond its limit: " + ("; ".join(beyond) if beyond else "none") + ".")
