"""Figures of the data: its imbalance, what the sample took, what the feeds held."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sortiment.report.rows import Coverage, FeedRow, read_rows
from sortiment.report.style import (
    AXIS,
    BLUE,
    GRAY,
    INK,
    MAX_ROWS,
    MUTED,
    ORANGE,
    ROW_INCHES,
    SURFACE,
    bare_figure,
    describe,
    dress_rows,
    in_house_style,
    new_figure,
    short_number,
    short_text,
    show_grid,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER = 0.022  # share of the axis that a letter behind a bar takes
MOST_LETTERS = 36


@in_house_style
def plot_category_counts(
    before: Sequence[int], after: Sequence[int], cap: int | None = None, cap_note: str = ""
) -> "Figure":
    """Offers per category by rank, before and after sampling, on two logarithmic axes. One number per category."""
    name, title = "category-counts", "Offers per category, by rank"
    present = sorted((count for count in before if count > 0), reverse=True)
    taken = sorted((count for count in after if count > 0), reverse=True)
    if not present:
        return bare_figure(name, title, "No category has an offer.")
    figure = new_figure(name, title, 3.1)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    _draw_ranks(axes, present, GRAY, "o")
    _draw_ranks(axes, taken, BLUE, "s")
    axes.set_ylim(0.7, max(present[0] * 1.6, (cap or 0) * 2.5, 10))
    axes.set_xlim(0.85, max(len(present), 2) * 1.15)
    axes.annotate("all labelled offers", (1, present[0]), (8, 4), textcoords="offset points", color=MUTED, va="bottom")
    if taken:
        axes.annotate("sample", (1, taken[0]), (8, -5), textcoords="offset points", color=BLUE, va="top")
    if cap is not None:
        axes.axhline(cap, color=ORANGE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"cap {cap:,} {cap_note}".rstrip(), (1, cap), (-2, 2), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", ha="right", va="bottom", color=ORANGE,
        )  # fmt: skip
    axes.set_xlabel("category rank")
    axes.set_ylabel("offers")
    _plain_log_ticks(axes, "both")
    show_grid(axes, "both")
    ratio = present[0] / present[-1]
    return describe(
        figure,
        f"{len(present):,} categories; the largest has {present[0]:,} offers, the smallest {present[-1]:,} "
        f"({short_number(ratio)} to 1). Sampled: {len(taken):,} categories, at most {taken[0] if taken else 0:,} each.",
    )


def _draw_ranks(axes: "Axes", counts: Sequence[int], color: str, marker: str) -> None:
    few = len(counts) <= 12
    axes.plot(
        range(1, len(counts) + 1), counts, color=color, linewidth=2,
        marker=marker if few else None, markersize=5, markeredgecolor=SURFACE,
    )  # fmt: skip


def _plain_log_ticks(axes: "Axes", axis: str) -> None:
    """1, 10, 100, 1k instead of powers; no minor ticks."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    for one in (axes.xaxis, axes.yaxis) if axis == "both" else (getattr(axes, f"{axis}axis"),):
        one.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        one.set_minor_locator(NullLocator())


