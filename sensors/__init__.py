"""WHEN: jobs, new feeds, drift, retraining, failures, and the conditions under which assets follow their upstream."""

from sensors.drift import drifted_slices
from sensors.failures import failed_runs
from sensors.feeds import new_feed_files
from sensors.following import follow_upstream
from sensors.jobs import JOBS
from sensors.retraining import waiting_slices

SENSORS = [new_feed_files, drifted_slices, waiting_slices, follow_upstream, failed_runs]

__all__ = ["JOBS", "SENSORS"]
