"""`report.html`: one page with its styles, plots and script inside, that opens offline and asks for nothing.

Titles and category names come from feeds and are untrusted: the template escapes everything, the plots are escaped by
matplotlib, and the page's own policy lets no script run but the one below, known by its hash, and nothing load.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sortiment.blobs import write_atomically
from sortiment.report import numbers, page_rows
from sortiment.report.engine_figures import basis_of
from sortiment.report.schema import DIMENSIONS, Report, parse_report
from sortiment.report.style import TOKENS, short_usd

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render_report(report: Report | Mapping[str, Any], out: Path) -> None:
    """Write the page to `out`, atomically. Raises StorageError where the content is not a report."""
    write_atomically(out, render_page(report).encode("utf-8"))


def render_page(report: Report | Mapping[str, Any]) -> str:
    """The page as text."""
    parsed = report if isinstance(report, Report) else parse_report(report)
    template = _environment().get_template("report.html")
    script = (TEMPLATES / "script.html").read_text(encoding="utf-8").strip()
    return template.render(
        report=parsed,
        plots=_draw_plots(parsed),
        styles=_trusted(theme_variables() + (TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=_trusted(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        sections=page_rows.SECTIONS,
        machine=page_rows.machine_text(parsed),
        cards=page_rows.key_figures(parsed),
        explain=lambda section: page_rows.explain_absence(parsed, section),
        facts=page_rows.imbalance_facts(parsed),
        extremes=page_rows.largest_and_smallest(parsed),
        score_tables={
            dimension.removeprefix("by_").replace("_", " "): page_rows.score_table(parsed, dimension)
            for dimension in DIMENSIONS
        },
        behaviour=page_rows.behaviour_table(parsed),
        all_offers=page_rows.overall_row(parsed),
        touched=page_rows.touched_partitions(parsed),
        decisions=page_rows.decisions_by_score(parsed),
    )


def theme_variables() -> str:
    """The figures' colors as CSS variables, for light and for dark."""
    light = "".join(f"--{name}:{value[0]};" for name, value in TOKENS.items())
    dark = "".join(f"--{name}:{value[1]};" for name, value in TOKENS.items())
    return (
        f":root{{{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark}}}}}\n"
    )


def _draw_plots(report: Report) -> dict[str, dict[str, Any]]:
    """Name to `{title, svg}`."""
    from sortiment.report.export import to_svg
    from sortiment.report.page_figures import draw_figures

    return {
        name: {"title": figure.get_suptitle(), "note": figure.get_label(), "svg": _trusted(to_svg(figure))}
        for name, figure in draw_figures(report).items()
    }


def _trusted(text: str) -> "Markup":
    """Text that this package wrote or that matplotlib has escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=numbers.count_text,
        score=numbers.score_text,
        gap=numbers.gap_text,
        share=numbers.share_text,
        number=numbers.number_text,
        size=numbers.size_text,
        duration=numbers.duration_text,
        usd=lambda value: numbers.ABSENT if value is None else short_usd(value),
        usd_exact=lambda value: numbers.ABSENT if value is None else f"${value:,.4f}",
        basis=basis_of,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str),
    )
    return environment
