"""What bulk classification promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sortiment.predictions import PREDICTIONS_FILE, classify_offers
from sortiment.settings import PredictionSettings

Part = Callable[..., str]
SETTINGS = PredictionSettings()
SMALL = PredictionSettings(shard_offers=40, batch_titles=16)


def rows(out: Path) -> dict[int, dict[str, Any]]:
    return {row["offer_key"]: row for row in pq.read_table(out / PREDICTIONS_FILE).to_pylist()}


def many(part: Part, count: int = 300) -> str:
    words = ("phones", "toys", "wine", "other")
    return part("many", *[(number, f"{words[number % 4]} model {number % 50}") for number in range(1, count + 1)])


def test_every_offer_gets_a_prediction_with_department_and_model(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    part = write_part("a", (1, "wine red", {"category_id": "wine"}), (2, "toys car"), (3, "what is this"))
    report = classify_offers(
        engine, [part], taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "out"
    )
    found = rows(tmp_path / "out")
    assert [found[key]["predicted_id"] for key in (1, 2, 3)] == ["wine", "toys", "phones"]
    assert [found[key]["predicted_department"] for key in (1, 2)] == ["food", "play-games"]
    assert found[1]["category_id"] == "wine" and found[2]["category_id"] is None
    assert {row["model_version"] for row in found.values()} == {"m1"}
    assert [found[key]["review"] for key in (1, 2, 3)] == [False, False, True]
    assert (report.offers, report.review, report.labelled, report.agree) == (3, 1, 1, 1)
    assert report.departments == {"electronics": 1, "food": 1, "play-games": 1}


def test_nothing_but_the_predictions_is_left(engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path) -> None:
    classify_offers(
        engine, [many(write_part)], taxonomy=taxonomy, model_version="m1", settings=SMALL, out=tmp_path / "out"
    )
    assert [file.name for file in (tmp_path / "out").iterdir()] == [PREDICTIONS_FILE]


def test_the_last_version_of_an_offer_counts_and_withdrawn_offers_are_gone(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    old = write_part("old", (1, "wine red"), (2, "toys car"), (3, "toys bear"))
    new = write_part("new", (1, "phones red"), (2, "toys car", {"withdrawn": True}), (3, "toys"), (3, "wine again"))
    classify_offers(engine, [old, new], taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "out")
    assert {key: row["predicted_id"] for key, row in rows(tmp_path / "out").items()} == {1: "phones", 3: "wine"}
    classify_offers(
        engine, [new, old], taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "other"
    )
    assert set(rows(tmp_path / "other")) == {1, 2, 3}


def test_equal_titles_are_computed_once_per_country(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    part = write_part("a", *[(number, "wine red") for number in range(1, 9)], (9, "wine red", {"country": "AT"}))
    report = classify_offers(
        engine, [part], taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "out"
    )
    assert sorted(engine.asked) == [("wine red", "AT"), ("wine red", "DE")]
    assert (report.offers, report.asked, report.duplicate_share) == (9, 2, round(7 / 9, 6))


def test_equal_titles_meet_in_one_shard(engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path) -> None:
    report = classify_offers(
        engine,
        [many(write_part)],
        taxonomy=taxonomy,
        model_version="m1",
        settings=PredictionSettings(shard_offers=40),
        out=tmp_path / "out",
    )
    assert report.shards == 8
    assert report.asked == len(engine.asked) == 100


def test_the_text_is_made_of_the_columns_that_the_model_was_trained_on(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    part = write_part("a", (1, "wine", {"brand": "Rioja"}), (2, "wine", {"brand": "Barolo"}))
    engine.inputs = ("title", "brand")
    classify_offers(engine, [part], taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "out")
    assert sorted(text for text, _ in engine.asked) == ["wine Barolo", "wine Rioja"]


def test_an_offer_without_a_text_has_no_category_and_goes_to_review(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    part = write_part("a", (1, None), (2, " "), (3, "wine"))
    classify_offers(engine, [part], taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [found[key]["predicted_id"] for key in (1, 2, 3)] == [None, None, "wine"]
    assert found[1]["confidence"] is None and found[1]["review"] and found[2]["review"]


def test_no_offers_give_an_empty_table(engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path) -> None:
    for parts in ([], [write_part("empty")]):
        report = classify_offers(
            engine, parts, taxonomy=taxonomy, model_version="m1", settings=SETTINGS, out=tmp_path / "out"
        )
        assert report.offers == 0 and rows(tmp_path / "out") == {}


def test_a_category_that_left_the_tree_is_predicted_without_department_and_reported(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    engine.classes = (*engine.classes, "gone")
    report = classify_offers(
        engine,
        [write_part("a", (1, "gone fish"))],
        taxonomy=taxonomy,
        model_version="m1",
        settings=SETTINGS,
        out=tmp_path / "out",
    )
    assert rows(tmp_path / "out")[1]["predicted_department"] is None
    assert report.unknown_categories == ("gone",) and report.departments == {"": 1}


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    part = many(write_part)
    whole = classify_offers(
        engine, [part], taxonomy=taxonomy, model_version="m1", settings=SMALL, out=tmp_path / "whole"
    )
    first, second = type(engine)(fail_after=60), type(engine)()
    with pytest.raises(KeyboardInterrupt):
        classify_offers(first, [part], taxonomy=taxonomy, model_version="m1", settings=SMALL, out=tmp_path / "resumed")
    assert (
        classify_offers(second, [part], taxonomy=taxonomy, model_version="m1", settings=SMALL, out=tmp_path / "resumed")
        == whole
    )
    assert len(second.asked) < whole.asked
    files = [tmp_path / name / PREDICTIONS_FILE for name in ("whole", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_a_killed_run_of_another_model_left_is_not_used(
    engine: Any, taxonomy: Path, write_part: Part, tmp_path: Path
) -> None:
    part = many(write_part)
    with pytest.raises(KeyboardInterrupt):
        classify_offers(
            type(engine)(fail_after=60),
            [part],
            taxonomy=taxonomy,
            model_version="m1",
            settings=SMALL,
            out=tmp_path / "out",
        )
    classify_offers(engine, [part], taxonomy=taxonomy, model_version="m2", settings=SMALL, out=tmp_path / "out")
    assert {row["model_version"] for row in rows(tmp_path / "out").values()} == {"m2"}
    assert len(engine.asked) >= 100
