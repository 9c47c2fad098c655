"""When the student trains anew: once for all that waits, never twice at a time, and never half."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.profiles import Profile
from sensors.retraining import waiting_slices
from sortiment.artifacts import ArtifactStore, Recipe, content_version
from sortiment.blobs import write_atomically


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    made = Profile("local", tmp_path, "shop")
    write_atomically(made.market_folder / "market.yaml", b"name: shop\nfeeds: []\n")
    return made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def label(store: ArtifactStore, key: str, day: str) -> str:
    labels = store.build("teacher_soft_labels", Recipe({"day": day}, {}, "1"), lambda out: {}, key)
    store.point(labels)
    return labels.version


def train(store: ArtifactStore, trained_on: dict[str, str], quantized: bool, fast: bool = False) -> str:
    labels = {"soft_labels": content_version(trained_on)}
    student = store.build("student_checkpoint", Recipe(labels, {}, "1"), lambda out: {"trained_on": trained_on})
    store.point(student)
    if quantized:
        store.point(store.build("quantized_student", Recipe({"student": student.version}, {}, "1"), lambda out: {}))
    if fast:
        store.point(store.build("fast_student", Recipe(labels, {}, "1"), lambda out: {}))
    return student.version


def evaluate(profile: Profile, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    with dg.build_sensor_context(instance=instance, resources=profile.resources(), cursor=cursor) as context:
        return waiting_slices.evaluate_tick(context)


def tick(profile: Profile, instance: dg.DagsterInstance) -> list[str | None] | str:
    """Run keys that are asked for, or why there are none."""
    outcome = evaluate(profile, instance)
    return [request.run_key for request in outcome.run_requests or []] or str(outcome.skip_message)


def fail(profile: Profile, instance: dg.DagsterInstance, cursor: str | None) -> tuple[str, str]:
    """The run that is asked for fails. Returns its key and the sensor's cursor."""
    outcome = evaluate(profile, instance, cursor)
    (request,) = outcome.run_requests
    run = instance.create_run_for_job(dg.GraphDefinition("retrain_student").to_job(), tags=request.tags)
    instance.report_run_failed(run)
    return request.run_key, outcome.cursor


def test_nothing_is_trained_that_has_been(profile: Profile, instance: dg.DagsterInstance) -> None:
    store = profile.storage().store
    assert "the first one is trained by a person" in tick(profile, instance)
    train(store, {"DE|toys": label(store, "DE|toys", "1")}, quantized=True)
    assert tick(profile, instance) == "the student has seen all soft labels"


def test_all_waiting_slices_are_one_training(profile: Profile, instance: dg.DagsterInstance) -> None:
    store = profile.storage().store
    train(store, {key: label(store, key, "1") for key in ("DE|toys", "FR|toys", "GB|toys")}, quantized=True)
    new = [label(store, key, "2") for key in ("DE|toys", "FR|toys")]
    assert tick(profile, instance) == ["+".join(new)]


def test_a_student_that_a_killed_run_trained_and_did_not_quantize_is_quantized(
    profile: Profile, instance: dg.DagsterInstance
) -> None:
    store = profile.storage().store
    train(store, {"DE|toys": label(store, "DE|toys", "1")}, quantized=True)
    student = train(store, {"DE|toys": label(store, "DE|toys", "2")}, quantized=False)
    assert tick(profile, instance) == [f"finish {student}"]


def test_a_fast_student_that_a_killed_run_left_behind_is_trained(
    profile: Profile, instance: dg.DagsterInstance
) -> None:
    store = profile.storage().store
    train(store, {"DE|toys": label(store, "DE|toys", "1")}, quantized=True, fast=True)
    assert tick(profile, instance) == "the student has seen all soft labels"
    student = train(store, {"DE|toys": label(store, "DE|toys", "2")}, quantized=True)
    assert tick(profile, instance) == [f"finish {student}"]


def test_while_a_training_runs_no_other_is_asked_for(profile: Profile, instance: dg.DagsterInstance) -> None:
    store = profile.storage().store
    train(store, {"DE|toys": label(store, "DE|toys", "1")}, quantized=False)
    label(store, "DE|toys", "2")
    run = instance.create_run_for_job(
        dg.GraphDefinition("retrain_student").to_job(), status=dg.DagsterRunStatus.STARTED
    )
    assert tick(profile, instance) == f"the student is being trained in run {run.run_id}"


@pytest.mark.parametrize("half_done", [False, True])
def test_a_training_that_failed_is_asked_for_again_and_then_waits(
    half_done: bool, profile: Profile, instance: dg.DagsterInstance
) -> None:
    store = profile.storage().store
    labels = label(store, "DE|toys", "1")
    student = train(store, {"DE|toys": labels}, quantized=not half_done)
    key = f"finish {student}" if half_done else label(store, "DE|toys", "2")
    first, cursor = fail(profile, instance, None)
    second, cursor = fail(profile, instance, cursor)
    assert [first, second] == [key, f"{key} attempt 2"]
    assert "did not succeed, attempt 2: the next is made after" in evaluate(profile, instance, cursor).skip_message
    newer = label(store, "DE|toys", "3")
    assert [request.run_key for request in evaluate(profile, instance, cursor).run_requests] == [newer]


def test_a_cursor_of_before_there_were_attempts_is_read(profile: Profile, instance: dg.DagsterInstance) -> None:
    store = profile.storage().store
    train(store, {"DE|toys": label(store, "DE|toys", "1")}, quantized=True)
    new = label(store, "DE|toys", "2")
    (request,) = evaluate(profile, instance, "2026-11-22T12:00:00+00:00").run_requests
    assert request.run_key == new
