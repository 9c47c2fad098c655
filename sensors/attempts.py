"""Attempts: what was asked for and failed is asked for again, later each time, and then left to a person.

Dagster carries out a run key once, also where that run fails, so the key of a further attempt has its number. What a
sensor does not know by its cursor to have asked for, it asks for at once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from sortiment.artifacts import content_version

ASKED_FOR = "sortiment/asked_for"
FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
WAITS = (timedelta(0), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""How long after its first, second, ... failure a thing is asked for again. After one more it waits for a person."""
MINUTE = "%Y-%m-%d %H:%M"
KEY_CHARS = 480


@dataclass(frozen=True)
class Attempts:
    """What became of what was asked for. failures: so many runs of it failed or were ended.

    failed_run: the last run, where it was one of those; failed_at: when. None where the last went well, still runs or
    never was.
    """

    asked_for: str
    failures: int
    failed_run: str | None
    failed_at: datetime | None

    def why_not(self, now: datetime) -> str | None:
        """Why it is not asked for again now, in words; None where it is time to."""
        if self.failed_at is None:
            return None
        said = f"run {self.failed_run} did not succeed, attempt {self.failures}"
        if self.failures > len(WAITS):
            return f"{said}: mend what it names and start the job by hand"
        due = self.failed_at + WAITS[self.failures - 1]
        return None if now >= due else f"{said}: the next is made after {due:{MINUTE}}"

    def run_key(self, text: str) -> str:
        """The key of the next attempt at what `text` says."""
        end = text[-KEY_CHARS:]
        return f"{end} attempt {self.failures + 1}" if self.failures else end

    @property
    def tags(self) -> dict[str, str]:
        """By which the runs are found again."""
        return {ASKED_FOR: self.asked_for}


def find_attempts(instance: dg.DagsterInstance, job: str, asked_for: str) -> Attempts:
    """The attempts of a job at what the text `asked_for` says."""
    version = content_version(asked_for)
    records = instance.get_run_records(dg.RunsFilter(job_name=job, tags={ASKED_FOR: version}))  # newest first
    failures = sum(record.dagster_run.status in FAILED for record in records)
    if not records or records[0].dagster_run.status not in FAILED:
        return Attempts(version, failures, None, None)
    last = records[0]
    ended = last.create_timestamp if last.end_time is None else datetime.fromtimestamp(last.end_time, UTC)
    return Attempts(version, failures, last.dagster_run.run_id, ended)
