"""WHEN: jobs, schedules, new feeds, drift, retraining, failures."""
