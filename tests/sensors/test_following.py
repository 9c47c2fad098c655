"""What follows a new feed and a new student by itself, and what does not: asked of Dagster's own evaluation."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from catalog_assets.partitions import register_partitions, registered_keys
from definitions import build_definitions
from resources.profiles import Profile
from sensors.following import FOLLOWS, follow_upstream

TARGETS = ("openvino-int8", "torch-fp32")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Profile("local", tmp_path_factory.mktemp("home"), "none"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        register_partitions(opened, ["DE", "FR"], ["garden", "pets"])
        yield opened


class Market:
    """An instance in which assets are said to be made, and a condition sensor that looks when it is told to."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.cursor: Any = None

    def keys(self, asset: str) -> list[str | None]:
        if asset in {"offers", "offer_census", "offer_predictions"}:
            return list(registered_keys(self.instance, "country"))
        if asset in {"training_sample", "teacher_soft_labels", "student_evaluation", "drift_report"}:
            return list(registered_keys(self.instance, "slice"))
        return list(TARGETS) if asset == "compiled_student" else [None]

    def make(self, *assets: str) -> None:
        for asset in assets:
            for key in self.keys(asset):
                self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))

    def make_everything(self) -> None:
        self.make(
            *sorted(node.to_user_string() for node in self.definitions.resolve_asset_graph().get_all_asset_keys())
        )

    def look(self) -> dict[str, int]:
        """Assets that are asked for now, with the number of their partitions."""
        found = dg.evaluate_automation_conditions(
            self.definitions, self.instance, dg.AssetSelection.assets(*FOLLOWS), cursor=self.cursor
        )
        self.cursor = found.cursor
        counts = {name: found.get_num_requested(dg.AssetKey(name)) for name in FOLLOWS}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def market(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Market:
    return Market(definitions, instance)


def test_what_happened_before_the_sensor_was_switched_on_starts_nothing(market: Market) -> None:
    market.make_everything()
    assert market.look() == {}
    assert market.look() == {}


def test_a_new_feed_is_counted_classified_and_judged(market: Market) -> None:
    market.make_everything()
    market.look()
    market.make("feed_files")
    assert market.look() == {"offers": 2, "offer_census": 2, "offer_predictions": 2}
    market.make("offers", "offer_census", "offer_predictions")
    assert market.look() == {"drift_report": 4}
    market.make("drift_report")
    assert market.look() == {}


def test_a_new_student_is_quantized_compiled_scored_gated_released_and_serves(market: Market) -> None:
    market.make_everything()
    market.look()
    market.make("student_checkpoint")
    steps = []
    while asked := market.look():
        steps.append(asked)
        market.make(*asked)
    assert steps == [
        {"quantized_student": 1},
        {"compiled_student": len(TARGETS)},
        {"student_evaluation": 4},
        {"release_decision": 1, "champion": 1},
        {"offer_predictions": 2},
        {"drift_report": 4},
    ]


def test_new_labels_train_nothing_by_a_condition(market: Market) -> None:
    market.make_everything()
    market.look()
    market.make("training_sample", "teacher_soft_labels", "teacher_model")
    assert market.look() == {}


def test_before_a_person_released_the_first_model_feeds_are_only_read_and_counted(market: Market) -> None:
    market.look()
    market.make("feed_files")
    assert market.look() == {"offers": 2, "offer_census": 2}
    market.make("offers", "offer_census", "training_sample", "teacher_model", "teacher_soft_labels")
    assert market.look() == {}
    market.make("student_checkpoint")
    assert market.look() == {}


def test_a_country_that_comes_with_a_feed_is_followed_at_once(market: Market) -> None:
    market.make_everything()
    market.look()
    register_partitions(market.instance, ["IT"], [])
    market.make("feed_files")
    assert market.look() == {"offers": 3, "offer_census": 3, "offer_predictions": 3}


def test_the_sensor_is_off_until_somebody_switches_it_on(definitions: dg.Definitions) -> None:
    assert follow_upstream.default_status is dg.DefaultSensorStatus.STOPPED
    names = {each.name for each in definitions.get_repository_def().sensor_defs}
    assert "follow_upstream" in names and "default_automation_condition_sensor" not in names


def test_every_asset_that_is_followed_is_upstream_of_its_follower(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for asset, followed in FOLLOWS.items():
        parents = {key.to_user_string() for key in graph.get(dg.AssetKey(asset)).parent_keys}
        assert set(followed) <= parents, asset
