"""Figures of quality: scores with intervals, confusions, calibration, training, soft labels."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sortiment.report.data_figures import draw_named_bars
from sortiment.report.rows import Confusion, Epoch, Histogram, ReliabilityBin, read_rows
from sortiment.report.schema import ModelScores
from sortiment.report.style import (
    AXIS,
    BLUE,
    GRAY,
    GREEN,
    MAX_ROWS,
    MUTED,
    ORANGE,
    ROW_INCHES,
    SURFACE,
    SeriesLook,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Leaf = Mapping[str, Any]


@in_house_style
def plot_scores(
    models: Mapping[str, Mapping[str, Leaf]], what: str = "country", metric: str = "macro_f1", limit: int = MAX_ROWS
) -> "Figure":
    """Macro-F1 (or accuracy) by model and row as dots with intervals; rows from the lowest score up.

    `models`: model to row (a country, a department) to leaf `{macro_f1, accuracy, low, high}`, as in `scores.json`;
    the interval belongs to macro-F1 and is drawn for it alone. More rows than `limit`: the lowest.
    """
    label = {"macro_f1": "macro-F1"}.get(metric, metric)
    name, title = f"scores-{metric.replace('_', '-')}-{what.replace(' ', '-')}", f"{label} by {what}"
    title = title[0].upper() + title[1:]
    rows = _rows_from_the_lowest(models, metric)
    if not rows:
        return bare_figure(name, title, f"No score by {what}.")
    if len(rows) > limit:
        title += f" (the lowest {limit} of {len(rows)})"
        rows = rows[:limit]
    height = max(ROW_INCHES, 0.105 * len(models) + 0.06) * len(rows) + 0.85
    figure = new_figure(name, title, height)
    axes = figure.add_subplot()
    looks = series_looks(list(models))
    handles = []
    for order, (model, leaves) in enumerate(models.items()):
        shift = (order - (len(models) - 1) / 2) * min(0.26, 0.7 / len(models))
        handles.append(_draw_dots(axes, rows, leaves, metric=metric, look=looks[model], shift=shift))
    for place in range(len(rows) - 1):
        axes.axhline(place + 0.5, color=AXIS, linewidth=0.4, alpha=0.45, zorder=0)
    dress_rows(axes, rows)
    axes.set_xlabel(label)
    axes.margins(x=0.06)
    show_grid(axes, "x")
    add_legend(axes, handles, list(models))
    lowest = {model: _value(leaves, rows[0], metric) for model, leaves in models.items()}
    text = ", ".join(f"{model} {value:.3f}" for model, value in lowest.items() if value is not None)
    return describe(figure, f"{len(rows)} rows from the lowest. Lowest: {rows[0]} ({text}).")


def _draw_dots(
    axes: "Axes", rows: Sequence[str], leaves: Mapping[str, Leaf], *, metric: str, look: SeriesLook, shift: float
) -> Any:
    """One model's dots, moved by `shift` of a row, over its intervals. Returns the dots."""
    values = {place + shift: _value(leaves, row, metric) for place, row in enumerate(rows)}
    dots = {place: value for place, value in values.items() if value is not None}
    for place, row in enumerate(rows):
        low, high = leaves.get(row, {}).get("low"), leaves.get(row, {}).get("high")
        if metric == "macro_f1" and place + shift in dots and low is not None and high is not None:
            axes.hlines(place + shift, low, high, color=look.color, linewidth=1.6, alpha=0.45, zorder=1)
    return axes.scatter(
        list(dots.values()), list(dots), s=30, color=look.color, marker=look.marker, edgecolor=SURFACE, linewidth=0.6,
        zorder=3,
    )  # fmt: skip


def score_leaves(scores: Mapping[str, ModelScores], dimension: str) -> dict[str, dict[str, dict[str, Any]]]:
    """A report's scores along one dimension in the form that `plot_scores` takes."""
    leaves: dict[str, dict[str, dict[str, Any]]] = {}
    for model, score in scores.items():
        intervals = getattr(score.interval, dimension)
        accuracy = getattr(score.accuracy, dimension)
        leaves[model] = {}
        for row, value in getattr(score.macro_f1, dimension).items():
            low, high = intervals.get(row, (None, None))
            leaves[model][row] = {"macro_f1": value, "accuracy": accuracy.get(row), "low": low, "high": high}
    return {model: rows for model, rows in leaves.items() if rows}


