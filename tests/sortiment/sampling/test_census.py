"""Census, caps, inclusion probabilities, label quality: on a market with one dominating shop and contested labels."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sortiment.sampling import State, build_state, draw_sample, take_census
from sortiment.sampling.census import CensusReport
from sortiment.sampling.samples import SampleReport
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer
from tests.sortiment.sampling.test_mergeable import write

SETTINGS = SamplingSettings(per_category=60, per_shop_share=0.25, unlabelled_per_country=100)
SIZES = {"mugs": 6_000, "pans": 1_500, "rugs": 150, "cups": 12, "lids": 1}
DEPARTMENTS = ("kitchen", "living", "unlabelled")


def make_offers() -> list[Offer]:
    generator = np.random.default_rng(1)
    labels: list[str | None] = [name for name, size in SIZES.items() for _ in range(size)] + [None] * 900
    offers = []
    for number, label in enumerate(labels):
        key = int.from_bytes(hashlib.md5(str(number).encode(), usedforsecurity=False).digest()[:8], "big")
        shop = f"shop-{min(5, int(generator.exponential(1.0)))}"
        title = " ".join(hashlib.sha256(f"{number}-{word}".encode()).hexdigest()[:9] for word in range(5))
        offers.append(Offer(key, label, shop, title, "living" if label == "rugs" else "kitchen"))
    return offers


def contest(offers: list[Offer]) -> list[Offer]:
    """Ten products of three offers each in the small categories, of which one offer has another label."""
    places = [place for place, offer in enumerate(offers) if offer.category_id == "rugs"][:30]
    contested = list(offers)
    for order, place in enumerate(places):
        offer = replace(offers[place], product_id=f"P-{order // 3}")
        contested[place] = replace(offer, category_id="cups", department="kitchen") if order % 3 == 0 else offer
    return contested


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, CensusReport, SampleReport, Path]:
    folder = tmp_path_factory.mktemp("market")
    state = build_state([write(folder, "offers", contest(make_offers()))], SETTINGS, folder / "state")
    report = take_census(state, SETTINGS, folder / "census")
    sample = draw_sample(state, SETTINGS, {name: folder / name for name in DEPARTMENTS})
    return state, report, sample, folder


def test_the_census_has_one_row_per_category(market: tuple[State, CensusReport, SampleReport, Path]) -> None:
    table = pq.read_table(market[3] / "census" / "census.parquet")
    assert table.column_names[:6] == ["category_id", "department", "offers", "shops", "in_sample", "slice"]
    rows = {row["category_id"]: row for row in table.to_pylist()}
    assert {name: row["offers"] for name, row in rows.items()} == {**SIZES, "rugs": 140, "cups": 22}
    assert rows["mugs"]["slice"] == "head"
    assert rows["lids"] == rows["lids"] | {"offers": 1, "shops": 1, "in_sample": 1, "slice": "tail", "drawn": 1}
    assert table["category_id"].to_pylist() == sorted(rows)


def test_counts_add_up(market: tuple[State, CensusReport, SampleReport, Path]) -> None:
    _, report, sample, folder = market
    assert report.offers == report.drawn + report.cut_by_category_cap + report.cut_by_shop_cap
    assert report.unlabelled == 900
    assert report.unlabelled_drawn == 100
    rows = {name: one.rows for name, one in sample.slices.items()}
    assert report.unlabelled_in_sample == rows.pop("unlabelled")
    assert report.in_sample == sum(rows.values()) == sum(report.splits.values())
    assert report.in_sample + report.unlabelled_in_sample == report.drawn + report.unlabelled_drawn - report.left_out
    departments = pq.read_table(folder / "census" / "departments.parquet").to_pylist()
    assert [row["department"] for row in departments] == ["kitchen", "living"]
    assert sum(row["offers"] for row in departments) == report.offers
    shops = pq.read_table(folder / "census" / "shops.parquet").to_pylist()
    assert sum(row["offers"] for row in shops) == report.offers
    assert sum(row["drawn"] for row in shops) == report.drawn
    assert json.loads(json.dumps(report.summary()))["offers"] == report.offers


def test_no_shop_fills_more_than_its_share_of_a_category(
    market: tuple[State, CensusReport, SampleReport, Path],
) -> None:
    for department in ("kitchen", "living"):
        table = pq.read_table(market[3] / department / "sample.parquet")
        filled = Counter(zip(table["category_id"].to_pylist(), table["shop_id"].to_pylist(), strict=True))
        assert max(filled.values()) <= 15
        assert max(Counter(table["category_id"].to_pylist()).values()) <= 60


def test_what_the_shop_cap_costs_a_shop_leaves_out_what_the_category_cap_cut(tmp_path: Path) -> None:
    """One shop has 2,000 of 2,100 offers: without its cap it would have 95 in 100 of those that are asked for."""
    sizes = [(category, shop, count) for category in "ab" for shop, count in (("large", 1_000), ("small", 50))]
    labels = [(category, shop) for category, shop, count in sizes for _ in range(count)]
    offers = [
        replace(offer, category_id=category, shop_id=shop)
        for offer, (category, shop) in zip(make_offers(), labels, strict=False)
    ]
    settings = SETTINGS.model_copy(update={"per_category": 30, "per_shop_share": 0.5, "near_duplicates": "keep"})
    take_census(
        build_state([write(tmp_path, "offers", offers)], settings, tmp_path / "state"), settings, tmp_path / "out"
    )
    shops = {row["shop_id"]: row for row in pq.read_table(tmp_path / "out" / "shops.parquet").to_pylist()}
    assert {name: row["drawn"] for name, row in shops.items()} == {"large": 30, "small": 30}
    assert shops["small"]["cut_by_shop_cap"] == 0
    assert shops["large"]["cut_by_shop_cap"] == round(2 * (30 * 1_000 / 1_050 - 15))


def test_every_category_with_an_offer_is_in_the_sample(market: tuple[State, CensusReport, SampleReport, Path]) -> None:
    sampled = {
        category
        for department in ("kitchen", "living")
        for category in pq.read_table(market[3] / department / "sample.parquet")["category_id"].to_pylist()
    }
    assert sampled == set(SIZES)


def test_the_unlabelled_pool_is_spread_over_the_shops(market: tuple[State, CensusReport, SampleReport, Path]) -> None:
    table = pq.read_table(market[3] / "unlabelled" / "sample.parquet")
    by_shop = Counter(table["shop_id"].to_pylist())
    assert max(by_shop.values()) <= 22
    assert len(by_shop) == 6
    assert table["category_id"].null_count == table["slice"].null_count == table.num_rows
    assert set(table["split"].to_pylist()) == {"train"}


def test_samples_have_the_contract_s_columns_in_key_order(
    market: tuple[State, CensusReport, SampleReport, Path],
) -> None:
    table = pq.read_table(market[3] / "kitchen" / "sample.parquet")
    assert table.column_names == [
        *("offer_key", "country", "shop_id", "title", "brand", "description", "shop_category", "price", "category_id"),
        *("department", "feed", "split", "slice", "inclusion_probability", "suspect", "training_weight"),
        *("product_key", "gtin_key"),
    ]
    keys = table["offer_key"].to_pylist()
    assert keys == sorted(keys)
    assert set(table["department"].to_pylist()) == {"kitchen"}


def test_inclusion_probabilities_weigh_a_sample_back_to_the_live_market(tmp_path: Path) -> None:
    """Without a binding cap and without what is left out, they sum to the census exactly; shops within chance."""
    settings = SamplingSettings(per_category=400, per_shop_share=0.4, near_duplicates="keep")
    offers = make_offers()
    state = build_state([write(tmp_path, "offers", offers)], settings, tmp_path / "state")
    draw_sample(state, settings, {"kitchen": tmp_path / "kitchen"})
    rows = pq.read_table(tmp_path / "kitchen" / "sample.parquet").to_pylist()
    weights: Counter[str] = Counter()
    shops: Counter[str] = Counter()
    for row in rows:
        assert 0 < row["inclusion_probability"] <= 1
        weights[row["category_id"]] += 1 / row["inclusion_probability"]  # type: ignore[assignment]
        shops[row["shop_id"]] += 1 / row["inclusion_probability"]  # type: ignore[assignment]
    for category in ("mugs", "pans", "cups", "lids"):
        assert weights[category] == pytest.approx(SIZES[category])
    truth = Counter(offer.shop_id for offer in offers if offer.category_id in weights)
    for shop, count in truth.items():
        assert shops[shop or ""] == pytest.approx(count, rel=0.35, abs=60)


def test_contested_products_are_listed_and_the_outvoted_label_is_suspect(
    market: tuple[State, CensusReport, SampleReport, Path],
) -> None:
    _, report, sample, folder = market
    conflicts = pq.read_table(folder / "census" / "label_conflicts.parquet").to_pylist()
    assert report.conflicting_groups > 0
    assert {row["evidence"] for row in conflicts} == {"product_id"}
    for row in conflicts:
        outvoted = row["group_offers"] == 3 and row["category_id"] != row["majority_category_id"]
        assert row["suspect"] or not outvoted
    assert (
        report.suspects
        == sum(row["suspect"] for row in conflicts)
        == sum(one.suspects for one in sample.slices.values())
    )
    quality = pq.read_table(folder / "census" / "label_quality.parquet").to_pylist()
    assert sum(row["contested"] for row in quality) == len(conflicts)
    assert sum(row["outvoted"] for row in quality) > 0


def test_a_product_id_that_four_in_ten_offers_have_seems_a_placeholder(tmp_path: Path) -> None:
    offers = make_offers()
    for share, found in ((0, False), (4, True)):
        named = [
            replace(offer, product_id="none") if number % 10 < share else offer for number, offer in enumerate(offers)
        ]
        state = build_state([write(tmp_path, f"offers-{share}", named)], SETTINGS, tmp_path / f"state-{share}")
        report = take_census(state, SETTINGS, tmp_path / f"census-{share}")
        assert report.seems_placeholder is report.summary()["seems_placeholder"] is found
        assert (report.largest_product > 50) is found


@pytest.mark.parametrize("how", ["keep", "down_weight", "drop"])
def test_suspect_labels_are_kept_down_weighted_or_left_out(
    how: str, market: tuple[State, CensusReport, SampleReport, Path], tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"suspect_labels": how})
    report = take_census(market[0], settings, tmp_path / "census")
    draw_sample(market[0], settings, {name: tmp_path / name for name in DEPARTMENTS})
    rows = [row for name in DEPARTMENTS for row in pq.read_table(tmp_path / name / "sample.parquet").to_pylist()]
    suspects = [row for row in rows if row["suspect"]]
    assert report.suspects > 0
    assert bool(suspects) == (how != "drop")
    assert {row["training_weight"] for row in suspects} == {"keep": {1.0}, "down_weight": {0.3}, "drop": set()}[how]
    assert {row["training_weight"] for row in rows if not row["suspect"]} == {1.0}


def test_withdrawn_offers_are_gone(tmp_path: Path) -> None:
    offers = make_offers()
    gone = [replace(offer, withdrawn=True) for offer in offers[::2]]
    parts = [write(tmp_path, "offers", offers), write(tmp_path, "gone", gone)]
    state = build_state(parts, SETTINGS, tmp_path / "state")
    draw_sample(state, SETTINGS, {name: tmp_path / name for name in DEPARTMENTS})
    drawn = {
        key
        for name in DEPARTMENTS
        for key in pq.read_table(tmp_path / name / "sample.parquet")["offer_key"].to_pylist()
    }
    assert not drawn & {offer.offer_key for offer in gone}
    assert state.offers == len(offers) - len(gone)
