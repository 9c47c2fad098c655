"""Sortiment puts every shop offer into its catalog category.

This package is HOW: plain Python, one folder or file per stage, no Dagster and no environment variables. Stages in
the order of the flow: market (synthetic stand-in for feeds), feeds, taxonomy, sampling, encoders, teacher, student,
evaluation, engines, cost, release, predictions, drift, report.
"""

__version__ = "0.1.0"