def _rows_from_the_lowest(models: Mapping[str, Mapping[str, Leaf]], metric: str) -> list[str]:
    lowest: dict[str, float] = {}
    for leaves in models.values():
        for row in leaves:
            value = _value(leaves, row, metric)
            if value is not None:
                lowest[row] = min(value, lowest.get(row, value))
    return sorted(lowest, key=lambda row: (lowest[row], row))


def _value(leaves: Mapping[str, Leaf], row: str, metric: str) -> float | None:
    value = leaves.get(row, {}).get(metric)
    return None if value is None or math.isnan(value) else float(value)


@in_house_style
def plot_confusions(pairs: Sequence[Confusion | Mapping[str, Any]], limit: int = 15) -> "Figure":
    """The category pairs that a model mixes up most, as bars of offers."""
    name, title = "confusions", "Categories mixed up most: actual → predicted"
    rows = sorted(read_rows(Confusion, pairs), key=lambda pair: (-pair.offers, pair.actual, pair.predicted))[:limit]
    rows = [row for row in rows if row.offers > 0]
    if not rows:
        return bare_figure(name, title, "No test offer was put into a wrong category.")
    items = [(f"{_leaf_name(row.actual)} → {_leaf_name(row.predicted)}", row.offers) for row in rows]
    figure = new_figure(name, title, 0.42 * len(items) + 0.15)
    draw_named_bars(figure.add_subplot(), items, ORANGE)
    return describe(figure, "; ".join(f"{text}: {count:,}" for text, count in items[:6]))


def _leaf_name(path: str) -> str:
    """The last name of a path: its department is in the table."""
    return path.rsplit(" › ", 1)[-1]


@in_house_style
def plot_reliability(curves: Mapping[str, Sequence[ReliabilityBin | Mapping[str, Any]]]) -> "Figure":
    """Share of right answers against confidence, per model; on the diagonal a model is as good as it says."""
    name, title = "reliability", "Calibration: right as often as it says?"
    read = {model: filled_bins(read_rows(ReliabilityBin, bins)) for model, bins in curves.items()}
    read = {model: bins for model, bins in read.items() if bins}
    if not read:
        return bare_figure(name, title, "No calibration was measured.")
    figure = new_figure(name, title, 3.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=AXIS, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    looks = series_looks(list(read))
    handles, labels, width = [], [], 0.8 / (12 * len(read))
    for order, (model, bins) in enumerate(read.items()):
        look, shift = looks[model], (order - (len(read) - 1) / 2) * width
        confidence = [one for one, _, _ in bins]
        (line,) = upper.plot(
            confidence, [accuracy for _, accuracy, _ in bins], color=look.color, marker=look.marker,
            markersize=5.5, markeredgecolor=SURFACE, linewidth=1.6, zorder=3,
        )  # fmt: skip
        lower.bar([one + shift for one in confidence], [offers for _, _, offers in bins], width=width, color=look.color)
        handles.append(line)
        labels.append(f"{model} (ECE {expected_calibration_error(bins):.1%})")
    upper.set_ylim(0, 1.03)
    upper.set_xlim(0, 1.02)
    upper.set_ylabel("share right")
    lower.set_ylabel("offers")
    lower.set_xlabel("confidence")
    lower.set_yticks([])
    show_grid(upper, "both")
    add_legend(upper, handles, labels)
    return describe(figure, "Expected calibration error: " + ", ".join(labels) + ".")


def filled_bins(bins: Sequence[ReliabilityBin]) -> list[tuple[float, float, int]]:
    """(confidence, accuracy, offers) of the bins that hold any, ascending."""
    found = [
        (bin_.confidence, bin_.accuracy, bin_.offers)
        for bin_ in bins
        if bin_.offers > 0 and bin_.confidence is not None and bin_.accuracy is not None
    ]
    return sorted(found)


def expected_calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """Mean gap between confidence and accuracy, weighted by offers. Bins are (confidence, accuracy, offers)."""
    offers = sum(count for _, _, count in bins)
    return sum(abs(confidence - accuracy) * count for confidence, accuracy, count in bins) / max(offers, 1)


@in_house_style
def plot_training(runs: Mapping[str, Sequence[Epoch | Mapping[str, Any]]]) -> "Figure":
    """Loss and macro-F1 over epochs, one line per run; the one alone where the other was not measured."""
    name, title = "training", "Training: loss and macro-F1 over epochs"
    read = {run: sorted(read_rows(Epoch, epochs), key=lambda one: one.epoch) for run, epochs in runs.items()}
    read = {run: epochs for run, epochs in read.items() if epochs}
    keys = ("loss", "validation_loss", "macro_f1")
    measured = {key for key in keys for epochs in read.values() for epoch in epochs if getattr(epoch, key) is not None}
    if not measured:
        return bare_figure(name, title, "No training curve was kept.")
    losses = "loss (dashed: validation)" if "validation_loss" in measured else "loss"
    every_panel = {losses: ("loss", "validation_loss"), "macro-F1, validation": ("macro_f1",)}
    panels = {label: own for label, own in every_panel.items() if measured & set(own)}
    figure = new_figure(name, title if "macro_f1" in measured else "Training: loss over epochs", 2.6)
    looks = series_looks(list(read))
    handles: dict[str, Any] = {}
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, own) in zip(every, panels.items(), strict=True):
        for run, epochs in read.items():
            lines = [_draw_curve(axes, epochs, key, looks[run], dashed=key == "validation_loss") for key in own]
            handles.setdefault(run, next((line for line in lines if line is not None), None))
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.05, y=0.12)
        show_grid(axes, "y")
    named = {run: line for run, line in handles.items() if line is not None}
    add_legend(every[0], list(named.values()), list(named))
    last = {run: epochs[-1] for run, epochs in read.items()}
    text = "; ".join(f"{run}: macro-F1 {one.macro_f1:.3f}" for run, one in last.items() if one.macro_f1 is not None)
    return describe(figure, f"After the last epoch: {text}." if text else "")