@in_house_style
def plot_coverage(rows: Sequence[Coverage | Mapping[str, Any]], what: str = "department", limit: int = 40) -> "Figure":
    """Offers before and after sampling, one row per department, shop or category: the `limit` largest."""
    name, title = f"coverage-{what.replace(' ', '-')}", f"What the sample kept, by {what}"
    everything = sorted(read_rows(Coverage, rows), key=lambda row: (-row.offers, row.name))
    everything = [row for row in everything if row.offers > 0]
    if not everything:
        return bare_figure(name, title, f"No {what} has a labelled offer.")
    shown = everything[:limit]
    title += f" (the {len(shown)} largest of {len(everything):,})" if len(shown) < len(everything) else ""
    figure = new_figure(name, title, ROW_INCHES * len(shown) + 0.75)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    positions = range(len(shown))
    kept = [max(row.sampled, 0.7) for row in shown]
    before = [row.offers for row in shown]
    axes.set_xlim(0.6, max(before) * 1.5)  # before anything is drawn: matplotlib cannot scale rows that are all equal
    axes.hlines(positions, kept, before, color=AXIS, linewidth=2, zorder=1)
    axes.scatter(before, positions, s=34, color=GRAY, zorder=2, label="offers")
    axes.scatter(kept, positions, s=30, marker="s", color=BLUE, zorder=3, label="sampled")
    cut = [(place, row) for place, row in enumerate(shown) if row.cut_by_shop_cap]
    if cut:
        axes.scatter(
            [row.sampled + row.cut_by_shop_cap for _, row in cut], [place for place, _ in cut],
            s=46, marker="|", linewidth=2, color=ORANGE, zorder=2, label="without the shop cap",
        )  # fmt: skip
    for place, row in enumerate(shown):
        axes.annotate(
            f"{_percent(row.share)} kept", (1, place), (4, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", color=MUTED, annotation_clip=False,
        )  # fmt: skip
    dress_rows(axes, [row.name for row in shown], 26)
    _plain_log_ticks(axes, "x")
    show_grid(axes, "x")
    _legend_of(axes)
    share = sum(row.sampled for row in everything) / sum(row.offers for row in everything)
    return describe(figure, f"{len(everything):,} rows; {_percent(share)} of all labelled offers were kept.")


def _legend_of(axes: "Axes") -> None:
    from sortiment.report.style import add_legend

    handles, labels = axes.get_legend_handles_labels()
    add_legend(axes, list(handles), labels)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _feed_text(feed: FeedRow) -> str:
    share = feed.quarantined / feed.rows if feed.rows else 0.0
    return f"{feed.loaded:,}" + (f" · {_percent(share)} in quarantine" if feed.quarantined else "")


@in_house_style
def plot_feed_rows(feeds: Sequence[FeedRow | Mapping[str, Any]]) -> "Figure":
    """Rows per feed: loaded, and in quarantine (at most 70 feeds, largest first)."""
    name, title = "feed-rows", "Rows per feed"
    shown = sorted(read_rows(FeedRow, feeds), key=lambda feed: (-feed.rows, feed.name))[:MAX_ROWS]
    if not shown:
        return bare_figure(name, title, "No feed was read.")
    figure = new_figure(name, title, 0.34 * len(shown) + 0.75)
    axes = figure.add_subplot()
    places = list(range(len(shown)))
    loaded, broken = [feed.loaded for feed in shown], [feed.quarantined for feed in shown]
    axes.barh(places, loaded, height=0.56, color=BLUE, label="loaded")
    axes.barh(places, broken, left=loaded, height=0.56, color=ORANGE, label="in quarantine")
    texts = [_feed_text(feed) for feed in shown]
    for place, (feed, text) in enumerate(zip(shown, texts, strict=True)):
        axes.annotate(
            text, (feed.loaded + feed.quarantined, place), (5, 0), textcoords="offset points", va="center",
            color=MUTED, annotation_clip=False,
        )  # fmt: skip
    room = LETTER * min(max(len(text) for text in texts), MOST_LETTERS)
    axes.set_xlim(0, max([feed.rows for feed in shown] + [1]) / (1 - room))
    _bare_value_axis(axes)
    dress_rows(axes, [feed.name for feed in shown], 28)
    _legend_of(axes)
    return describe(figure, f"{sum(loaded):,} rows loaded, {sum(broken):,} in quarantine, {len(shown)} feeds.")


@in_house_style
def plot_counts(counts: Mapping[str, int], name: str, title: str, color: str = ORANGE) -> "Figure":
    """One bar per name, largest first (at most 25), the name above its bar: for long names, such as reasons."""
    shown = sorted(((key, count) for key, count in counts.items() if count > 0), key=lambda item: (-item[1], item[0]))
    if not shown:
        return bare_figure(name, title, "Nothing to count.")
    left_out, shown = shown[25:], shown[:25]
    if left_out:
        shown.append((f"{len(left_out)} more", sum(count for _, count in left_out)))
    figure = new_figure(name, title, 0.42 * len(shown) + 0.15)
    axes = figure.add_subplot()
    draw_named_bars(axes, shown, color)
    return describe(figure, "; ".join(f"{key}: {count:,}" for key, count in shown[:8]))


def draw_named_bars(axes: "Axes", items: Sequence[tuple[str, int]], color: str) -> None:
    """Thin bars with the name above each and the count at its end."""
    places = range(len(items))
    largest = max(count for _, count in items)
    axes.barh(places, [count for _, count in items], height=0.26, color=color)
    for place, (key, count) in enumerate(items):
        axes.annotate(short_text(key, 78), (0, place - 0.2), (0, 1), textcoords="offset points", va="bottom", color=INK)
        axes.annotate(f"{count:,}", (count, place), (5, 0), textcoords="offset points", va="center", color=MUTED)
    axes.set_xlim(0, largest * 1.12)
    axes.set_ylim(len(items) - 0.7, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _bare_value_axis(axes)


def _bare_value_axis(axes: "Axes") -> None:
    """No ticks where every bar carries its number."""
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
