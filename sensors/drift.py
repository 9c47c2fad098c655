"""Drift: which slices drifted and were not asked for yet?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from catalog_assets.sampling import SampleConfig
from catalog_assets.teacher import TeacherConfig
from resources.market import MarketResource
from resources.storage import StorageResource
from sensors.attempts import Attempts, find_attempts
from sensors.jobs import relabel_slice
from sortiment.drift import partitions_to_relabel


@dg.sensor(job=relabel_slice, minimum_interval_seconds=60)
def drifted_slices(
    context: dg.SensorEvaluationContext, market: MarketResource, storage: StorageResource
) -> dg.SensorResult | dg.SkipReason:
    """Samples and labels anew each slice that a drift report found drifted, alone, once per report and again where that
    failed; its new offers are drawn with more weight."""
    store = storage.store
    verdicts = store.current_partitions("drift_report")
    if not verdicts:
        return dg.SkipReason("there is no drift report yet")
    reports: dict[str, list[str]] = {}
    for key, verdict in verdicts.items():
        found = reports.setdefault(verdict.manifest["inputs"]["measurement"], [])
        if verdict.summary["drifted"]:
            found.append(key)
    asked, now = _read_cursor(context.cursor), datetime.now(UTC)
    version_of = {key: version for version, keys in reports.items() for key in keys}
    tried = {
        key: _find_attempts(context, key, version)
        for key, (version, _) in asked.items()
        if version_of.get(key) == version
    }
    failed = {key: attempts.why_not(now) for key, attempts in tried.items() if attempts.failed_at is not None}
    again = {key for key, why_not in failed.items() if why_not is None}
    known = {key: found for key, found in asked.items() if key not in again}
    wanted = partitions_to_relabel(
        reports,
        {key: version for key, (version, _) in known.items()},
        now,
        timedelta(hours=market.settings.drift.cooldown_hours),
        {key: at for key, (_, at) in known.items()},
        store.current_partitions("training_sample"),
    )
    if not wanted.partitions:
        waiting = {key: why_not for key, why_not in failed.items() if why_not is not None}
        return dg.SkipReason(replace(wanted, skipped={**wanted.skipped, **waiting}).why)
    refit = market.settings.drift.refit_teacher
    config = dg.RunConfig(
        ops={"training_sample": SampleConfig(fresh=True), "teacher_model": TeacherConfig(keep=not refit)}
    )
    asked |= {key: (version_of[key], now) for key in wanted.partitions}
    next_attempts = {key: _find_attempts(context, key, version_of[key]) for key in wanted.partitions}
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=attempts.run_key(_name_request(key, version_of[key])),
                partition_key=key,
                tags={"sortiment/why": "drift", **attempts.tags},
                run_config=config,
            )
            for key, attempts in next_attempts.items()
        ],
        cursor=_write_cursor(asked),
    )


def _find_attempts(context: dg.SensorEvaluationContext, key: str, version: str) -> Attempts:
    return find_attempts(context.instance, relabel_slice.name, _name_request(key, version))


def _name_request(key: str, version: str) -> str:
    return f"{key}/{version}"


def _read_cursor(cursor: str | None) -> dict[str, tuple[str, datetime]]:
    """Slice to the report that it was last asked for, and when; a line each."""
    rows = [line.split(" ") for line in (cursor or "").splitlines()]
    return {key: (version, datetime.fromisoformat(at)) for key, version, at in rows}


def _write_cursor(asked: dict[str, tuple[str, datetime]]) -> str:
    return "\n".join(f"{key} {version} {at.isoformat()}" for key, (version, at) in sorted(asked.items()))
