"""Runs assets and sensors through a market's real Dagster instance, in this process.

A person would press "Materialize" and let the daemon tick; the demo does both itself, so that it needs no servers and
ends when it is done. What it leaves behind is the same: runs, materializations, checks and ticks, all of which
`make ui` shows.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg

# Evaluating a sensor on dynamic partitions and recording its tick have no public door; the versions are pinned, and a
# test reads the ticks back through the public API.
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    RUN_KEY_TAG,
    SENSOR_NAME_TAG,
)

from definitions import LOCATION_NAME, build_definitions
from demo.event_log import open_kept_instance
from resources.profiles import Profile
from sortiment.blobs import write_atomically
from sortiment.errors import StorageError
from sortiment.settings import Settings

PROCESS_TAG = "sortiment/process"
LOCK_FILE = "demo.lock"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@dataclass(frozen=True)
class Driver:
    """One market's definitions and its instance."""

    profile: Profile
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    run_config: dict[str, Any]

    @property
    def settings(self) -> Settings:
        """The market's settings, as the assets see them."""
        return self.profile.market_resource().settings

    def materialize(self, assets: Sequence[str], partitions: Sequence[str] | None = None) -> dg.ExecuteInProcessResult:
        """One run of the assets. `partitions`: None for unpartitioned, one key, or the first and last of a range.

        Raises what the asset raised.
        """
        tags = {PROCESS_TAG: str(os.getpid())}
        if partitions and len(partitions) > 1:
            tags |= {ASSET_PARTITION_RANGE_START_TAG: partitions[0], ASSET_PARTITION_RANGE_END_TAG: partitions[-1]}
        return self._job().execute_in_process(
            run_config=self.run_config,
            instance=self.instance,
            partition_key=partitions[0] if partitions and len(partitions) == 1 else None,
            tags=tags,
            asset_selection=[dg.AssetKey(name) for name in assets],
        )

    def tick(self, sensor_name: str) -> dg.SkipReason | list[dg.RunRequest]:
        """Evaluate a sensor as the daemon would, record the tick, and run what it asked for.

        Returns the run requests that were carried out, or the reason why there were none.
        """
        sensor = self.definitions.resolve_sensor_def(sensor_name)
        started = time.time()
        with (
            dg.build_sensor_context(
                instance=self.instance,
                definitions=self.definitions,
                resources=self.profile.resources(),
                sensor_name=sensor_name,
                cursor=self._cursor(sensor_name),
            ) as context,
            partition_loading_context(dynamic_partitions_store=self.instance),
        ):
            outcome = sensor.evaluate_tick(context)
        requests = [
            request for request in outcome.run_requests or [] if not self._was_run(sensor_name, request.run_key)
        ]
        run_ids = [self._carry_out(sensor_name, request) for request in requests]
        self._record_tick(sensor_name, started, outcome, requests, run_ids)
        if requests:
            return requests
        return dg.SkipReason(outcome.skip_message or "every run that was asked for has been run already")

    def _carry_out(self, sensor_name: str, request: dg.RunRequest) -> str:
        tags = dict(request.tags) | {PROCESS_TAG: str(os.getpid()), SENSOR_NAME_TAG: sensor_name}
        if request.run_key:
            tags[RUN_KEY_TAG] = request.run_key
        job = self.definitions.resolve_job_def(
            request.job_name or self.definitions.resolve_sensor_def(sensor_name).job.name
        )
        result = job.execute_in_process(
            run_config=self.run_config | {name: part for name, part in request.run_config.items() if part},
            instance=self.instance,
            partition_key=request.partition_key,
            tags=tags,
        )
        return result.run_id

    def _was_run(self, sensor_name: str, run_key: str | None) -> bool:
        if run_key is None:
            return False
        runs = self.instance.get_runs(
            dg.RunsFilter(
                tags={RUN_KEY_TAG: run_key, SENSOR_NAME_TAG: sensor_name}, statuses=[dg.DagsterRunStatus.SUCCESS]
            )
        )
        return bool(runs)

    def _job(self) -> dg.JobDefinition:
        return self.definitions.resolve_implicit_global_asset_job_def()

    def _selector(self, sensor_name: str) -> str:
        return InstigatorSelector(
            location_name=LOCATION_NAME, repository_name="__repository__", name=sensor_name
        ).get_id()

    def _cursor(self, sensor_name: str) -> str | None:
        selector = self._selector(sensor_name)
        ticks = self.instance.get_ticks(selector, selector, limit=1)
        return ticks[0].tick_data.cursor if ticks else None

    def _record_tick(
        self,
        sensor_name: str,
        started: float,
        outcome: Any,
        requests: list[dg.RunRequest],
        run_ids: list[str],
    ) -> None:
        selector = self._selector(sensor_name)
        self.instance.create_tick(
            TickData(
                instigator_origin_id=selector,
                instigator_name=sensor_name,
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.SUCCESS if requests else TickStatus.SKIPPED,
                timestamp=started,
                end_timestamp=time.time(),
                run_ids=run_ids,
                run_keys=[request.run_key for request in requests if request.run_key],
                skip_reason=outcome.skip_message,
                cursor=outcome.cursor,
                selector_id=selector,
            )
        )


@contextmanager
def open_instance(profile: Profile) -> Iterator[dg.DagsterInstance]:
    """The market's own instance, its `dagster.yaml` written on first use; runs of a killed process are closed.

    One process at a time: raises StorageError where another one drives this market.
    """
    home = profile.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        write_atomically(home / "dagster.yaml", files("resources").joinpath("dagster.yaml").read_bytes())
    with _alone(home / LOCK_FILE), open_kept_instance(home) as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
            if PROCESS_TAG in run.tags:  # of a process that has the lock no more
                instance.report_run_failed(run, "the process that ran it was killed; the next run resumes its work")
        yield instance


def open_driver(profile: Profile, instance: dg.DagsterInstance, progress_style: str = "terminal") -> Driver:
    """The market's definitions, ready to be run in this process."""
    config = {**QUIET, "resources": {"progress": {"config": {"style": progress_style}}}}
    return Driver(profile, build_definitions(profile), instance, config)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock, which goes with the process however that ends."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                "another `sortiment demo` is at work on this market", value=str(path), fix="wait for it, or end it"
            ) from error
        yield
