"""Figures over time: where drift struck, what was won back, which model was in charge."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sortiment.report.rows import DriftDecision, ReleaseRow, read_rows
from sortiment.report.style import (
    AXIS,
    BLUE,
    GRAY,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    SURFACE,
    WIDE_INCHES,
    add_legend,
    bare_figure,
    describe,
    in_house_style,
    new_figure,
    short_text,
    show_grid,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_MAP_ROWS = 60


@in_house_style
def plot_drift_map(decisions: Sequence[DriftDecision | Mapping[str, Any]], limit: int = MAX_MAP_ROWS) -> "Figure":
    """Drift score by department and country; the deeper the color, the nearer to (or past) the threshold.

    Drifted partitions have a frame. A dot stands where too few new offers came to judge.
    More departments than `limit`: those with the highest scores.
    """
    name, title = "drift-map", "Drift score by department and country"
    cells = {_split_partition(row.partition): row for row in read_rows(DriftDecision, decisions)}
    if not cells:
        return bare_figure(name, title, "No partition was judged.")
    countries = sorted({country for country, _ in cells})
    departments = _departments_by_score(cells)
    if len(departments) > limit:
        title += f" (the {limit} highest of {len(departments)})"
        departments = departments[:limit]
    figure = new_figure(name, title, 0.27 * len(departments) + 0.5)
    axes = figure.add_subplot()
    for y, department in enumerate(departments):
        for x, country in enumerate(countries):
            if (country, department) in cells:
                _draw_cell(axes, x, y, cells[country, department], 8.5 if len(countries) <= 12 else 6.5)
    axes.set_xlim(-0.5, len(countries) - 0.5)
    axes.set_ylim(len(departments) - 0.5, -0.5)
    axes.set_xticks(range(len(countries)), countries, rotation=90 if len(countries) > 15 else 0)
    axes.set_yticks(range(len(departments)), [short_text(department, 28) for department in departments])
    axes.tick_params(length=0, labelcolor=INK)
    axes.xaxis.tick_top()
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    drifted = sorted(row.partition for row in cells.values() if row.drifted)
    text = ", ".join(drifted[:10]) if drifted else "none"
    return describe(figure, f"{len(cells):,} partitions judged; drifted (framed): {text}.")


def _draw_cell(axes: "Axes", x: int, y: int, cell: DriftDecision, font_points: float) -> None:
    """A tint by how near the score is to the threshold, the score on it, a frame where it drifted."""
    from matplotlib.patches import Rectangle

    if cell.score is None:
        axes.text(x, y, "·", ha="center", va="center", color=MUTED)
        return
    corner, limit = (x - 0.47, y - 0.44), cell.threshold or 1.0
    depth = min(max(cell.score / (2 * limit), 0.0), 1.0) ** 1.5
    axes.add_patch(Rectangle(corner, 0.94, 0.88, facecolor=ORANGE, alpha=0.05 + 0.55 * depth, linewidth=0))
    if cell.drifted:
        axes.add_patch(Rectangle(corner, 0.94, 0.88, fill=False, edgecolor=INK, linewidth=1.6, zorder=4))
    axes.text(
        x, y, f"{cell.score:.2f}", ha="center", va="center", fontsize=font_points, color=INK,
        fontweight="bold" if cell.drifted else "normal",
    )  # fmt: skip


def _split_partition(partition: str) -> tuple[str, str]:
    country, _, department = partition.partition("|")
    return country, department


def _departments_by_score(cells: Mapping[tuple[str, str], DriftDecision]) -> list[str]:
    highest: dict[str, float] = {}
    for (_, department), cell in cells.items():
        highest[department] = max(cell.score if cell.score is not None else -1.0, highest.get(department, -1.0))
    return sorted(highest, key=lambda department: (-highest[department], department))


@in_house_style
def plot_recovery(partition: str, before: float | None, drifted: float | None, after: float | None) -> "Figure":
    """The drifted slice's macro-F1: before, with drift, after re-labelling and retraining."""
    name, title = "recovery", f"{short_text(partition, 40)}: macro-F1 before, drifted, after"
    steps = [("before", before, GRAY), ("drifted", drifted, ORANGE), ("after retraining", after, BLUE)]
    given = [(place, label, value, color) for place, (label, value, color) in enumerate(steps) if value is not None]
    if not given:
        return bare_figure(name, title, "The slice was not scored.")
    figure = new_figure(name, title, 2.7)
    axes = figure.add_subplot()
    axes.plot([place for place, *_ in given], [value for _, _, value, _ in given], color=AXIS, linewidth=2, zorder=1)
    for place, label, value, color in given:
        below = label == "drifted"
        axes.scatter(place, value, s=90, color=color, edgecolor=SURFACE, zorder=3, marker="v" if below else "o")
        axes.annotate(
            f"{value:.3f}", (place, value), (0, -9 if below else 9), textcoords="offset points", ha="center",
            va="top" if below else "bottom", fontsize=12, fontweight="bold", color=color if below else INK,
        )  # fmt: skip
    if before is not None:
        axes.axhline(before, color=GRAY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    values = [value for _, _, value, _ in given]
    room = max(max(values) - min(values), 0.02) * 0.35
    axes.set_ylim(min(values) - room, max(values) + room)
    axes.set_xlim(-0.45, 2.45)
    axes.set_xticks(range(3), [label for label, _, _ in steps])
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.set_ylabel("macro-F1")
    show_grid(axes, "y")
    return describe(figure, ", ".join(f"{label} {value:.3f}" for _, label, value, _ in given) + ".")


@in_house_style
def plot_releases(releases: Sequence[ReleaseRow | Mapping[str, Any]], limit: int = 24) -> "Figure":
    """The release log, oldest first: macro-F1 of each candidate; the line is the model in charge."""
    name, title = "releases", "Releases"
    entries = read_rows(ReleaseRow, releases)[-limit:]
    if not entries:
        return bare_figure(name, title, "Nothing was released yet.")
    scored = [row.macro_f1 for row in entries if row.macro_f1 is not None]
    figure = new_figure(name, title, 2.5 if scored else 1.5, WIDE_INCHES)
    axes = figure.add_subplot()
    level = sum(scored) / len(scored) if scored else 0.0
    heights = [row.macro_f1 if row.macro_f1 is not None else level for row in entries]
    in_charge: list[tuple[float, float]] = []
    for place, (row, height) in enumerate(zip(entries, heights, strict=True)):
        if row.action != "refused":
            in_charge.append((place, height))
    if in_charge:
        xs = [float(place) for place, _ in in_charge] + [len(entries) - 0.5]
        ys = [height for _, height in in_charge]
        axes.step(xs, [*ys, ys[-1]], where="post", color=BLUE, linewidth=2, zorder=1)
    looks = {"promoted": ("o", BLUE), "refused": ("X", ORANGE), "rolled back": ("D", GREEN)}
    handles: dict[str, Any] = {}
    for place, (row, height) in enumerate(zip(entries, heights, strict=True)):
        marker, color = looks.get(row.action, ("s", GRAY))
        handles[row.action] = axes.scatter(place, height, s=80, marker=marker, color=color, edgecolor=SURFACE, zorder=3)
        if row.macro_f1 is not None and len(entries) <= 12:
            axes.annotate(f"{row.macro_f1:.3f}", (place, height), (0, 8), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(entries)), [_release_name(row, place + 1) for place, row in enumerate(entries)])
    axes.tick_params(axis="x", length=0, rotation=90 if len(entries) > 9 else 0)
    axes.set_xlim(-0.5, len(entries) - 0.5)
    if scored:
        axes.margins(y=0.3)
        axes.set_ylabel("macro-F1")
        axes.grid(True, axis="y", color=GRID)
    else:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    add_legend(axes, list(handles.values()), list(handles))
    last = entries[-1]
    return describe(figure, f"{len(entries)} entries; the last: {last.version} {last.action}.")


def _release_name(row: ReleaseRow, place: int) -> str:
    number = row.number if row.number is not None else place
    return f"{number}\n{row.version[:8]}"
