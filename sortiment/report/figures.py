"""All figures in one place: the table of contents of what can be drawn.

Each `plot_*` takes plain data (dictionaries, the rows of `schema`, or objects with the same attributes) and returns a
matplotlib Figure in the house style. `to_svg` puts it into an HTML page, `to_markdown` into Dagster's metadata.
Importing this module does not import matplotlib.
"""

from sortiment.report.data_figures import plot_category_counts, plot_counts, plot_coverage, plot_feed_rows
from sortiment.report.drift_figures import plot_drift_map, plot_recovery, plot_releases
from sortiment.report.engine_figures import plot_cost, plot_ranking, plot_speed
from sortiment.report.export import to_markdown, to_png, to_svg
from sortiment.report.model_figures import plot_behaviour, plot_reliability_by_country
from sortiment.report.score_figures import (
    plot_confusions,
    plot_reliability,
    plot_scores,
    plot_soft_labels,
    plot_training,
)

__all__ = [
    "plot_behaviour",
    "plot_category_counts",
    "plot_confusions",
    "plot_cost",
    "plot_counts",
    "plot_coverage",
    "plot_drift_map",
    "plot_feed_rows",
    "plot_ranking",
    "plot_recovery",
    "plot_releases",
    "plot_reliability",
    "plot_reliability_by_country",
    "plot_scores",
    "plot_soft_labels",
    "plot_speed",
    "plot_training",
    "to_markdown",
    "to_png",
    "to_svg",
]
