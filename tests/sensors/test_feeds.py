"""When feed files are loaded: once when they come, and again, a few times, where that failed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.profiles import Profile
from sensors.attempts import WAITS, Attempts
from sensors.feeds import files_to_load, new_feed_files
from sortiment.blobs import write_atomically

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SPEC = b"path: '*.csv'\nconstants: {country: DE}\ncolumns: {title: title}\n"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


class Feeds:
    """A market's folder, and a sensor that looks at it when it is told to, as the daemon makes it look."""

    def __init__(self, profile: Profile, instance: dg.DagsterInstance) -> None:
        self.profile, self.instance = profile, instance
        self.cursor: str | None = None
        write_atomically(profile.market_folder / "market.yaml", b"name: shop\nfeeds: [feeds/*.yaml]\n")
        write_atomically(profile.market_folder / "feeds" / "shop.yaml", SPEC)

    def bring(self, name: str) -> None:
        write_atomically(self.profile.market_folder / "feeds" / name, b"title\nToy\n")

    def look(self) -> dg.DagsterRun | str:
        """The run that is asked for, not started yet, or why there is none."""
        with dg.build_sensor_context(
            instance=self.instance, resources=self.profile.resources(), cursor=self.cursor
        ) as context:
            outcome: Any = new_feed_files.evaluate_tick(context)
        self.cursor = outcome.cursor
        if not outcome.run_requests:
            return str(outcome.skip_message)
        (request,) = outcome.run_requests
        known = {run.tags["dagster/run_key"] for run in self.instance.get_runs()}
        assert request.run_key not in known, "Dagster does not carry out a run key twice"
        tags = {**request.tags, "dagster/run_key": request.run_key}
        return self.instance.create_run_for_job(dg.GraphDefinition("load_feeds").to_job(), tags=tags)

    def fail(self) -> None:
        """The load that is asked for fails."""
        run = self.look()
        assert isinstance(run, dg.DagsterRun), run
        self.instance.report_run_failed(run)


@pytest.fixture
def feeds(tmp_path: Path, instance: dg.DagsterInstance) -> Feeds:
    return Feeds(Profile("local", tmp_path, "shop"), instance)


def test_a_file_is_loaded_once(feeds: Feeds) -> None:
    feeds.bring("day-1.csv")
    run = feeds.look()
    assert isinstance(run, dg.DagsterRun)
    assert feeds.look() == f"feed files are being loaded in run {run.run_id}"
    feeds.instance.report_dagster_event(succeeded(run), run.run_id)
    assert feeds.look() == "all 1 feed files have been loaded"
    feeds.bring("day-2.csv")
    assert isinstance(feeds.look(), dg.DagsterRun)


def succeeded(run: dg.DagsterRun) -> Any:
    from dagster._core.events import DagsterEvent, DagsterEventType

    return DagsterEvent(event_type_value=DagsterEventType.PIPELINE_SUCCESS.value, job_name=run.job_name)


def test_a_load_that_failed_is_asked_for_again_and_then_waits(feeds: Feeds) -> None:
    feeds.bring("day-1.csv")
    feeds.fail()
    feeds.fail()
    last = feeds.instance.get_runs()[0]
    assert str(feeds.look()).startswith(f"run {last.run_id} did not succeed, attempt 2: the next is made after 20")
    feeds.bring("day-2.csv")
    run = feeds.look()
    assert isinstance(run, dg.DagsterRun) and run.tags["sortiment/new_files"] == "1"


def test_after_a_load_by_hand_nothing_is_asked_for(feeds: Feeds) -> None:
    feeds.bring("day-1.csv")
    feeds.fail()
    feeds.instance.report_runless_asset_event(dg.AssetMaterialization("taxonomy"))
    assert feeds.look() == "all 1 feed files have been loaded"


def test_attempts_wait_longer_each_time_and_end() -> None:
    waited = []
    for failures, wait in enumerate(WAITS, start=1):
        attempts = Attempts("files", failures, "r1", NOON)
        assert attempts.why_not(NOON + wait) is None
        if wait:
            assert "the next is made after 2026-11-22" in str(attempts.why_not(NOON + wait - timedelta(seconds=1)))
        waited.append(wait)
    assert waited == sorted(waited)
    ended = Attempts("files", len(WAITS) + 1, "r1", NOON).why_not(NOON + timedelta(days=99))
    assert ended == "run r1 did not succeed, attempt 5: mend what it names and start the job by hand"
    assert Attempts("files", 3, None, None).why_not(NOON) is None


def test_each_attempt_has_a_run_key_of_its_own() -> None:
    keys = [Attempts("files", failures, "r1", NOON).run_key("x" * 600) for failures in range(5)]
    assert len(set(keys)) == 5 and max(map(len, keys)) <= 500


def test_a_file_that_went_away_asks_for_nothing() -> None:
    assert files_to_load(["b", "c"], ["a", "b"]) == ["c"]
