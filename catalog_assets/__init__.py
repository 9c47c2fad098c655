"""WHAT exists: one thin file per stage, its checks beside it."""

import warnings

import dagster as dg

# `backfill_policy` (one run for many partitions) is marked as beta; the versions are pinned.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
