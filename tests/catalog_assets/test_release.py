"""What is released: only what was evaluated, and nothing again that a person took down."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from catalog_assets.predictions import live_champion, served_engine
from catalog_assets.release import champion, find_compared, release_decision
from resources.profiles import Profile
from sortiment.artifacts import Artifact, ArtifactStore, Recipe
from sortiment.blobs import write_atomically
from sortiment.errors import ReleaseError
from sortiment.evaluation import write_answers
from sortiment.release import Champion, Gate, ReleaseDecision, ReleaseLog

TARGET = "openvino-int8"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GATE = Gate("support", "overall", 100, 100, None, 50, None, True, "100 test offers")


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    made = Profile("local", tmp_path, "shop")
    write_atomically(made.market_folder / "market.yaml", b"name: shop\nfeeds: []\n")
    return made


def keep(store: ArtifactStore, asset: str, inputs: dict[str, str], partition: str | None = None, **summary: Any) -> str:
    """A current artifact without files; its version."""
    artifact = store.build(asset, Recipe(inputs, {}, "1"), lambda out: summary, partition)
    store.point(artifact)
    return artifact.version


def materialize_champion(profile: Profile) -> dict[str, Any]:
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([champion], resources=profile.resources(), instance=instance)
    (event,) = done.asset_materializations_for_node("champion")
    return {name: entry.value for name, entry in event.metadata.items()}


def train(store: ArtifactStore, number: str) -> tuple[str, str]:
    """Versions of a student and of its engine, both current."""
    student = keep(store, "student_checkpoint", {"number": number})
    return student, keep(store, "compiled_student", {"student": student}, TARGET)


def release(store: ArtifactStore, number: str, against: str | None) -> str:
    student, engine = train(store, number)
    judged = {
        "student": student,
        "engine": engine,
        "target": TARGET,
        "taxonomy": store.current("taxonomy").version,
    }
    decision = ReleaseDecision(passed=True, first=against is None, against=against, gates=(GATE,))
    keep(store, "release_decision", judged, **decision.as_json())
    return student


def test_a_model_that_was_rolled_back_stays_down_and_the_asset_says_why(profile: Profile) -> None:
    store, log = profile.storage().store, ReleaseLog(profile.storage().blobs)
    keep(store, "taxonomy", {})
    first = release(store, "1", None)
    assert materialize_champion(profile)["action"] == "promote"
    second = release(store, "2", first)
    assert materialize_champion(profile)["live"] == second
    log.rollback(NOON, "ann", "too many toys among tools")
    outcome = materialize_champion(profile)
    assert (outcome["action"], outcome["live"]) == ("held back", first)
    assert "too many toys among tools" in outcome["reason"] and second in outcome["fix"]
    assert [event.action for event in log.events()] == ["promote", "promote", "rollback"]
    log.promote_by_hand(second, NOON, "ann", "the toys were tools")
    assert materialize_champion(profile)["live"] == second


def evaluate(store: ArtifactStore, student: str, engine: str) -> None:
    """Test offers of one slice, which every model answers as the shop does."""
    rows = 400
    truth = [f"category-{number % 4}" for number in range(rows)]
    columns = {
        "offer_key": pa.array(range(rows), pa.uint64()),
        "country": ["DE"] * rows,
        "department": ["toys"] * rows,
        "slice": ["head"] * rows,
        "feed": ["day-1"] * rows,
        "shop_id": ["shop"] * rows,
        "title": [f"toy {number}" for number in range(rows)],
        "category_id": truth,
        "weight": [1.0] * rows,
    }
    for model in ("teacher", "student", "int8"):
        columns |= {f"{model}_id": truth, f"{model}_confidence": [0.9] * rows}
    recipe = Recipe({"student": student, "int8": engine}, {}, "1")
    store.point(store.build("student_evaluation", recipe, lambda out: write_answers(pa.table(columns), out), "DE|toys"))


def test_what_was_trained_after_the_decision_is_not_released_with_it(profile: Profile) -> None:
    store, log = profile.storage().store, ReleaseLog(profile.storage().blobs)
    tree = keep(store, "taxonomy", {"feed": "1"})
    student, engine = train(store, "1")
    evaluate(store, student, engine)
    assert dg.materialize([release_decision], resources=profile.resources()).success
    train(store, "2")
    keep(store, "taxonomy", {"feed": "2"})
    assert materialize_champion(profile)["live"] == student
    released = log.events()[0].artifacts
    assert (released["student_checkpoint"], released["compiled_student"]) == (student, engine)
    assert (released["target"], released["taxonomy"]) == (TARGET, tree)


def test_an_engine_that_is_gone_is_not_released(profile: Profile) -> None:
    store, log = profile.storage().store, ReleaseLog(profile.storage().blobs)
    keep(store, "taxonomy", {})
    release(store, "1", None)
    engine = store.current("compiled_student", TARGET)
    shutil.rmtree(engine.path)
    with pytest.raises(ReleaseError, match=f"compiled_student {engine.version}.*student_evaluation and release_decis"):
        materialize_champion(profile)
    assert log.events() == []


def test_a_live_engine_that_is_gone_is_compiled_again(profile: Profile) -> None:
    storage = profile.storage()
    keep(storage.store, "taxonomy", {})
    release(storage.store, "1", None)
    materialize_champion(profile)
    released = live_champion(storage)
    shutil.rmtree(served_engine(storage, released).path)
    with pytest.raises(ReleaseError, match=f"materialize compiled_student of {TARGET} again"):
        served_engine(storage, released)
    train(storage.store, "1")
    assert served_engine(storage, released).version == released.artifacts["compiled_student"]


def test_a_decision_that_does_not_name_its_engine_is_made_again_before_it_releases(profile: Profile) -> None:
    store = profile.storage().store
    keep(store, "taxonomy", {})
    student, _ = train(store, "1")
    decision = ReleaseDecision(passed=True, first=True, against=None, gates=(GATE,))
    keep(store, "release_decision", {"student": student}, **decision.as_json())
    with pytest.raises(ReleaseError, match=r"lacks engine, target, taxonomy.*materialize release_decision again"):
        materialize_champion(profile)


def artifact(asset: str, version: str, **inputs: str) -> Artifact:
    return Artifact(asset, None, version, "", {"inputs": inputs, "summary": {}, "files": {}}, Path)


def live(version: str) -> Champion:
    return Champion(version, {}, 1, "2026-11-22T12:00:00+00:00", "ann")


STUDENT, ENGINE = artifact("student_checkpoint", "new"), artifact("compiled_student", "engine")


def test_a_decision_rests_on_evaluations_of_this_student_its_engine_and_the_live_champion() -> None:
    whole = {"DE|toys": artifact("student_evaluation", "1", student="new", int8="engine", champion="old")}
    assert find_compared(whole, STUDENT, ENGINE, live("old")) == "old"
    for other in ({"student": "older"}, {"int8": "other"}, {"champion": "older"}):
        seen = {"student": "new", "int8": "engine", "champion": "old", **other}
        mixed = whole | {"FR|toys": artifact("student_evaluation", "2", **seen)}
        with pytest.raises(ReleaseError, match=r"1 of 2 partitions.*FR\|toys"):
            find_compared(mixed, STUDENT, ENGINE, live("old"))
    with pytest.raises(ReleaseError, match="0 of 0"):
        find_compared({}, STUDENT, ENGINE, None)


def test_the_decision_of_a_model_that_is_live_stays_what_it_was() -> None:
    first = {"DE|toys": artifact("student_evaluation", "1", student="new", int8="engine")}
    assert find_compared(first, STUDENT, ENGINE, None) is None
    assert find_compared(first, STUDENT, ENGINE, live("new")) is None
    second = {"DE|toys": artifact("student_evaluation", "1", student="new", int8="engine", champion="old")}
    assert find_compared(second, STUDENT, ENGINE, live("new")) == "old"
