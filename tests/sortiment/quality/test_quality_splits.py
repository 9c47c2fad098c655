"""Splits: the same for all arms, without leakage, with fewer labels where asked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sortiment.feeds import FeedSpec, load_spec
from sortiment.progress import silent
from sortiment.quality.arms import choose_arms
from sortiment.quality.lessons import Bench
from sortiment.quality.offers import load_offers
from sortiment.quality.running import run_bench
from sortiment.quality.splits import SplitOffers, draw_split
from sortiment.settings import FeedSettings, SamplingSettings


def test_few_labels_are_part_of_more_and_the_test_offers_stay(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench = make_bench(tmp_path)
    offers = load_offers([tiny_feed], bench.store, FeedSettings(), silent)
    splits = [draw_split(offers, 0, labels, SamplingSettings(), bench.store) for labels in (None, 8, 3)]
    everything, eight, three = ({name: _keys(split, name) for name in ("train", "test")} for split in splits)
    assert everything["test"] == eight["test"] == three["test"]
    assert three["train"] < eight["train"] < everything["train"]
    assert len(three["train"]) == 12
    assert splits[2].size.unlabelled > splits[1].size.unlabelled > splits[0].size.unlabelled


def test_each_seed_is_another_split_and_equal_titles_stay_together(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench = make_bench(tmp_path)
    offers = load_offers([tiny_feed], bench.store, FeedSettings(), silent)
    tests = []
    for seed in (0, 1, 2):
        table = pq.read_table(
            draw_split(offers, seed, None, SamplingSettings(), bench.store).samples["GB"] / "sample.parquet"
        )
        sides: dict[str, set[str]] = {}
        for title, side in zip(table["title"].to_pylist(), table["split"].to_pylist(), strict=True):
            sides.setdefault(title.lower(), set()).add(side)
        assert all(len(found) == 1 for found in sides.values())
        tests.append(frozenset(title for title, found in sides.items() if found == {"test"}))
    assert len(set(tests)) == 3


def test_left_out_categories_are_for_the_test_alone_and_others_for_each_seed(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    bench = make_bench(tmp_path)
    offers = load_offers([tiny_feed], bench.store, FeedSettings(), silent)
    chosen = []
    for seed in range(4):
        whole, part = (
            draw_split(offers, seed, None, SamplingSettings(), bench.store, left_out=share) for share in (None, 0.25)
        )
        assert _keys(whole, "test") == _keys(part, "test")
        assert _keys(part, "train") < _keys(whole, "train")
        (missing,) = _categories(part, "test") - _categories(part, "train")
        assert missing not in _categories(part, "validation")
        chosen.append(missing)
    assert len(set(chosen)) > 1


def test_training_offers_that_repeat_a_held_out_offer_abroad_are_counted(
    make_bench: Callable[[Path], Bench], tiny_feed: FeedSpec, tmp_path: Path
) -> None:
    """One country names products and the other none, so equal titles may be on two sides; of a rare category with two
    offers, each may be a test in one country and all that is learned in the other."""
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefghijklmnop"), 9)) for _ in range(200)]
    lines = ["id,country,title,category,product"]
    for number, word in enumerate(words[:80]):
        category = "Lamps" if number % 2 else "Chairs"
        lines += [f"g{number},GB,{word},{category},p{number}", f"d{number},DE,{word},{category},"]
    for number, word in enumerate(words[80:]):
        lines += [f"r{number},GB,{word},Rare {number // 2},r{number}", f"s{number},DE,{word},Rare {number // 2},"]
    (tmp_path / "two.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "two.yaml").write_text(
        "path: two.csv\ncolumns: {offer_id: id, country: country, title: title, category: category, "
        "product_id: product}\n",
        encoding="utf-8",
    )
    bench = make_bench(tmp_path)
    sampling = SamplingSettings(validation_share=0.2, test_share=0.3)
    bench = replace(bench, settings=bench.settings.model_copy(update={"sampling": sampling}))
    offers = load_offers([load_spec(tmp_path / "two.yaml")], bench.store, FeedSettings(), silent)
    repeats = draw_split(offers, 0, None, bench.settings.sampling, bench.store).repeats
    assert repeats["left_out_repeats"] > 0 and 0 < repeats["kept_repeats"] <= 60
    rows = run_bench(
        bench, [load_spec(tmp_path / "two.yaml")], [0], [None], choose_arms(["tfidf"], []), None, None, lambda _: None
    ).rows
    assert {name: rows[0][name] for name in repeats} == repeats
    alone = load_offers([tiny_feed], bench.store, FeedSettings(), silent)
    assert draw_split(alone, 0, None, SamplingSettings(), bench.store).repeats == {}


def _categories(split: SplitOffers, side: str) -> set[str]:
    table = pq.read_table(split.samples["GB"] / "sample.parquet").to_pylist()
    return {row["category_id"] for row in table if row["split"] == side and row["category_id"] is not None}


def _keys(split: SplitOffers, side: str) -> set[int]:
    table = pq.read_table(split.samples["GB"] / "sample.parquet").to_pylist()
    return {row["offer_key"] for row in table if row["split"] == side and row["category_id"] is not None}