def _draw_curve(axes: "Axes", epochs: list[Epoch], key: str, look: SeriesLook, dashed: bool = False) -> Any:
    points = [(one.epoch, getattr(one, key)) for one in epochs if getattr(one, key) is not None]
    if not points:
        return None
    (line,) = axes.plot(
        [epoch for epoch, _ in points], [value for _, value in points], color=look.color, linewidth=1.8,
        linestyle=(0, (3, 2)) if dashed else "-", marker=None if dashed or len(points) > 30 else look.marker,
        markersize=5, markeredgecolor=SURFACE,
    )  # fmt: skip
    return line


@in_house_style
def plot_soft_labels(
    confidence: Histogram | Mapping[str, Any] | None, entropy: Histogram | Mapping[str, Any] | None
) -> "Figure":
    """How sure the teacher is: histograms of its top probability and of its labels' entropy (nats)."""
    name, title = "soft-labels", "How sure the teacher is"
    given = [
        (read_rows(Histogram, [histogram])[0], label, color)
        for histogram, label, color in ((confidence, "top probability", BLUE), (entropy, "entropy (nats)", GREEN))
        if histogram is not None
    ]
    given = [one for one in given if sum(one[0].counts)]
    if not given:
        return bare_figure(name, title, "No soft label was made.")
    figure = new_figure(name, title, 2.2)
    texts = []
    for axes, (histogram, label, color) in zip(figure.subplots(1, len(given), squeeze=False)[0], given, strict=True):
        edges, counts = histogram.edges, histogram.counts
        widths = [right - left for left, right in itertools.pairwise(edges)]
        axes.bar(edges[:-1], counts, width=[0.92 * width for width in widths], align="edge", color=color)
        middle = _histogram_median(edges, counts)
        is_low = middle < (edges[0] + edges[-1]) / 2
        axes.axvline(middle, color=GRAY, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"median {middle:.2f}", (middle, 1), (4 if is_low else -4, -2), xycoords=axes.get_xaxis_transform(),
            textcoords="offset points", va="top", color=MUTED, ha="left" if is_low else "right",
        )  # fmt: skip
        axes.set_xlabel(label)
        axes.set_yticks([])
        axes.set_ylim(0, max(counts) * 1.18)
        axes.spines["left"].set_visible(False)
        texts.append(f"median {label} {middle:.2f}")
    return describe(figure, "; ".join(texts) + ".")


def _histogram_median(edges: Sequence[float], counts: Sequence[int]) -> float:
    """The median, with offers spread evenly within a bin."""
    half, seen = sum(counts) / 2, 0
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count and seen + count >= half:
            return left + (right - left) * (half - seen) / count
        seen += count
    return edges[-1]
