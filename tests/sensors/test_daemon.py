"""A feed that arrives while the real daemon runs: its sensor sees it, its run loads it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pytest
import yaml

from definitions import LOCATION_NAME
from demo.drive import open_driver, open_instance
from resources.profiles import Profile
from sortiment.feeds import read_listing
from sortiment.market import generate_market
from sortiment.settings import MarketSettings

pytestmark = pytest.mark.slow
SECONDS_TO_LOAD = 300
SMALL = MarketSettings(offers=500, countries=("GB",), departments=("garden", "pets"), shops_per_country=2)
FEED = "offer_id,shop,title\n1,new shop,Dog lead 2 m\n2,new shop,Cat flap white\n"
SPEC = {
    "path": "new/*.csv",
    "format": "csv",
    "constants": {"country": "IE"},
    "columns": {"offer_id": "offer_id", "shop_id": "shop", "title": "title"},
}


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A market whose first feeds were loaded by hand."""
    made = Profile("local", tmp_path, "small")
    generate_market(SMALL, made.market_folder)
    with open_instance(made) as instance:
        open_driver(made, instance, progress_style="log").materialize(["feed_files", "taxonomy"])
    return made


def test_a_feed_that_arrives_is_loaded_by_a_run_that_the_real_daemon_starts(
    profile: Profile,
    run_daemon: Callable[[Profile], AbstractContextManager[Callable[[], str]]],
    switch_on: Callable[..., None],
) -> None:
    with run_daemon(profile) as read_log, dg.DagsterInstance.from_config(str(profile.dagster_home)) as instance:
        feeds = profile.market_folder / "feeds"
        (feeds / "new").mkdir()
        (feeds / "new" / "offers.csv").write_text(FEED, encoding="utf-8")
        (feeds / "new-shop.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
        assert instance.get_runs(dg.RunsFilter(job_name="load_feeds")) == []
        switch_on(profile, "new_feed_files")
        run = wait_for_run(instance, "load_feeds", read_log)
        assert run.tags["dagster/sensor_name"] == "new_feed_files"
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.repository_origin.code_location_origin.location_name == LOCATION_NAME
        assert "IE" in instance.get_dynamic_partitions("country")
    store = profile.storage().store
    parts = read_listing(store.current("feed_files").path, store)
    assert [sum(part.rows.values()) for part in parts if part.feed == "new-shop"] == [2]


@pytest.mark.long
def test_a_load_that_failed_is_carried_out_again_by_the_real_daemon(
    profile: Profile,
    run_daemon: Callable[[Profile], AbstractContextManager[Callable[[], str]]],
    switch_on: Callable[..., None],
) -> None:
    feeds = profile.market_folder / "feeds"
    (feeds / "new").mkdir()
    (feeds / "new" / "offers.csv").write_text(FEED, encoding="utf-8")
    spec = feeds / "new-shop.yaml"
    spec.write_text(yaml.safe_dump(SPEC | {"encoding": "utf-16"}), encoding="utf-8")
    with run_daemon(profile) as read_log, dg.DagsterInstance.from_config(str(profile.dagster_home)) as instance:
        switch_on(profile, "new_feed_files")
        give_up = time.monotonic() + SECONDS_TO_LOAD
        while not (runs := instance.get_runs()) or runs[0].status is not dg.DagsterRunStatus.FAILURE:
            assert time.monotonic() < give_up, read_log()[-2000:]
            time.sleep(0.5)
        spec.write_text(yaml.safe_dump(SPEC), encoding="utf-8")  # no file has changed: only what is said of it
        while (run := instance.get_runs(limit=1)[0]).status is not dg.DagsterRunStatus.SUCCESS:
            assert time.monotonic() < give_up, read_log()[-2000:]
            time.sleep(0.5)
    assert run.tags["dagster/run_key"].endswith(" attempt 2")


def wait_for_run(instance: dg.DagsterInstance, job: str, read_log: Callable[[], str]) -> dg.DagsterRun:
    """The job's first run, when it has succeeded."""
    give_up = time.monotonic() + SECONDS_TO_LOAD
    while time.monotonic() < give_up:
        read_log()
        for run in instance.get_runs(dg.RunsFilter(job_name=job)):
            assert run.status is not dg.DagsterRunStatus.FAILURE, instance.all_logs(run.run_id)[-3:]
            if run.status is dg.DagsterRunStatus.SUCCESS:
                return run
        time.sleep(0.5)
    pytest.fail(f"the daemon ran no {job} within {SECONDS_TO_LOAD} s: {read_log()[-2000:]}")
