import gzip
import hashlib
import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from sortiment.errors import SettingsError
from sortiment.feeds import list_feed_files, load_feed_file, load_spec
from sortiment.market import (
    LANGUAGES,
    SCENARIOS,
    MarketReport,
    generate_market,
    generate_second_day,
    load_vocabulary,
)
from sortiment.market.amounts import allocate, rare_categories
from sortiment.market.day import Drift, draw_day
from sortiment.market.feeds import FORMATS
from sortiment.progress import silent
from sortiment.settings import FeedSettings, MarketSettings
from sortiment.taxonomy import read_taxonomy, taxonomy_resolver

SETTINGS = MarketSettings(seed=5, offers=6_000, second_day_offers=1_200, drifted_offers=300)
SMALL = MarketSettings(seed=5, offers=600, countries=("DE", "GB"), departments=("electronics", "groceries"))
COUNTRY, DEPARTMENT = "DE", "electronics"
DEPARTMENT_OF = {category.id: category.department for category in load_vocabulary().categories}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> MarketReport:
    return generate_market(SETTINGS, tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="module")
def offers() -> pa.Table:
    return draw_day(SETTINGS, 1)


@pytest.fixture(scope="module")
def undrifted() -> list[dict]:
    return draw_day(SETTINGS, 2, Drift("none", COUNTRY, DEPARTMENT)).to_pylist()


@pytest.fixture(scope="module")
def drifted() -> dict[str, list[dict]]:
    """The second day by scenario, all in the same slice."""
    return {
        scenario: draw_day(SETTINGS, 2, Drift(scenario, COUNTRY, DEPARTMENT)).to_pylist()
        for scenario in SCENARIOS
        if scenario != "none"
    }


