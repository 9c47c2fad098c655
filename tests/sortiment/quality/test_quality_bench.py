"""The bench end to end on a tiny feed: rows, resuming, budget, a new country, the page."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sortiment.errors import SettingsError
from sortiment.feeds import FeedSpec
from sortiment.markdown import write_figures
from sortiment.quality.arms import Arm, Size, Task, choose_arms, expect_seconds, order_tasks
from sortiment.quality.lessons import Bench
from sortiment.quality.markdown import format_figures
from sortiment.quality.new_country import taxonomy_countries
from sortiment.quality.running import run_bench, run_new_country, run_probe
from sortiment.quality.tables import tabulate, tabulate_flips
from sortiment.settings import Settings, TeacherSettings, TuningSettings

FIELDS = {
    "feed", "labels_per_class", "seed", "model", "layers", "distilled",
    "accuracy", "macro_f1", "macro_f1_tail", "ece", "offers_per_s",
}  # fmt: skip


@pytest.mark.slow
def test_every_arm_gives_a_row_and_a_second_run_computes_none(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench, target, said = make_bench(tmp_path), tmp_path / "quality.json", []
    arms = choose_arms(["teacher", "tfidf", "fast", "fasttext", "student"], [3])
    first = run_bench(bench, [tiny_feed], [0], [None], arms, None, target, said.append)
    assert all(set(row) >= FIELDS for row in first.rows)
    assert [(row["model"], row["distilled"]) for row in first.rows] == [
        ("teacher", None), ("tfidf", None), ("fast", True), ("fast", False),
        ("fasttext", None), ("student", True), ("student", False),
    ]  # fmt: skip
    accuracy = {(row["model"], row["distilled"]): row["accuracy"] for row in first.rows}
    assert min(accuracy[model] for model in (("tfidf", None), ("fast", True), ("fast", False))) > 0.9
    assert all(row["offers_per_s"] > 0 for row in first.rows)
    again = run_bench(bench, [tiny_feed], [0], [None], arms, 0.0, target, said.append)
    assert (again.rows, again.skipped) == (first.rows, [])
    assert said[-8] == "7 rows, 0 to compute; the budget is 0.0 s"
    assert json.loads(target.read_text(encoding="utf-8"))["rows"] == first.rows
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- figures: quality -->\nold\n<!-- end of figures: quality -->\nb\n", encoding="utf-8")
    write_figures(target, page, format_figures)
    assert "| tfidf | 1 |" in page.read_text(encoding="utf-8")
    assert "old" not in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_teacher_with_a_tuned_encoder_is_measured_like_any_other(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench, said = make_bench(tmp_path), []
    teacher = TeacherSettings(fine_tuning="top", tuning=TuningSettings(folds=2, epochs=1))
    tuned = replace(bench, settings=bench.settings.model_copy(update={"teacher": teacher}))
    arms = choose_arms(["teacher"], [])
    frozen_row, tuned_row = (
        run_bench(each, [tiny_feed], [0], [None], arms, None, None, said.append).rows[0] for each in (bench, tuned)
    )
    assert tuned_row["model"] == "teacher"
    assert tuned_row["accuracy"] > 0.8
    assert tuned_row["ece"] != frozen_row["ece"]  # another teacher, not the frozen one's row


def test_what_does_not_fit_the_budget_is_listed(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    target = tmp_path / "quality.json"
    result = run_bench(
        make_bench(tmp_path), [tiny_feed], [0, 1], [None, 5], choose_arms(["tfidf"], []), 0.0, target, lambda _: None
    )
    assert result.rows == []
    assert len(json.loads(target.read_text(encoding="utf-8"))["skipped"]) == 4


def test_a_teacher_that_is_not_there_yet_is_in_the_time_that_is_told(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench, arms = make_bench(tmp_path), choose_arms(["fast"], [], hard_labels=False)
    assert [(arm.model, arm.distilled) for arm in arms] == [("fast", True)]

    def expected() -> float:
        skipped = run_bench(bench, [tiny_feed], [0], [None], arms, 0.0, None, lambda _: None).skipped
        return float(skipped[0]["expected_s"])

    before = expected()
    run_bench(bench, [tiny_feed], [0], [None], choose_arms(["teacher"], []), None, None, lambda _: None)
    assert expected() < before - 5


def test_a_synthetic_market_of_any_size_is_a_feed(make_bench: Callable[[Path], Bench], tmp_path: Path) -> None:
    arms, said = choose_arms(["tfidf"], []), []
    bench = make_bench(tmp_path)
    result = run_bench(bench, [], [0], [None], arms, 0.0, None, said.append, synthetic=600)
    assert [row["feed"] for row in result.skipped] == ["synthetic market"]
    assert len(said) == 1
    assert re.fullmatch(r"1 rows, 1 to compute: about \d+\.\d s expected; the budget is 0\.0 s", said[0])
    assert result.facts["feeds"]["synthetic market"]["offers"] == pytest.approx(600, rel=0.2)


def test_a_country_without_labels_is_tested_alone(make_bench: Callable[[Path], Bench], tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.mkdir()
    for language, marks in (("en", ""), ("de", "n")):
        lines = [
            f"{top}-{kind}-{number} : {top}{marks} > {word}{marks} {number}"
            for top, words in (("Home", ["lamp", "chair"]), ("Food", ["tea", "coffee"]))
            for kind, word in enumerate(words)
            for number in range(30)
        ]
        (names / f"{language}.txt").write_text("\n".join(lines), encoding="utf-8")
    bench = make_bench(tmp_path / "bench")
    arms = choose_arms(["teacher", "tfidf"], [])
    result = run_new_country(bench, [names], [0], arms, None, None, lambda _: None, synthetic=False)
    assert {row["hidden"] for row in result.rows} == {"DE"}
    assert [row["model"] for row in result.rows] == ["teacher", "tfidf"]


def test_a_taxonomys_models_know_its_top_levels_names_and_are_not_asked_for_them(tmp_path: Path) -> None:
    lines = {
        "en": [
            "h : Home",
            "h-1 : Home > Lamps",
            "h-2 : Home > Food",
            "f : Food",
            "f-1 : Food > Tea",
            "f-2 : Food > Oil",
        ],
        "de": ["h : Wohnen", "h-1 : Wohnen > Leuchten", "h-2 : Wohnen > Fressen", "f : Essen", "f-1 : Essen > Tee"],
        "fr": ["h : Maison", "h-1 : Maison > Lampes", "f : Cuisine", "f-1 : Cuisine > Thé", "f-2 : Cuisine > maison"],
    }
    for language, some in lines.items():
        (tmp_path / f"{language}.txt").write_text("\n".join(some), encoding="utf-8")
    german, french = taxonomy_countries(tmp_path)
    assert {key: set(paths) for key, paths in german.offers.names.items()} == {
        "home": {("Home",), ("Wohnen",), ("Maison",)},
        "food": {("Food",), ("Essen",), ("Cuisine",)},
    }
    assert set(german.offers.table["title"].to_pylist()) == {"Lamps", "Leuchten", "Tea", "Tee"}
    assert set(french.offers.table["title"].to_pylist()) == {"Lamps", "Lampes", "Tea", "Thé"}
    fewer, _ = taxonomy_countries(tmp_path, names=1, unlabelled=1)
    rows = fewer.offers.table.to_pylist()
    assert sorted((row["country"], row["category_id"] is None) for row in rows) == [
        ("DE", False),
        ("DE", True),
        ("GB", False),
    ]
    assert len({row["product_id"] for row in rows}) == 2


def test_left_out_categories_are_found_and_flips_are_counted(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench = make_bench(tmp_path)
    arms = [arm for arm in choose_arms(["teacher", "tfidf", "fast"], []) if not arm.hard]
    found = run_probe(bench, [tiny_feed], [0], arms, "unknown", None, None, lambda _: None)
    assert {row["left_out_categories"] for row in found.rows} == {1}
    assert all(0.0 <= row["unknown_auroc"] <= 1.0 and row["unknown_offers"] > 0 for row in found.rows)
    assert [row["unknown_auroc"] > 0.7 for row in found.rows if row["model"] == "tfidf"] == [True]
    asked = run_probe(bench, [tiny_feed], [0], arms, "behaviour", None, None, lambda _: None)
    flips = {row["model"]: row["flips"] for row in asked.rows if "flips" in row}
    assert sorted(flips) == ["fast", "teacher", "tfidf"]
    assert flips["teacher"]["upper case"] is not None
    assert flips["tfidf"]["upper case"] == 0.0
    assert len(list(tabulate_flips(asked.rows))) == 1
    assert any("AUROC" in str(column.header) for column in next(iter(tabulate(found.rows))).columns)


def test_cheap_arms_come_first_and_nothing_comes_twice() -> None:
    tasks = order_tasks({"a": None, "b": None}, [0, 1], [None, 20], choose_arms(["student", "tfidf"], [3, 6]))
    assert [task.arm.model for task in tasks[:8]] == ["tfidf"] * 8
    assert len(tasks) == len(set(tasks)) == 2 * 2 * 2 * 5
    assert (tasks[8].arm.layers, tasks[8].arm.distilled) == (3, True)


def test_the_titles_that_a_teacher_reads_once_more_are_in_the_time_that_is_told() -> None:
    plain = Task("a", 0, None, Arm("teacher"))
    size, settings = Size(train=1000, unlabelled=0, validation=100, test=200, classes=4), Settings()
    asked = expect_seconds(replace(plain, probe="behaviour"), size, settings)
    assert asked > expect_seconds(plain, size, settings) + 10


def test_durations_are_told_in_units_that_people_use(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench, said = make_bench(tmp_path), []
    run_bench(bench, [tiny_feed], [0], [None], choose_arms(["tfidf"], []), 90.0, None, said.append)
    assert re.fullmatch(r"1 rows, 1 to compute: about \d+\.\d s expected; the budget is 1 min 30 s", said[0])
    assert re.fullmatch(r"1/1 tiny, all labels, seed 0: tfidf, about \d+\.\d s", said[1])


def test_a_model_that_the_bench_does_not_have_is_named() -> None:
    with pytest.raises(SettingsError, match="no such model"):
        choose_arms(["teacher", "bert"], [3])
