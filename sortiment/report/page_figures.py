"""Which figures the page draws, each from its part of a report."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sortiment.report import figures
from sortiment.report.schema import DIMENSIONS, CostChoice, Report
from sortiment.report.score_figures import score_leaves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_SHOWN = 30  # the tables beside the figures have all
SHOPS_SHOWN = 18


def draw_figures(report: Report) -> dict[str, "Figure"]:
    """Figure by name; only those whose data the report holds."""
    drawers: list[Callable[[Report], dict[str, Figure]]] = [
        _draw_data, _draw_sample, _draw_scores, _draw_training, _draw_engines, _draw_drift,
    ]  # fmt: skip
    drawn: dict[str, Figure] = {}
    for draw in drawers:
        drawn.update(draw(report))
    return drawn


def _draw_data(report: Report) -> dict[str, "Figure"]:
    drawn = {}
    if report.market.feeds:
        drawn["feeds"] = figures.plot_feed_rows(report.market.feeds)
    if report.imbalance:
        before, after = zip(*((row.offers, row.sampled) for row in report.imbalance), strict=True)
        cap = report.sampling.per_category if report.sampling else None
        countries = len(report.market.countries) or 1
        note = f"({cap:,} in each of {countries} countries)" if cap and countries > 1 else ""
        drawn["categories"] = figures.plot_category_counts(before, after, cap * countries if cap else None, note)
    if report.quarantine and report.quarantine.rows:
        reasons, files = report.quarantine.by_reason, report.quarantine.by_file
        drawn["quarantine"] = figures.plot_counts(reasons, "quarantine-reasons", "Broken rows by reason")
        drawn["quarantine_files"] = figures.plot_counts(files, "quarantine-files", "Broken rows by file")
    return drawn


def _draw_sample(report: Report) -> dict[str, "Figure"]:
    drawn = {}
    if report.sampling and report.sampling.by_department:
        drawn["coverage"] = figures.plot_coverage(report.sampling.by_department, "department", limit=ROWS_SHOWN)
    if report.sampling and report.sampling.by_shop:
        drawn["shops"] = figures.plot_coverage(report.sampling.by_shop, "shop", limit=SHOPS_SHOWN)
    return drawn


def _draw_scores(report: Report) -> dict[str, "Figure"]:
    drawn = {}
    for dimension in DIMENSIONS:
        leaves, name = score_leaves(report.scores, dimension), dimension.removeprefix("by_")
        if leaves:
            drawn[f"scores_{name}"] = figures.plot_scores(leaves, name.replace("_", " "), limit=ROWS_SHOWN)
    return drawn


def _draw_training(report: Report) -> dict[str, "Figure"]:
    drawn = {}
    if report.training:
        drawn["training"] = figures.plot_training(report.training)
    if report.reliability:
        drawn["reliability"] = figures.plot_reliability(report.reliability)
    if report.reliability_by_country:
        drawn["reliability_by_country"] = figures.plot_reliability_by_country(report.reliability_by_country)
    if report.behaviour:
        drawn["behaviour"] = figures.plot_behaviour(report.behaviour)
    if report.soft_labels and (report.soft_labels.confidence or report.soft_labels.entropy):
        drawn["soft_labels"] = figures.plot_soft_labels(report.soft_labels.confidence, report.soft_labels.entropy)
    return drawn


def _draw_engines(report: Report) -> dict[str, "Figure"]:
    drawn = {}
    if report.ranking:
        drawn["ranking"] = figures.plot_ranking(report.ranking)
    if report.speed:
        drawn["speed"] = figures.plot_speed(report.speed)
    if report.cost and report.cost.rows:
        choice = report.cost.choice
        drawn["cost"] = figures.plot_cost(report.cost.rows, choice_name(choice) if choice else None)
    return drawn


def choice_name(choice: CostChoice) -> str:
    return f"{choice.instance} / {choice.engine}" if choice.engine else choice.instance


def _draw_drift(report: Report) -> dict[str, "Figure"]:
    drawn = {}
    drift = report.drift
    if drift and drift.decisions:
        drawn["drift_map"] = figures.plot_drift_map(drift.decisions, limit=ROWS_SHOWN)
    if drift and drift.partition and any(value is not None for value in (drift.before, drift.drifted, drift.after)):
        drawn["recovery"] = figures.plot_recovery(drift.partition, drift.before, drift.drifted, drift.after)
    if report.releases:
        drawn["releases"] = figures.plot_releases(report.releases)
    return drawn