@pytest.fixture(scope="module")
def loaded(market: MarketReport, tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The market's feeds as the project's own loader reads them (`offers`), and `truth`."""
    taxonomy = read_taxonomy(market.folder / "taxonomy.json")
    out = tmp_path_factory.mktemp("loaded")
    quarantined = 0
    for place, path in enumerate(market.specs):
        spec = load_spec(path)
        for number, file in enumerate(list_feed_files(spec)):
            folder = out / f"{place}-{number}"
            folder.mkdir()
            resolver = taxonomy_resolver(taxonomy, spec.category_separator)
            report = load_feed_file(file, spec, resolver, FeedSettings(), folder, silent)
            quarantined += sum(report.quarantined.values())
    assert quarantined == market.broken_rows > 0
    connection = duckdb.connect()
    connection.execute("CREATE TABLE offers AS FROM read_parquet(?)", [str(out / "*" / "offers-*.parquet")])
    connection.execute("CREATE TABLE truth AS FROM read_parquet(?)", [str(market.truth)])
    return connection


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def identity(offer: dict) -> tuple[str, str, str]:
    return offer["country"], offer["shop_id"], offer["offer_id"]


def in_slice(offer: dict) -> bool:
    return offer["country"] == COUNTRY and DEPARTMENT_OF[offer["category_id"]] == DEPARTMENT


def test_the_same_settings_give_the_same_bytes(tmp_path: Path):
    for name in ("first", "second"):
        generate_market(SMALL, tmp_path / name)
        generate_second_day(SMALL, "shop_style", "DE", "groceries", tmp_path / name)
    assert digests(tmp_path / "first") == digests(tmp_path / "second")


def test_another_seed_gives_other_offers(tmp_path: Path):
    generate_market(SMALL, tmp_path / "first")
    generate_market(SMALL.model_copy(update={"seed": 6}), tmp_path / "second")
    first, second = digests(tmp_path / "first"), digests(tmp_path / "second")
    assert first["truth.parquet"] != second["truth.parquet"]
    assert first["taxonomy.json"] == second["taxonomy.json"]


def test_every_country_and_department_has_offers(market: MarketReport):
    assert market.offers == SETTINGS.offers
    assert set(market.by_country) == set(SETTINGS.countries) and min(market.by_country.values()) > 100
    assert set(market.by_department) == set(DEPARTMENT_OF.values())


def test_a_market_can_use_some_countries_and_departments(tmp_path: Path):
    report = generate_market(SMALL, tmp_path)
    assert set(report.by_country) == {"DE", "GB"}
    assert set(report.by_department) == {"electronics", "groceries"}
    assert set(report.by_category) == {key for key, value in DEPARTMENT_OF.items() if value in report.by_department}


def test_titles_are_in_the_language_of_the_country(offers: pa.Table):
    vocabulary = load_vocabulary()
    words = {
        language: {word for category in vocabulary.categories for word in category.words[language]}
        for language in LANGUAGES
    }
    for country, language in {"DE": "de", "AT": "de", "ES": "es", "IT": "it", "FR": "fr", "GB": "en"}.items():
        titles = offers.filter(pc.equal(offers["country"], country))["title"].to_pylist()[:400]
        hits = {
            each: sum(any(word.lower() in title.lower() for word in words[each]) for title in titles) for each in words
        }
        assert max(hits, key=lambda each: hits[each]) == language


def test_counts_are_zipf_like_with_a_rare_tail(market: MarketReport):
    rare = [load_vocabulary().categories[k].id for k in rare_categories(SETTINGS, load_vocabulary())]
    assert len(rare) == SETTINGS.rare_categories
    assert all(1 <= market.by_category[category] <= 5 for category in rare)
    counts = sorted((count for count in market.by_category.values() if count), reverse=True)
    assert counts[0] > 10 * counts[len(counts) // 2] and counts[0] < SETTINGS.offers / 5


def test_reserved_categories_are_in_the_tree_and_have_no_offers(market: MarketReport):
    content = json.loads((market.folder / "taxonomy.json").read_text(encoding="utf-8"))
    in_tree = {category["id"] for category in content["categories"]}
    reserved = {category.id for category in load_vocabulary().categories if category.reserved}
    assert reserved <= in_tree
    assert all(market.by_category[category] == 0 for category in reserved)


def test_the_taxonomy_is_complete_in_five_languages(market: MarketReport):
    content = json.loads((market.folder / "taxonomy.json").read_text(encoding="utf-8"))
    assert content["languages"] == list(LANGUAGES)
    assert all(set(category["paths"]) == set(LANGUAGES) for category in content["categories"])


def test_wrong_labels_and_missing_labels_come_at_the_stated_rates(offers: pa.Table):
    labelled = len(offers) - offers["label_id"].null_count
    assert labelled / len(offers) == pytest.approx(1 - SETTINGS.unlabelled_share, abs=0.03)
    wrong = pc.sum(offers["wrong_label"]).as_py()
    assert wrong / labelled == pytest.approx(SETTINGS.wrong_label_share, abs=0.01)


def test_a_wrong_label_is_marked_and_nothing_else_is(offers: pa.Table):
    for offer in offers.select(["label_id", "category_id", "wrong_label"]).to_pylist():
        assert offer["wrong_label"] == (offer["label_id"] is not None and offer["label_id"] != offer["category_id"])


def test_several_shops_sell_one_product_and_title_it_differently(offers: pa.Table):
    rows = offers.select(["product_id", "shop_id", "title", "gtin"]).to_pylist()
    by_product: dict[str, list[dict]] = {}
    for row in rows:
        by_product.setdefault(row["product_id"], []).append(row)
    shared = [group for group in by_product.values() if len({row["shop_id"] for row in group}) > 1]
    assert len(shared) > 500
    assert all(len({row["gtin"] for row in group}) == 1 for group in shared)
    assert sum(len({row["title"] for row in group}) > 1 for group in shared) > 0.95 * len(shared)


def test_titles_hardly_repeat(offers: pa.Table):
    assert pc.count_distinct(offers["title"]).as_py() > 0.98 * len(offers)


def test_gtins_are_for_in_store_use_and_have_a_right_check_digit(offers: pa.Table):
    gtins = [gtin for gtin in offers["gtin"].to_pylist() if gtin]
    assert 0.75 < len(gtins) / len(offers) < 0.95
    for gtin in gtins[:200]:
        digits = [int(digit) for digit in gtin]
        assert len(digits) == 13 and digits[0] == 2
        assert sum(digit * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10 == 0


def test_a_gtin_belongs_to_one_product(offers: pa.Table):
    pairs = {
        (row["gtin"], row["product_id"]) for row in offers.select(["gtin", "product_id"]).to_pylist() if row["gtin"]
    }
    assert len({gtin for gtin, _ in pairs}) == len(pairs)


def test_offer_ids_are_unique_within_shop_and_country(offers: pa.Table):
    keys = offers.group_by(["country", "shop_id", "offer_id"]).aggregate([])
    assert len(keys) == len(offers)


def test_everything_that_shows_says_synthetic(market: MarketReport, offers: pa.Table):
    assert all(shop.startswith("synthetic-shop-") for shop in offers["shop_id"].unique().to_pylist())
    assert all(product.startswith("synthetic-") for product in offers["product_id"].unique().to_pylist())
    content = yaml.safe_load((market.folder / "market.yaml").read_text(encoding="utf-8"))
    assert content["name"] == "synthetic" and content["synthetic"] is True
    assert json.loads((market.folder / "taxonomy.json").read_text(encoding="utf-8"))["synthetic"] is True
    assert all("synthetic" in spec.read_text(encoding="utf-8").splitlines()[0].lower() for spec in market.specs)


def test_shops_have_styles(offers: pa.Table):
    titles = offers["title"].to_pylist()
    for seen in ("&amp;", "  ", "...", " | ", "!!!", " - ", "Versandkostenfrei"):
        assert any(seen in title for title in titles), seen
    assert any(title.isupper() for title in titles)
    assert 0.05 < offers["brand"].null_count / len(offers) < 0.4
    assert 0.1 < offers["shop_category"].null_count / len(offers) < 0.8


def test_market_yaml_names_the_feeds_the_tree_the_truth_and_the_settings(market: MarketReport):
    content = yaml.safe_load((market.folder / "market.yaml").read_text(encoding="utf-8"))
    specs = {path for pattern in content["feeds"] for path in market.folder.glob(pattern)}
    assert specs == set(market.specs)
    assert list(market.folder.glob(content["truth"])) == [market.truth]
    assert (market.folder / content["taxonomy"]).is_file()
    assert MarketSettings.model_validate(content["settings"]["market"]) == SETTINGS


def test_gzip_files_carry_no_time(market: MarketReport):
    file = next((market.folder / "feeds").glob("day-1-de/*.csv.gz"))
    assert file.read_bytes()[4:8] == b"\0\0\0\0"
    assert gzip.decompress(file.read_bytes()).startswith(b"Artikelnummer;")


def test_feeds_come_in_csv_jsonl_and_parquet(market: MarketReport):
    specs = [yaml.safe_load(spec.read_text(encoding="utf-8")) for spec in market.specs]
    assert {spec["format"] for spec in specs} == {"csv", "jsonl", "parquet"}
    assert {spec.get("encoding") for spec in specs} >= {"utf-8", "cp1252"}
    assert len({feed.extension for feed in FORMATS.values()}) >= 5


def test_the_loader_reads_every_offer_and_agrees_with_the_truth(loaded: duckdb.DuckDBPyConnection):
    query = """
        SELECT count(*), count(offers.category_id),
            count(*) FILTER ((offers.category_id <> truth.category_id) <> wrong_label)
        FROM offers JOIN truth USING (country, shop_id, offer_id)
    """
    matched, labelled, disagreeing = loaded.execute(query).fetchone()
    assert matched == SETTINGS.offers
    assert labelled / matched == pytest.approx(1 - SETTINGS.unlabelled_share, abs=0.03)
    assert disagreeing == 0


def test_the_loader_reads_clean_titles_and_the_shops_prices(loaded: duckdb.DuckDBPyConnection):
    row = loaded.execute("""
        SELECT count(*) FILTER (title LIKE '%  %' OR title LIKE '%&amp;%'), count(*) - count(price),
            count(*) - count(observed_at), count(DISTINCT currency)
        FROM offers
    """).fetchone()
    assert row == (0, 0, 0, 2)


@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario != "none"])
def test_a_drift_changes_its_slice_and_no_other_offer(
    scenario: str, undrifted: list[dict], drifted: dict[str, list[dict]]
):
    outside = sorted((offer for offer in drifted[scenario] if not in_slice(offer)), key=identity)
    before = sorted((offer for offer in undrifted if not in_slice(offer)), key=identity)
    assert outside == before
    inside = [offer for offer in drifted[scenario] if in_slice(offer)]
    assert len(inside) == sum(in_slice(offer) for offer in undrifted) > SETTINGS.drifted_offers
    marked = [offer for offer in inside if offer["scenario"] == scenario]
    assert len(marked) > 0.4 * len(inside)
    assert all(offer["scenario"] is None for offer in outside)


def test_drifted_offers_are_labelled_at_the_usual_rate(drifted: dict[str, list[dict]]):
    labels = [offer["label_id"] for offer in drifted["new_vocabulary"] if offer["scenario"]]
    assert sum(label is not None for label in labels) / len(labels) == pytest.approx(
        1 - SETTINGS.unlabelled_share, abs=0.1
    )


def test_new_vocabulary_leaves_none_of_the_known_words_and_brands(drifted: dict[str, list[dict]]):
    offers = [offer for offer in drifted["new_vocabulary"] if offer["scenario"]]
    vocabulary = load_vocabulary()
    brands = next(each.brands for each in vocabulary.departments if each.id == DEPARTMENT)
    assert not {offer["brand"] for offer in offers} & set(brands)
    words = [category.words["de"][0].lower() for category in vocabulary.categories if category.department == DEPARTMENT]
    assert not any(word in offer["title"].lower() for word in words for offer in offers)


def test_a_new_category_is_one_that_the_first_day_did_not_have(market: MarketReport, drifted: dict[str, list[dict]]):
    offers = drifted["new_category"]
    new = {offer["category_id"] for offer in offers if offer["scenario"]}
    assert new == {"video-projectors"} and market.by_category["video-projectors"] == 0
    assert any(offer["label_id"] == "video-projectors" for offer in offers)


def test_a_shop_with_its_own_style_is_a_new_shop(offers: pa.Table, drifted: dict[str, list[dict]]):
    styled = [offer for offer in drifted["shop_style"] if offer["scenario"]]
    assert {offer["shop_id"] for offer in styled} == {"synthetic-shop-de-900"}
    assert "synthetic-shop-de-900" not in offers["shop_id"].unique().to_pylist()
    assert all(offer["title"].startswith("ART.") for offer in styled)


def test_a_shifted_mix_turns_the_sizes_of_the_slice_around(undrifted: list[dict], drifted: dict[str, list[dict]]):
    def sizes(rows: list[dict]) -> dict[str, int]:
        inside = [row["category_id"] for row in rows if in_slice(row)]
        return {category: inside.count(category) for category in set(inside)}

    before = sizes(undrifted)
    after = sizes(drifted["shifted_mix"])
    largest = max(before, key=lambda category: before[category])
    assert before.get(max(after, key=lambda category: after[category]), 0) < before[largest] / 5
    assert after.get(largest, 0) < before[largest] / 3


def test_the_second_day_fits_into_the_first_days_folder(tmp_path: Path):
    first = generate_market(SMALL, tmp_path)
    before = digests(tmp_path)
    second = generate_second_day(SMALL, "new_vocabulary", "GB", "groceries", tmp_path)
    after = digests(tmp_path)
    assert all(after[name] == digest for name, digest in before.items())
    content = yaml.safe_load((tmp_path / "market.yaml").read_text(encoding="utf-8"))
    specs = {path for pattern in content["feeds"] for path in tmp_path.glob(pattern)}
    assert specs == {*first.specs, *second.specs}
    assert set(tmp_path.glob(content["truth"])) == {first.truth, second.truth}
    assert second.drifted_offers > 0 and second.scenario == "new_vocabulary"


def test_the_two_days_share_no_offer_and_no_product(offers: pa.Table, undrifted: list[dict]):
    assert not set(offers["product_id"].to_pylist()) & {offer["product_id"] for offer in undrifted}
    assert not set(offers["offer_id"].to_pylist()) & {offer["offer_id"] for offer in undrifted}


@pytest.mark.parametrize(
    ("scenario", "country", "department"),
    [("earthquake", "DE", "electronics"), ("shop_style", "PL", "electronics"), ("shop_style", "DE", "cars")],
)
def test_a_drift_that_the_market_cannot_have_is_an_error(scenario: str, country: str, department: str, tmp_path: Path):
    with pytest.raises(SettingsError, match="allowed"):
        generate_second_day(SMALL, scenario, country, department, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_department_in_the_settings_is_an_error(tmp_path: Path):
    with pytest.raises(SettingsError, match="department"):
        generate_market(MarketSettings(departments=("electronics", "boats")), tmp_path)


def test_allocation_sums_to_the_total_and_keeps_proportions():
    amounts = allocate(np.array([[0.5, 0.3], [0.2, 0.0]]), 11)
    assert amounts.sum() == 11 and amounts[1, 1] == 0 and amounts[0, 0] in (5, 6)
