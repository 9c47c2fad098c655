"""What cannot be measured: said with its reason, and never at the cost of what can."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortiment.errors import FeedError, SamplingError, SettingsError
from sortiment.feeds import FeedSpec, load_spec
from sortiment.progress import silent
from sortiment.quality.arms import choose_arms
from sortiment.quality.lessons import Bench
from sortiment.quality.offers import load_offers
from sortiment.quality.refusals import distinct_paths, nothing_measured
from sortiment.quality.running import run_bench, run_new_country
from sortiment.quality.splits import draw_split
from sortiment.settings import FeedSettings, SamplingSettings

TFIDF = choose_arms(["tfidf"], [])

WriteFeed = Callable[..., FeedSpec]


@pytest.fixture
def write_feed(tmp_path: Path) -> WriteFeed:
    """A feed of rows `(country, title, category)`."""

    def write(name: str, rows: list[tuple[str, str, str]]) -> FeedSpec:
        lines = ["id,country,title,category", *(f"{at},{','.join(row)}" for at, row in enumerate(rows))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (tmp_path / f"{name}.yaml").write_text(
            f"path: {name}.csv\ncolumns: {{offer_id: id, country: country, title: title, category: category}}\n",
            encoding="utf-8",
        )
        return load_spec(tmp_path / f"{name}.yaml")

    return write


@pytest.fixture
def lopsided(write_feed: WriteFeed) -> FeedSpec:
    """600 offers of one category, and one of another."""
    lamps = [("GB", f"lamp model {number} of {number % 7}", "Home > Lamps") for number in range(600)]
    return write_feed("lopsided", [*lamps, ("GB", "green tea", "Food > Tea")])


def with_settings(bench: Bench, **stages: dict[str, Any]) -> Bench:
    settings = bench.settings
    changed = {name: getattr(settings, name).model_copy(update=knobs) for name, knobs in stages.items()}
    return replace(bench, settings=settings.model_copy(update=changed))


def test_two_paths_of_one_name_are_an_error_that_names_both_and_one_path_twice_is_one(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "shop.yaml", tmp_path / "two" / "shop.yaml"
    with pytest.raises(SettingsError, match="two of --feed have one name") as raised:
        distinct_paths([first, second], "--feed", lambda path: path.stem)
    assert str(first) in str(raised.value.seen) and str(second) in str(raised.value.seen)
    again = tmp_path / "one" / ".." / "one" / "shop.yaml"
    assert distinct_paths([first, again], "--feed", lambda path: path.stem) == [first]


def test_two_new_countries_of_one_name_are_an_error(make_bench: Callable[[Path], Bench], tmp_path: Path) -> None:
    folder = write_names(tmp_path / "names", ["Home", "Food"])
    with pytest.raises(SettingsError, match="two new countries have one name"):
        run_new_country(make_bench(tmp_path), [folder, folder], [0], TFIDF, None, None, lambda _: None, synthetic=False)


def test_a_feed_that_is_cut_to_one_category_is_refused_and_the_others_are_measured(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, lopsided: FeedSpec, tmp_path: Path
) -> None:
    bench, target, said = make_bench(tmp_path), tmp_path / "quality.json", []
    result = run_bench(bench, [lopsided, tiny_feed], [0, 1], [None], TFIDF, None, target, said.append, limit=100)
    assert [row["feed"] for row in result.rows] == ["tiny", "tiny"]
    assert [(row["feed"], row["seed"], row["model"]) for row in result.skipped] == [
        ("lopsided", 0, "tfidf"),
        ("lopsided", 1, "tfidf"),
    ]
    reason = "the bench needs labelled offers of two categories or more"
    assert all(reason in row["why"] and "cut to 100 offers" in row["why"] for row in result.skipped)
    assert said[0].startswith(f"2 rows of lopsided left out: {reason}")
    assert said[1].startswith("2 rows, 2 to compute")
    assert json.loads(target.read_text(encoding="utf-8"))["skipped"] == result.skipped


def test_where_every_row_is_refused_the_reason_is_the_error_and_the_rows_are_listed(
    make_bench: Callable[[Path], Bench], lopsided: FeedSpec, tmp_path: Path
) -> None:
    target = tmp_path / "quality.json"
    with pytest.raises(FeedError, match="two categories or more"):
        run_bench(make_bench(tmp_path), [lopsided], [0], [None], TFIDF, None, target, lambda _: None, limit=100)
    assert len(json.loads(target.read_text(encoding="utf-8"))["skipped"]) == 1


def test_one_reason_is_one_reason_whatever_each_seed_saw() -> None:
    seen = [SamplingError("the feed cannot be split", value=f"{count} offers", fix="give more") for count in (2, 3)]
    assert nothing_measured(seen).what == "the feed cannot be split"
    several = str(nothing_measured([*seen, FeedError("no text")]))
    assert "every row was refused" in several and "the feed cannot be split; no text" in several


def test_without_the_fasttext_package_the_other_models_are_measured(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fasttext", None)
    arms = choose_arms(["fasttext", "tfidf"], [])
    result = run_bench(make_bench(tmp_path), [tiny_feed], [0], [None], arms, None, None, lambda _: None)
    assert [row["model"] for row in result.rows] == ["tfidf"]
    assert [row["model"] for row in result.skipped] == ["fasttext"]
    assert "pip install fasttext-community" in result.skipped[0]["why"]


def test_a_split_that_teaches_one_category_is_refused(
    make_bench: Callable[[Path], Bench], write_feed: WriteFeed, tmp_path: Path
) -> None:
    rows = [("GB", f"lamp model {number}", "Home > Lamps") for number in range(60)]
    rows += [("DE", f"tee sorte {number}", "Food > Tea") for number in range(60)]
    bench = make_bench(tmp_path)
    offers = load_offers([write_feed("market", rows)], bench.store, FeedSettings(), silent)
    with pytest.raises(SamplingError, match="teaches a single category"):
        draw_split(offers, 0, None, SamplingSettings(), bench.store, hidden="DE")


def test_a_taxonomy_of_one_top_level_is_refused(make_bench: Callable[[Path], Bench], tmp_path: Path) -> None:
    folder = write_names(tmp_path / "names", ["Home"])
    with pytest.raises(SamplingError, match="teaches a single category"):
        run_new_country(make_bench(tmp_path), [folder], [0], TFIDF, None, None, lambda _: None, synthetic=False)


def test_without_validation_offers_the_baselines_are_their_defaults_and_say_so(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench = with_settings(make_bench(tmp_path), sampling={"validation_share": 0.0})
    arms = choose_arms(["tfidf", "fasttext"], [])
    rows = run_bench(bench, [tiny_feed], [0], [None], arms, None, None, lambda _: None).rows
    assert [row["model"] for row in rows] == ["tfidf", "fasttext"]
    assert all("no validation offer" in row["chosen"]["by"] for row in rows)
    assert (rows[0]["chosen"]["characters"], rows[0]["chosen"]["C"]) == ([2, 5], 1.0)
    assert rows[0]["accuracy"] > 0.9
    usual = run_bench(make_bench(tmp_path), [tiny_feed], [0], [None], TFIDF, None, None, lambda _: None).rows
    assert "by" not in usual[0]["chosen"]


def test_a_feed_without_a_word_in_the_chosen_columns_is_refused(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench = with_settings(make_bench(tmp_path), encoder={"inputs": ("description",)})
    with pytest.raises(FeedError, match="no offer of the feed tiny has a text") as raised:
        run_bench(bench, [tiny_feed], [0], [None], TFIDF, None, None, lambda _: None)
    assert raised.value.seen == "encoder.inputs: description"
    assert "title" in str(raised.value.allowed)


def test_training_offers_without_a_word_are_refused_and_the_next_feed_is_measured(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, write_feed: WriteFeed, tmp_path: Path
) -> None:
    rows = [("GB", f"{'*' * (number + 3)}", f"Home > {number % 2}") for number in range(40)]
    rows += [("GB", "lamp", "")]
    said: list[str] = []
    feeds = [write_feed("stars", rows), tiny_feed]
    result = run_bench(make_bench(tmp_path), feeds, [0], [None], TFIDF, None, None, said.append)
    assert [row["feed"] for row in result.rows] == ["tiny"]
    assert [row["feed"] for row in result.skipped] == ["stars"]
    assert any(line.startswith("left out: no labelled training offer of the feed stars") for line in said)


def write_names(folder: Path, tops: list[str]) -> Path:
    """A taxonomy in two languages, 60 names below each top level."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefghijklmnop"), 9)) for _ in range(60)]
    for language, mark in (("en", ""), ("de", "n")):
        lines = [f"{top}-{word} : {top}{mark} > {word}{mark} {top}" for top in tops for word in words]
        (folder / f"{language}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder
