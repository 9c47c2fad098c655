"""A country that leaves the feeds, as one that came by mistake does, stops no other."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from catalog_assets.teacher import recipe_of_labels
from resources.profiles import Profile
from sortiment.artifacts import ArtifactStore, Recipe
from sortiment.blobs import write_atomically
from sortiment.engines import compile_student
from sortiment.errors import UnreadableOffers
from sortiment.feeds import read_listing, read_parts
from sortiment.predictions import CODE_VERSION as PREDICTIONS_VERSION
from sortiment.predictions import read_predictions
from sortiment.progress import silent
from sortiment.release import ReleaseLog
from sortiment.settings import EngineSettings, PredictionSettings, TeacherSettings
from tests.sortiment.engines.conftest import write_tiny_student

SPEC = b"path: '*.csv'\ncolumns: {offer_id: id, country: land, title: title, category: path}\n"
TARGET = "torch-fp32"
Make = Callable[..., dict[str, str]]


def bring(profile: Profile, countries: dict[str, int]) -> None:
    """The market's one feed file."""
    rows = [
        f"{number};{country};Toy {country} {number};Toys > Trains"
        for country, count in countries.items()
        for number in range(count)
    ]
    content = "\n".join(["id;land;title;path", *rows, ""])
    write_atomically(profile.market_folder / "feeds" / "offers.csv", content.encode())


@pytest.fixture
def profile(tmp_path: Path, make: Make) -> Profile:
    """Loaded with one offer of the Netherlands, then corrected, when Austria comes too: NL lies between DE and AT."""
    made = Profile("local", tmp_path, "shop")
    write_atomically(made.market_folder / "market.yaml", b"name: shop\nfeeds: [feeds/*.yaml]\n")
    write_atomically(made.market_folder / "feeds" / "shop.yaml", SPEC)
    bring(made, {"DE": 60, "NL": 1})
    make(made, "feed_files", "taxonomy")
    make(made, "offers", over="country")
    bring(made, {"DE": 60, "AT": 60})
    make(made, "feed_files", "taxonomy")
    return made


def test_a_country_that_left_the_feeds_has_no_offers_and_the_others_are_made(
    profile: Profile, instance: dg.DagsterInstance, make: Make
) -> None:
    store = profile.storage().store
    assert instance.get_dynamic_partitions("country") == ["DE", "NL", "AT"]
    assert make(profile, "offers", over="country")["without_offers"] == "NL"
    rows = {country: made.summary["rows"] for country, made in store.current_partitions("offers").items()}
    assert rows == {"AT": 60, "DE": 60, "NL": 0}
    assert make(profile, "offer_census", over="country")["without_offers"] == "NL"
    assert make(profile, "training_sample", over="slice")["without_offers"] == "NL"
    assert set(store.current_partitions("offer_census")) == {"AT", "DE"}
    assert {key.split("|")[0] for key in store.current_partitions("training_sample")} == {"AT", "DE"}


