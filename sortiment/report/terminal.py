"""What the demo prints at its end: one table that fits 80 columns, from the same numbers as the page."""

from pathlib import Path
from typing import TYPE_CHECKING

from sortiment.report.numbers import ABSENT, count_text, duration_text, gap_text, number_text, score_text, share_text
from sortiment.report.page_figures import choice_name
from sortiment.report.page_rows import (
    explain_absence,
    fastest_engine,
    overall,
    overall_row,
    reference_of,
    score_table,
    touched_partitions,
)
from sortiment.report.schema import Report
from sortiment.report.style import short_number, short_text, short_usd

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Line = tuple[str, str, str]


def summarize_report(report: Report, page: Path | None = None) -> "RenderableType":
    """The final table: what ran, scores, speed, cost, drift, release, what was not done. `page` is where to read on."""
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble((report.market.name, "bold"))
    if report.market.synthetic:
        title.append("  SYNTHETIC MARKET", style="bold yellow")
    table = Table(
        title=title,
        title_justify="left",
        show_header=False,
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        min_width=60,
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="bold", justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    groups = [_data_lines(report), _score_lines(report), _engine_lines(report), _drift_lines(report)]
    groups.append(_end_lines(report, page))
    for group in groups:
        for label, value, note in group:
            table.add_row(Text(label), Text(value), Text(note))
        table.add_row()
    return table


def score_summary(report: Report) -> "Table":
    """Macro-F1 by country and by feed, one column per model: the second table for those who want it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("macro-F1")
    for model in report.scores:
        table.add_column(Text(model), justify="right")
    table.add_column("student / teacher", justify="right")
    rows = [*score_table(report, "by_country"), *score_table(report, "by_feed"), overall_row(report)]
    for row in rows:
        cells = [score_text(cell.macro_f1) for cell in row.cells]
        table.add_row(Text(short_text(row.name, 40)), *cells, share_text(row.share_of_teacher))
    return table


def _data_lines(report: Report) -> list[Line]:
    market = report.market
    places = f"{len(market.countries)} countries, {len(market.departments)} departments"
    lines = [("offers", count_text(market.offers), f"{places}, {count_text(market.categories)} categories")]
    if report.quarantine is not None:
        worst = max(report.quarantine.by_reason.items(), key=lambda item: item[1], default=None)
        note = f"most: {short_text(worst[0], 50)} ({count_text(worst[1])})" if worst else ""
        lines.append(("in quarantine", count_text(report.quarantine.rows), note))
        if report.quarantine.left_out:
            names = ", ".join(short_text(file.source_file, 40) for file in report.quarantine.left_out[:3])
            lines.append(("files left out", count_text(len(report.quarantine.left_out)), f"cannot be read: {names}"))
    if market.empty_columns:
        empty = [f"{short_text(feed, 40)}: {', '.join(names)}" for feed, names in market.empty_columns.items()]
        lines.append(
            ("columns no row fills", count_text(sum(map(len, market.empty_columns.values()))), "; ".join(empty))
        )
    if report.sampling is not None:
        note = f"of {count_text(report.sampling.offers)} labelled"
        lines.append(("sampled", count_text(report.sampling.sampled), note))
    return lines


def _score_lines(report: Report) -> list[Line]:
    if not report.scores:
        return [_not_done(report, "macro-F1", "scores")]
    lines = []
    for model, scores in report.scores.items():
        value = scores.macro_f1.overall
        low, high = scores.interval.overall or (None, None)
        note = f"{score_text(low)} to {score_text(high)}" if low is not None and high is not None else ""
        reference = reference_of(model)
        against = overall(report, reference)
        if value is not None and against is not None and reference != model:
            note += f"{', ' if note else ''}{gap_text(value - against)} against the {reference}"
        lines.append((f"{model} macro-F1", score_text(value), note))
    return lines


def _engine_lines(report: Report) -> list[Line]:
    best = fastest_engine(report)
    if best is None:
        lines = [_not_done(report, "offers per second", "speed")]
    else:
        ratio = f", {short_number(best.ratio_to_naive)}× the naive baseline" if best.ratio_to_naive else ""
        lines = [("offers per second", number_text(best.offers_per_s), f"{best.engine}{ratio}, measured")]
    choice = report.cost.choice if report.cost else None
    if choice is None or choice.usd_per_million is None:
        return [*lines, _not_done(report, "USD per million", "cost")]
    note = choice_name(choice) + (f", {choice.basis}" if choice.basis else "")
    return [*lines, ("USD per million", short_usd(choice.usd_per_million), note)]


def _drift_lines(report: Report) -> list[Line]:
    drift = report.drift
    if drift is None:
        return [_not_done(report, "drift", "drift")]
    if drift.partition is None:
        return [("drift", "none", "no partition drifted")]
    if drift.why and drift.partition not in drift.partitions_relabelled:
        return [("drift", "not found", f"{short_text(drift.partition, 40)}: {drift.why}")]
    course = f"{score_text(drift.before)} → {score_text(drift.drifted)} → {score_text(drift.after)}"
    touched = touched_partitions(report)
    relabelled = ", ".join(short_text(partition, 40) for partition in touched.relabelled[:4]) or "none"
    return [
        ("drift won back", share_text(drift.recovered_share), f"{short_text(drift.partition, 40)}: {course}"),
        (
            "re-labelled",
            str(len(touched.relabelled)),
            f"{relabelled}; {count_text(len(touched.left_alone))} left alone",
        ),
    ]


def _end_lines(report: Report, page: Path | None) -> list[Line]:
    champion = report.champion
    lines = [_not_done(report, "champion", "releases")]
    if champion is not None:
        number = ABSENT if champion.number is None else f"release {champion.number}"
        lines = [("champion", number, champion.version)]
    if report.seconds.total is not None:
        lines.append(("took", duration_text(report.seconds.total), ""))
    lines += [("not done here", "", f"{entry.what}: {entry.why}") for entry in report.not_done if not entry.section]
    if page is not None:
        lines.append(("read on", "", str(page)))
    return lines


def _not_done(report: Report, label: str, section: str) -> Line:
    return label, "not done", explain_absence(report, section).why
