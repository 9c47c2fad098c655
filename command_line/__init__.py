"""The `sortiment` command: the only package above everything, since its commands open homes and drive Dagster."""
