"""The main job on one command: drives the real Dagster instance from an empty home to the report."""
