"""What the drift sensor asks for: the drifted slice alone, its new offers, and a teacher that has seen them."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from catalog_assets.partitions import register_partitions
from definitions import build_definitions
from resources.profiles import Profile
from sensors.drift import drifted_slices
from sortiment.artifacts import Recipe
from sortiment.blobs import write_atomically


def ask(folder: Path, settings: str, fail: int = 0) -> Any:
    """What the last tick asks for, where DE|toys has drifted and DE|garden has not, and `fail` runs of earlier ticks
    have failed."""
    profile = Profile("local", folder, "shop")
    write_atomically(profile.market_folder / "market.yaml", f"name: shop\nfeeds: []\n{settings}".encode())
    store = profile.storage().store
    for key, drifted in (("DE|toys", True), ("DE|garden", False)):
        summary = {"drifted": drifted}
        store.point(store.build("training_sample", Recipe({}, {}, "1"), lambda out: {}, key))
        recipe = Recipe({"measurement": "m1"}, {}, "1")
        store.point(store.build("drift_report", recipe, lambda out, summary=summary: summary, key))
    with dg.DagsterInstance.ephemeral() as instance:
        register_partitions(instance, ["DE"], ["toys", "garden"])
        cursor = None
        for turn in range(fail + 1):
            with (
                dg.build_sensor_context(
                    instance=instance,
                    definitions=build_definitions(profile),
                    resources=profile.resources(),
                    cursor=cursor,
                ) as context,
                partition_loading_context(dynamic_partitions_store=instance),
            ):
                outcome: Any = drifted_slices.evaluate_tick(context)
            cursor = outcome.cursor
            if turn < fail:
                (request,) = outcome.run_requests
                run = instance.create_run_for_job(dg.GraphDefinition("relabel_slice").to_job(), tags=request.tags)
                instance.report_run_failed(run)
    return outcome


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")  # Dagster's own, of two dimensions
@pytest.mark.parametrize(("settings", "keep"), [("", False), ("settings: {drift: {refit_teacher: false}}\n", True)])
def test_a_drifted_slice_is_asked_for_with_its_new_offers_and_the_teacher_as_the_market_wants_it(
    tmp_path: Path, settings: str, keep: bool
) -> None:
    (request,) = ask(tmp_path, settings).run_requests
    assert request.partition_key == "DE|toys"
    assert request.run_config["ops"] == {
        "training_sample": {"config": {"fresh": True}},
        "teacher_model": {"config": {"keep": keep}},
    }


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")
def test_a_slice_whose_labelling_failed_is_asked_for_again_and_then_waits(tmp_path: Path) -> None:
    (first,) = ask(tmp_path / "1", "").run_requests
    (second,) = ask(tmp_path / "2", "", fail=1).run_requests
    assert (second.partition_key, second.run_key) == ("DE|toys", f"{first.run_key} attempt 2")
    skipped = ask(tmp_path / "3", "", fail=2)
    assert not skipped.run_requests
    assert "did not succeed, attempt 2: the next is made after" in skipped.skip_message
