"""The sampling bench's JSON as Markdown tables (`sortiment/markdown.py` puts them into a page), and as a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sortiment.errors import SettingsError

LABELS = {
    "full read, Arrow": "full read of the sample's 11 columns, Arrow, before",
    "full read again, Arrow": "... after",
    "full read, DuckDB": "the same, DuckDB, before",
    "full read again, DuckDB": "... after",
    "sample": "**the sample, from parts and indexes**",
    "index": "the indexes, written by the loader",
    "index, new shops": "... of 1 % more offers, of new shops",
    "index, known shops": "... of 1 % more offers, of known shops",
    "load": "feed files into parts and indexes, a process per thread",
    "load, new shops": "... of 1 % more offers, of new shops",
    "load, known shops": "... of 1 % more offers, of known shops",
    "census": "the census alone, by category and shop, from the indexes",
    "census, DuckDB": "census by category alone, DuckDB, from the parts",
    "one percent, new shops": "1 % more offers, of new shops",
    "one percent, known shops": "1 % more offers, of known shops",
    "one part again": "one of the parts again, every offer of it known",
    "census tables": "the census tables of the kept state",
    "window per category": "`row_number()` per category, no caps, no split",
    "windows, same offers": "windows that draw the same offers",
    "pandas": "pandas, no caps",
    "polars": "polars, no caps",
}
"""What the page says of each measurement, in this order; what is not listed is not shown."""

PLOT_FORMATS = (".png", ".svg", ".pdf")


def format_figures(content: dict[str, Any]) -> str:
    """What was measured, the aims, and what is extrapolated."""
    asked, machine, measured = content["arguments"], content["machine"], content["measured"]
    head = (
        f"{content['measured_at']}; {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, load "
        f"{machine['load_average'][0]:.1f} at the end. {content['rows']:,} offers in {asked['parts']} parts, "
        f"{asked['categories']:,} categories, {asked['shops']:,} shops, {asked['threads']} threads; "
        f"{measured['sample']['rows']:,} offers in the samples. Limit of the windows: {asked['memory_mb']:,} MB."
    )
    tail = (
        f"With the indexes written too: {content['sample_and_index_over_full_read']:.2f} of a full read. Extrapolated, "
        f"not measured: {content['extrapolated']['rows']:,} offers in {content['extrapolated']['sample_s'] / 60:.0f} "
        "minutes on this machine, if time stays proportional to rows."
    )
    lines = [
        *(head, ""),
        "| | seconds | processor seconds | peak MB | GB read |",
        "| --- | --- | --- | --- | --- |",
        *(_row(label, measured[name]) for name, label in LABELS.items() if name in measured),
        "",
        "| | aim, at most | measured |",
        "| --- | --- | --- |",
        *(_aim(name, aim, content[name]) for name, aim in content["aims"].items() if content[name] is not None),
        f"| windows for the same offers | 5 times slower, or out of memory | {describe_window(measured)} |",
        *("", tail, ""),
        *(f"- `{name}`: {meaning}." for name, meaning in content["definitions"].items()),
    ]
    return "\n".join(lines)


def describe_window(measured: Mapping[str, Any]) -> str:
    """How long the window functions that draw the same offers took, beside the sample. One that was stopped, or got no
    more memory, would have taken longer."""
    found = measured.get("windows, same offers")
    if found is None:
        return "not run"
    times = f"{found['seconds'] / measured['sample']['seconds']:.1f} times the sample"
    if found.get("stopped"):
        return f"stopped after {found['seconds']:,.0f} s: at least {times}"
    return f"out of memory, after {times}" if found.get("out_of_memory") else times


def refuse_unknown_format(path: Path) -> None:
    """Raises SettingsError where a plot's name does not end like one of PLOT_FORMATS."""
    if path.suffix.lower() not in PLOT_FORMATS:
        raise SettingsError(
            "a plot's format is told by the end of its name",
            value=f"--plot {path}",
            allowed=", ".join(PLOT_FORMATS),
            fix=f"--plot {path.with_suffix('.png') if path.name else 'plot.png'}",
        )


def draw_plot(content: dict[str, Any], path: Path) -> None:
    """Bars of seconds, one per measurement."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = {name: found for name, found in content["measured"].items() if name != "warm up"}
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(shown) + 1.2))
    bars = axes.barh(list(shown), [found["seconds"] for found in shown.values()], color="#4c78a8")
    labels = [_bar_label(found) for found in shown.values()]
    axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(f"{content['rows']:,} offers, {content['arguments']['threads']} threads", fontsize=10)
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", dpi=144)
    pyplot.close(figure)


def _bar_label(found: dict[str, Any]) -> str:
    note = " out of memory" if found.get("out_of_memory") else " stopped" if found.get("stopped") else ""
    peak = f", {found['peak_rss_mb']:,.0f} MB" if "peak_rss_mb" in found else ""
    return f"{found['seconds']:.1f} s{peak}{note}"


def _row(label: str, found: dict[str, Any]) -> str:
    seconds = f"{found['seconds']:.1f}" if found["seconds"] >= 1 else f"{found['seconds']:.2f}"
    if "state_s" in found:
        seconds = f"{found['seconds']:.2f} (state {found['state_s']:.2f}, samples {found['draw_s']:.2f})"
    if found.get("out_of_memory"):
        seconds = f"out of memory after {seconds}"
    if found.get("stopped"):
        seconds = f"stopped after {seconds}"
    read = found.get("bytes_read")
    cells = [
        label,
        seconds,
        f"{found['cpu_s']:.1f}" if "cpu_s" in found else "",
        f"{found['peak_rss_mb']:,.0f}" if "peak_rss_mb" in found else "",
        "" if read is None else f"{read / 1e9:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _aim(name: str, aim: float, value: float) -> str:
    shown = f"{value:,.0f}" if aim > 1 else f"{value:.3f}"
    return f"| `{name}` | {aim:,g} | {shown if value <= aim else f'**{shown}: missed**'} |"
