"""Failed runs: one log line each, with what failed and the first line of why."""

import dagster as dg


@dg.run_failure_sensor
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """Logs a failed run where the daemon's log is collected. Alerts are made from that line (docs/operations.md)."""
    context.log.error(
        describe_failure(context.dagster_run.job_name, context.dagster_run.run_id, context.failure_event.message)
    )


def describe_failure(job: str, run_id: str, message: str | None) -> str:
    """One line: `run failed job=... run=... why=...`."""
    first = (message or "no message").strip().splitlines()[0]
    return f"run failed job={job} run={run_id} why={first}"
