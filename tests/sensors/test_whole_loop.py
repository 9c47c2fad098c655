"""The whole loop by the real daemon alone, from a drifted feed to its answers by a new champion. Takes ten minutes or
more, so it runs when it is asked for: `make test ARGS="-m long"`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.profiles import Profile, read_profile
from sortiment.feeds import read_listing
from sortiment.market import inject_drift, write_drifted_feed
from sortiment.predictions import read_predictions
from sortiment.release import ReleaseLog

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "tiny.yaml"
SECONDS_FOR_ALL = 3600
RunDaemon = Callable[[Profile], AbstractContextManager[Callable[[], str]]]


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A market with a champion: what the demo leaves behind, or the finished home in SORTIMENT_FINISHED_HOME."""
    home = os.environ.get("SORTIMENT_FINISHED_HOME")
    if home is None:
        home = str(tmp_path)
        command = [sys.executable, "-m", "sortiment", "demo", "--settings", str(TINY)]
        subprocess.run(command, env=os.environ | {"SORTIMENT_HOME": home}, cwd=ROOT, check=True, capture_output=True)
    return read_profile({"SORTIMENT_HOME": home})


def test_a_drifted_feed_ends_as_answers_of_a_new_champion(
    profile: Profile, run_daemon: RunDaemon, switch_on: Callable[..., None]
) -> None:
    log = ReleaseLog(profile.storage().blobs)
    releases = len(log.events())
    drifted = find_undrifted_slice(profile)
    with run_daemon(profile) as read_log, dg.DagsterInstance.from_config(str(profile.dagster_home)) as instance:
        known = {run.run_id for run in instance.get_runs()}
        switch_on(profile, "--start-all")
        wait(lambda: "tick for follow_upstream" in read_log(), "look at its conditions", read_log)
        bring_drifted_feed(profile, drifted)
        wait(lambda: finished(instance, known, "load_feeds"), "load the new feed", read_log)
        wait(lambda: finished(instance, known, "relabel_slice"), "label the drifted slice anew", read_log)
        wait(lambda: finished(instance, known, "retrain_student"), "train the student", read_log)
        wait(lambda: len(log.events()) > releases, "decide on the release", read_log)
        wait(lambda: answered_by_champion(profile, log, drifted), "answer with the champion", read_log)
        new = [run for run in instance.get_runs() if run.run_id not in known]
        (profile.market_folder / "feeds" / "day-3" / "torn.parquet").write_bytes(b"PAR1 torn")
        wait(lambda: "run failed job=load_feeds" in read_log(), "log the load that failed", read_log)
    assert not [run.job_name for run in new if run.status is dg.DagsterRunStatus.FAILURE]
    labelled = [run.tags["dagster/partition"] for run in new if run.job_name == "relabel_slice"]
    assert labelled == [drifted]
    assert sum(run.job_name == "retrain_student" for run in new) == 1


def find_undrifted_slice(profile: Profile) -> str:
    """The labelled slice with most offers that no report has found drifted: its cooldown is not running."""
    store = profile.storage().store
    drifted = {key for key, verdict in store.current_partitions("drift_report").items() if verdict.summary["drifted"]}
    samples = {
        key: sample.summary["rows"]
        for key, sample in store.current_partitions("training_sample").items()
        if sample.summary["categories"] and key not in drifted
    }
    return max(samples, key=lambda key: (samples[key], key))


def bring_drifted_feed(profile: Profile, partition: str) -> None:
    """All first-day offers of the slice's country once more, the slice's titles in words that nobody has seen."""
    store = profile.storage().store
    country, department = partition.split("|", 1)
    parts = [part for part in read_listing(store.current("feed_files").path, store) if country in part.paths]
    first_day = [part for part in parts if part.feed.startswith("day-1")]
    offers = pa.concat_tables([pq.read_table(part.paths[country]) for part in first_day])
    drifted = inject_drift(offers, "new_vocabulary", country, department, seed=3, share=1.0, word_coverage=1.0)
    write_drifted_feed(drifted.offers, profile.market_folder / "feeds", "day-3")


def finished(instance: dg.DagsterInstance, known: set[str], job: str) -> bool:
    """Whether a run of the job that is not among the known ones has succeeded."""
    runs = [run for run in instance.get_runs(dg.RunsFilter(job_name=job)) if run.run_id not in known]
    failed = [run for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
    assert not failed, [entry.user_message for run in failed for entry in instance.all_logs(run.run_id)[-5:]]
    return any(run.status is dg.DagsterRunStatus.SUCCESS for run in runs)


def answered_by_champion(profile: Profile, log: ReleaseLog, partition: str) -> bool:
    """Whether the live champion has answered for the newest file of the slice's country."""
    champion = log.champion()
    listed = profile.storage().store.current("offer_predictions", partition.split("|", 1)[0])
    return champion is not None and read_predictions(listed.path)[-1]["model_version"] == champion.model_version


def wait(done: Callable[[], bool], what: str, read_log: Callable[[], str]) -> None:
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < SECONDS_FOR_ALL, f"the daemon did not {what}: {read_log()[-2000:]}"
        read_log()
        time.sleep(1)
    print(json.dumps({"step": what, "seconds": round(time.monotonic() - started)}))  # noqa: T201  # shown with -s