def test_labels_are_made_of_the_slices_that_have_a_sample(profile: Profile, make: Make) -> None:
    store = profile.storage().store
    make(profile, "offers", over="country")
    make(profile, "training_sample", over="slice")
    teacher = store.build("teacher_model", Recipe({}, {}, "1"), lambda out: {})
    store.point(teacher)
    samples = store.current_partitions("training_sample")
    for key, sample in samples.items():  # labelled before, so that no real teacher is needed
        store.build(
            "teacher_soft_labels",
            recipe_of_labels(sample.version, teacher.version, TeacherSettings()),
            lambda out: {},
            key,
        )
    said = make(profile, "teacher_soft_labels", over="slice")
    assert (said["partitions"], said["not_sampled_yet"]) == (str(len(samples)), str(len(samples) // 2))
    assert set(store.current_partitions("teacher_soft_labels")) == set(samples)


def test_nothing_is_predicted_for_it_and_the_others_are(profile: Profile, make: Make, tmp_path: Path) -> None:
    store = profile.storage().store
    make(profile, "offers", over="country")
    engine = release_tiny_engine(profile, tmp_path)
    for country in ("DE", "AT"):  # answered before: this student knows nothing of toys
        for part in read_parts(store.current("offers", country).path):
            inputs = {"part": part["version"], "engine": engine, "taxonomy": store.current("taxonomy").version}
            answered = {"offers": part["rows"], "review": 0, "labelled": 0, "agree": 0}
            recipe = Recipe(inputs, PredictionSettings(), PREDICTIONS_VERSION)
            store.build("prediction_parts", recipe, lambda out, answered=answered: answered, country)  # type: ignore[misc]
    assert make(profile, "offer_predictions", over="country")["without_offers"] == "NL"
    listed = store.current_partitions("offer_predictions")
    assert {key: len(read_predictions(made.path)) for key, made in listed.items()} == {"AT": 1, "DE": 1, "NL": 0}


def test_a_part_whose_offers_cannot_be_read_is_named_and_mended_by_the_next_load(
    profile: Profile, make: Make, tmp_path: Path
) -> None:
    store = profile.storage().store
    make(profile, "offers", over="country")
    release_tiny_engine(profile, tmp_path)
    (part,) = (part for part in read_listing(store.current("feed_files").path, store) if "DE" in part.countries)
    damaged = part.paths["DE"]
    whole = damaged.read_bytes()
    damaged.write_bytes(bytes(len(whole)))
    with pytest.raises(UnreadableOffers, match=part.version) as caught:
        make(profile, "offer_predictions", over="country")
    assert "materialize feed_files" in str(caught.value.fix)
    make(profile, "feed_files")
    assert damaged.read_bytes() == whole


def release_tiny_engine(profile: Profile, folder: Path) -> str:
    """The version of a champion's engine that answers something."""
    store: ArtifactStore = profile.storage().store
    student = write_tiny_student(folder / "student")

    def write(out: Path) -> dict[str, bool]:
        return {"built": compile_student(student, student, TARGET, EngineSettings(), out, silent).built}

    engine = store.build("compiled_student", Recipe({}, {}, "1"), write, TARGET)
    artifacts = {"compiled_student": engine.version, "target": TARGET}
    log = ReleaseLog(profile.storage().blobs)
    log.promote_by_hand("m1", datetime(2026, 11, 22, tzinfo=UTC), "ann", "a test", artifacts)
    return engine.version


def test_a_country_whose_offers_are_all_withdrawn_is_not_counted_or_sampled_and_the_others_are(
    tmp_path: Path, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Profile("local", tmp_path, "shop")
    write_atomically(made.market_folder / "market.yaml", b"name: shop\nfeeds: [feeds/*.yaml]\n")
    spec = SPEC.replace(b"category: path", b"category: path, withdrawn: gone")
    write_atomically(made.market_folder / "feeds" / "shop.yaml", spec)
    for day, (gone, others) in enumerate([("", 60), ("true", 80)]):
        rows = [f"{number};DE;Toy DE {number};Toys > Trains;{gone}" for number in range(60)]
        rows += [
            f"{number};{land};Toy {land} {number};Toys > Trains;" for land in ("AT", "FR") for number in range(others)
        ]
        content = "\n".join(["id;land;title;path;gone", *rows, ""])
        write_atomically(made.market_folder / "feeds" / f"offers-{day}.csv", content.encode())
        make(made, "feed_files", "taxonomy")
        make(made, "offers", over="country")
        said = [make(made, "offer_census", over="country"), make(made, "training_sample", over="slice")]
    assert [each["without_offers"] for each in said] == ["DE", "DE"]
    assert "DE: each of its 120 offers was withdrawn" in capfd.readouterr().err
    store = made.storage().store
    counted = {
        country: census.summary["offers"] for country, census in store.current_partitions("offer_census").items()
    }
    assert counted == {"AT": 80, "DE": 60, "FR": 80}
