"""What a student goes on from: the champion's, where it is there and today's settings, encoder and code would have
made it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from catalog_assets.results import build_and_point, versions_of
from catalog_assets.student import champion_student, find_start, made_otherwise, student_checkpoint
from resources.profiles import Profile
from sortiment.artifacts import Artifact, Recipe
from sortiment.blobs import write_atomically
from sortiment.errors import StorageError, TrainingError
from sortiment.progress import silent
from sortiment.release import Gate, ReleaseDecision, ReleaseLog
from sortiment.settings import EncoderSettings, StudentSettings
from sortiment.student import CODE_VERSION
from sortiment.taxonomy import make_taxonomy, write_taxonomy
from tests.sortiment.conftest import write_encoder

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GATE = Gate("support", "overall", 100, 100, None, 50, None, True, "100 test offers")


def recipe(inputs: dict[str, str], code: str = CODE_VERSION, encoder: Any = None, **student: Any) -> Recipe:
    knobs = {
        "student": StudentSettings(**student).model_dump(mode="json"),
        "encoder": (encoder or EncoderSettings()).model_dump(mode="json"),
    }
    return Recipe(inputs, knobs, code)


def made_by(made: Recipe) -> Artifact:
    manifest = {"code": made.code, "inputs": made.inputs, "settings": made.settings_json()}
    return Artifact("student_checkpoint", None, made.version, "", manifest, Path)


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        (recipe({"encoder": "e", "samples": "new", "taxonomy": "new"}), ""),
        (recipe({"encoder": "e"}, retrain_epochs=5, rehearsed_offers=0, device="cpu"), ""),
        (recipe({"encoder": "e"}, layers=6), "student.layers: 3, now 6"),
        (recipe({"encoder": "other"}), "encoder: e, now other"),
        (recipe({"encoder": "e"}, encoder=EncoderSettings(max_tokens=32)), "encoder.max_tokens: 64, now 32"),
        (recipe({"encoder": "e"}, code="next"), f"code: {CODE_VERSION}, now next"),
    ],
)
def test_what_tells_that_a_champion_was_made_otherwise_is_named(now: Recipe, difference: str) -> None:
    assert made_otherwise(made_by(recipe({"encoder": "e", "samples": "old"})), now) == difference


def materialize(profile: Profile) -> dict[str, Any]:
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([student_checkpoint], resources=profile.resources(), instance=instance)
    (event,) = done.asset_materializations_for_node("student_checkpoint")
    return {name: entry.value for name, entry in event.metadata.items()}


def test_a_champion_of_the_same_settings_and_data_stays_and_another_setting_is_learned_anew(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    profile, encoder = Profile("local", tmp_path, "shop"), EncoderSettings(reference=str(write_encoder(folder)))

    def write_market(**student: Any) -> None:
        settings = {"encoder": {"reference": encoder.reference}, "student": student}
        content = yaml.safe_dump({"name": "shop", "feeds": [], "settings": settings})
        write_atomically(profile.market_folder / "market.yaml", content.encode())

    write_market()
    storage, market = profile.storage(), profile.market_resource()
    tree = [("toys", {"en": ("Toys",)})]
    build_and_point(
        storage.store,
        "taxonomy",
        Recipe({}, {}, "1"),
        lambda out: write_taxonomy(make_taxonomy(tree, ("en",), "test"), out),
    )
    build_and_point(
        storage.store, "teacher_model", Recipe({}, {}, "1"), lambda out: write_atomically(out / "classes.json", b"[]")
    )
    data = {"samples": versions_of({}), "soft_labels": versions_of({}), "encoder": market.encoder(silent).version}
    student = storage.store.build("student_checkpoint", recipe(data, encoder=encoder), lambda out: {"trained_on": {}})
    decision = ReleaseDecision(passed=True, first=True, against=None, gates=(GATE,))
    ReleaseLog(storage.blobs).promote("m", {"student_checkpoint": student.version}, decision, NOON, "ann")
    assert materialize(profile)["nothing_new"] is True
    write_market(layers=6)
    with pytest.raises(TrainingError, match="two categories or more"):  # it sets out to learn, from nothing
        materialize(profile)


def test_where_the_champion_s_student_is_gone_the_next_one_learns_from_the_start(tmp_path: Path) -> None:
    storage, log = Profile("local", tmp_path, "shop").storage(), dg.build_asset_context().log
    assert find_start(storage, log) is None
    student = storage.store.build("student_checkpoint", Recipe({}, {}, "1"), lambda out: {})
    artifacts = {"student_checkpoint": student.version}
    ReleaseLog(storage.blobs).promote_by_hand(student.version, NOON, "ann", "test", artifacts)
    for found in (find_start(storage, log), champion_student(storage)):
        assert found is not None and found.version == student.version
    shutil.rmtree(student.path)
    assert find_start(storage, log) is None
    with pytest.raises(StorageError, match=r"champion's student is gone.*materialize student_checkpoint again"):
        champion_student(storage)
