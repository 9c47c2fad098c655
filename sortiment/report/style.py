"""The house style of figures: colors, sizes, and the few gestures that every figure shares.

A color is a token with a light and a dark value. Figures are drawn with the light values; `export.to_svg` swaps each
for its CSS variable, so that one drawing serves both themes. The series colors keep apart under the three common
kinds of color blindness (after Okabe and Ito, "Color Universal Design", 2008) and have 3:1 contrast on both
backgrounds; each series also has its own marker, so that nothing rests on color alone.
"""

import functools
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# token: (light, dark). Every light value is different, because it is what `to_svg` looks for.
TOKENS: dict[str, tuple[str, str]] = {
    "ink": ("#1a2130", "#e8ecf3"),
    "muted": ("#576174", "#a2adbd"),
    "axis": ("#b6bfcb", "#4a5464"),
    "grid": ("#e4e8ee", "#2a323e"),
    "surface": ("#ffffff", "#161c25"),
    "blue": ("#0a67b0", "#5db2f2"),
    "orange": ("#cf5708", "#ff9d5c"),
    "green": ("#0b8563", "#3fcf9f"),
    "pink": ("#b0508a", "#eea6d0"),
    "gold": ("#a37500", "#edbe4e"),
    "gray": ("#7b8698", "#8c97a8"),
}
INK, MUTED, AXIS, GRID, SURFACE = (TOKENS[name][0] for name in ("ink", "muted", "axis", "grid", "surface"))
BLUE, ORANGE, GREEN, PINK, GOLD, GRAY = (
    TOKENS[name][0] for name in ("blue", "orange", "green", "pink", "gold", "gray")
)
WIDTH_INCHES = 5.8
WIDE_INCHES = 8.8
ROW_INCHES = 0.27
MAX_ROWS = 70
FONT_POINTS = 9.5
LEGEND_LINE_CHARS = 76  # beyond, a legend is wider than the figure, and the axes shrink to nothing
LEGEND_MARK_CHARS = 5  # what a mark and the gap to the next one take
HATCHES = {"measured": "", "published": "////", "estimated": "xxx"}
STYLE: Any = {  # matplotlib types its settings by name; a plain mapping is one of them
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_POINTS,
    "text.color": INK,
    "text.parse_math": False,  # a category called "$5 toys $" is text
    "text.usetex": False,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": MUTED,
    "axes.labelsize": FONT_POINTS,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": FONT_POINTS,
    "axes.formatter.useoffset": False,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.9,
    "hatch.color": SURFACE,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "figure.edgecolor": "none",
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class SeriesLook:
    """How one series is drawn."""

    color: str
    marker: str


KNOWN_SERIES = {
    "teacher": SeriesLook(GRAY, "D"),
    "student": SeriesLook(BLUE, "o"),
    "int8": SeriesLook(ORANGE, "s"),
    "fast": SeriesLook(GREEN, "^"),
    "cascade": SeriesLook(PINK, "v"),
}
OTHER_SERIES = (
    SeriesLook(GREEN, "^"),
    SeriesLook(PINK, "v"),
    SeriesLook(GOLD, "P"),
    SeriesLook(BLUE, "X"),
    SeriesLook(ORANGE, "p"),
    SeriesLook(GRAY, "h"),
)

Arguments = ParamSpec("Arguments")


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's settings for drawing and for saving; restored afterwards."""
    from matplotlib import rc_context

    with rc_context(STYLE), warnings.catch_warnings():
        # Titles come in any script. A browser draws the SVG's text with its own fonts, so a missing glyph is no loss.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def in_house_style(draw: Callable[Arguments, "Figure"]) -> Callable[Arguments, "Figure"]:
    """A plot function that runs in the house style."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> "Figure":
        with house_style():
            return draw(*args, **kwargs)

    return drawn


def new_figure(name: str, title: str, height: float, width: float = WIDTH_INCHES) -> "Figure":
    """An empty figure. `name` is a slug, unique on a page; `height` in inches without the title."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.04)
    figure = Figure(figsize=(width, height + TITLE_INCHES), layout=layout)
    figure.set_gid(name)
    figure.suptitle(title, x=0.008, ha="left", fontsize=FONT_POINTS + 2, fontweight="bold", color=INK)
    return figure


TITLE_INCHES = 0.36


def describe(figure: "Figure", text: str) -> "Figure":
    """Set what a screen reader says, and return the figure."""
    figure.set_label(text)
    return figure


def bare_figure(name: str, title: str, why: str) -> "Figure":
    """A figure that says why there is nothing to draw."""
    figure = new_figure(name, title, 1.0)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=MUTED, transform=axes.transAxes)
    return describe(figure, why)


def dress_rows(axes: "Axes", labels: list[str], max_chars: int = 34) -> None:
    """Names along the y axis, first row on top, no axis line."""
    axes.set_yticks(range(len(labels)), [short_text(label, max_chars) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def show_grid(axes: "Axes", axis: str) -> None:
    axes.grid(True, axis=axis)  # type: ignore[arg-type]


def add_legend(axes: "Axes", handles: list[Any], labels: list[str]) -> None:
    """A legend above the axes, at the left: in one line where it fits, in columns where it does not."""
    long = [len(label) + LEGEND_MARK_CHARS for label in labels]
    fits = sum(long) <= LEGEND_LINE_CHARS
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(labels) if fits else max(1, LEGEND_LINE_CHARS // max(long)),
        frameon=False,
        borderaxespad=0.1,
        handletextpad=0.4,
        columnspacing=1.4,
        handlelength=1.3,
        labelcolor=INK,
    )


def series_looks(names: list[str]) -> dict[str, SeriesLook]:
    """A look per series: the known models keep theirs everywhere."""
    others = iter(look for look in OTHER_SERIES * (1 + len(names)))
    taken = {KNOWN_SERIES[name] for name in names if name in KNOWN_SERIES}
    looks = {}
    for name in names:
        looks[name] = KNOWN_SERIES.get(name) or next(look for look in others if look not in taken)
    return looks


def short_text(text: str, max_chars: int) -> str:
    """Printable text on one line, cut with an ellipsis in the middle, where two long names differ least."""
    clean = printable_text(text)
    if len(clean) <= max_chars:
        return clean
    tail = max_chars // 3
    return f"{clean[: max_chars - tail - 1].rstrip()}…{clean[-tail:].lstrip()}"


def printable_text(text: str) -> str:
    """One line without control characters, which XML cannot hold."""
    return " ".join("".join(" " if unicodedata.category(char)[0] == "C" else char for char in text).split())


def short_number(value: float) -> str:
    """Three significant digits with k, M or B: 999, 12.3k, 4.8M."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            return _trim(f"{value / limit:.3g}") + unit
    return _trim(f"{value:.3g}")


def short_usd(value: float) -> str:
    """Dollars: $1,234, $7.40, $0.0148; below one dollar three significant digits, never in exponent form."""
    if value >= 100:
        return f"${value:,.0f}"
    if value >= 1 or value == 0:
        return f"${value:.2f}"
    places = 2 - math.floor(math.log10(abs(value)))
    return f"${value:.{places}f}"


def _trim(text: str) -> str:
    return f"{float(text):,.0f}" if re.search(r"e\+", text) else text
