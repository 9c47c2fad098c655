"""Drift: which slices drifted and were not asked for yet?"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from catalog_assets.sampling import SampleConfig
from catalog_assets.teacher import TeacherConfig
from resources.market import MarketResource
from resources.storage import StorageResource
from sensors.jobs import relabel_slice
from sortiment.drift import partitions_to_relabel


@dg.sensor(job=relabel_slice, minimum_interval_seconds=60)
def drifted_slices(
    context: dg.SensorEvaluationContext, market: MarketResource, storage: StorageResource
) -> dg.SensorResult | dg.SkipReason:
    """Samples and labels anew each slice that a drift report found drifted, alone, once per report; its new offers are
    drawn with more weight."""
    store = storage.store
    verdicts = store.current_partitions("drift_report")
    if not verdicts:
        return dg.SkipReason("there is no drift report yet")
    reports: dict[str, list[str]] = {}
    for key, verdict in verdicts.items():
        found = reports.setdefault(verdict.manifest["inputs"]["measurement"], [])
        if verdict.summary["drifted"]:
            found.append(key)
    asked = _read_cursor(context.cursor)
    wanted = partitions_to_relabel(
        reports,
        {key: version for key, (version, _) in asked.items()},
        datetime.now(UTC),
        timedelta(hours=market.settings.drift.cooldown_hours),
        {key: at for key, (_, at) in asked.items()},
        store.current_partitions("training_sample"),
    )
    if not wanted.partitions:
        return dg.SkipReason(wanted.why)
    version_of = {key: version for version, keys in reports.items() for key in keys}
    refit = market.settings.drift.refit_teacher
    config = dg.RunConfig(
        ops={"training_sample": SampleConfig(fresh=True), "teacher_model": TeacherConfig(keep=not refit)}
    )
    now = datetime.now(UTC)
    asked |= {key: (version_of[key], now) for key in wanted.partitions}
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{key}/{version_of[key]}",
                partition_key=key,
                tags={"sortiment/why": "drift"},
                run_config=config,
            )
            for key in wanted.partitions
        ],
        cursor=_write_cursor(asked),
    )


def _read_cursor(cursor: str | None) -> dict[str, tuple[str, datetime]]:
    """Slice to the report that it was last asked for, and when; a line each."""
    rows = [line.split(" ") for line in (cursor or "").splitlines()]
    return {key: (version, datetime.fromisoformat(at)) for key, version, at in rows}


def _write_cursor(asked: dict[str, tuple[str, datetime]]) -> str:
    return "\n".join(f"{key} {version} {at.isoformat()}" for key, (version, at) in sorted(asked.items()))
