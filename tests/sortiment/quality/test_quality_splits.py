"""Splits: the same for all arms, without leakage, with fewer labels where asked."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from sortiment.feeds import FeedSpec
from sortiment.progress import silent
from sortiment.quality.lessons import Bench
from sortiment.quality.offers import load_offers
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
    assert splits[2].counts["unlabelled"] > splits[1].counts["unlabelled"] > splits[0].counts["unlabelled"]


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


def _categories(split: SplitOffers, side: str) -> set[str]:
    table = pq.read_table(split.samples["GB"] / "sample.parquet").to_pylist()
    return {row["category_id"] for row in table if row["split"] == side and row["category_id"] is not None}


def _keys(split: SplitOffers, side: str) -> set[int]:
    table = pq.read_table(split.samples["GB"] / "sample.parquet").to_pylist()
    return {row["offer_key"] for row in table if row["split"] == side and row["category_id"] is not None}
