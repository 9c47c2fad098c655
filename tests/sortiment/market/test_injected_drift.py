from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sortiment.errors import DriftError
from sortiment.feeds import list_feed_files, load_feed_file, load_spec
from sortiment.market import INJECTED_SCENARIOS, inject_drift, load_vocabulary, write_drifted_feed
from sortiment.market.coining import replacement_words
from sortiment.market.day import draw_day
from sortiment.market.injection import rank_telling_words
from sortiment.progress import silent
from sortiment.settings import FeedSettings, MarketSettings
from sortiment.taxonomy import path_resolver

COUNTRY, DEPARTMENT, SEED = "DE", "electronics", 3


@pytest.fixture(scope="module")
def offers() -> pa.Table:
    """Offers with the contract's columns; synthetic ones, but `inject_drift` knows nothing about that."""
    drawn = draw_day(MarketSettings(offers=3_000, countries=("DE", "GB")), 1)
    categories = {category.id: category for category in load_vocabulary().categories}
    labels = drawn["label_id"].to_pylist()
    paths = [list(categories[label].path["de"]) if label else None for label in labels]
    departments = [categories[label].department if label else None for label in labels]
    return (
        drawn.drop_columns(["category_id", "wrong_label", "scenario"])
        .rename_columns(contract_names(drawn))
        .append_column("category_path", pa.array(paths, pa.list_(pa.string())))
        .append_column("department", pa.array(departments, pa.string()))
    )


def contract_names(drawn: pa.Table) -> list[str]:
    kept = [name for name in drawn.column_names if name not in ("category_id", "wrong_label", "scenario")]
    return ["category_id" if name == "label_id" else name for name in kept]


def slice_mask(offers: pa.Table) -> np.ndarray:
    pairs = zip(offers["country"].to_pylist(), offers["department"].to_pylist(), strict=True)
    return np.array([pair == (COUNTRY, DEPARTMENT) for pair in pairs])


@pytest.mark.parametrize("scenario", INJECTED_SCENARIOS)
def test_only_the_slice_is_altered_and_labels_stay(offers: pa.Table, scenario: str):
    drift = inject_drift(offers, scenario, COUNTRY, DEPARTMENT, SEED)
    inside = slice_mask(offers)
    assert drift.offers.schema == offers.schema and len(drift.offers) == len(offers)
    assert not (drift.altered & ~inside).any()
    assert drift.offers.filter(pa.array(~drift.altered)) == offers.filter(pa.array(~drift.altered))
    for name in ("offer_id", "shop_id", "category_id", "category_path", "department", "product_id", "price"):
        assert drift.offers[name] == offers[name]


def test_the_stated_share_of_the_slice_is_altered(offers: pa.Table):
    drift = inject_drift(offers, "new_vocabulary", COUNTRY, DEPARTMENT, SEED, share=0.5)
    assert drift.altered.sum() / slice_mask(offers).sum() == pytest.approx(0.5, abs=0.15)


def test_new_words_are_one_to_one_and_new(offers: pa.Table):
    drift = inject_drift(offers, "new_vocabulary", COUNTRY, DEPARTMENT, SEED)
    assert len(set(drift.words.values())) == len(drift.words) > 10
    known = {word for title in offers["title"].to_pylist() for word in title.lower().split()}
    assert not known & set(drift.words.values())


def test_the_same_seed_gives_the_same_drift_in_any_order_of_rows(offers: pa.Table):
    order = pa.array(np.random.default_rng(1).permutation(len(offers)))
    first = inject_drift(offers, "new_vocabulary", COUNTRY, DEPARTMENT, SEED)
    second = inject_drift(offers.take(order), "new_vocabulary", COUNTRY, DEPARTMENT, SEED)
    assert first.words == second.words
    assert first.offers.take(order) == second.offers


def test_another_seed_gives_other_words(offers: pa.Table):
    first = inject_drift(offers, "new_vocabulary", COUNTRY, DEPARTMENT, SEED)
    second = inject_drift(offers, "new_vocabulary", COUNTRY, DEPARTMENT, SEED + 1)
    assert set(first.words) == set(second.words)
    assert not set(first.words.values()) & set(second.words.values())


def test_words_that_tell_categories_apart_go_first():
    labelled = [("red smartphone", "phones")] * 5 + [("red kettle", "kettles")] * 5
    assert rank_telling_words([title for title, _ in labelled], labelled, 0.5) == ["kettle", "smartphone"]


def test_replacements_keep_the_case_of_the_word(offers: pa.Table):
    drift = inject_drift(offers, "new_vocabulary", COUNTRY, DEPARTMENT, SEED)
    for before, after in zip(offers["title"].to_pylist(), drift.offers["title"].to_pylist(), strict=True):
        assert before.isupper() == after.isupper()


def test_a_replacement_does_not_depend_on_the_other_words():
    alone = replacement_words(["kettle"], SEED, ())
    together = replacement_words(["kettle", "toaster", "iron"], SEED, ())
    assert alone["kettle"] == together["kettle"]


def test_a_slice_without_offers_is_an_error_that_names_the_slices_there_are(offers: pa.Table):
    with pytest.raises(DriftError, match=r"DE\|electronics"):
        inject_drift(offers, "new_vocabulary", COUNTRY, "boats", SEED)


def test_an_unknown_scenario_and_a_missing_column_are_errors(offers: pa.Table):
    with pytest.raises(DriftError, match="shop_style"):
        inject_drift(offers, "new_category", COUNTRY, DEPARTMENT, SEED)
    with pytest.raises(DriftError, match="department"):
        inject_drift(offers.drop_columns(["department"]), "shop_style", COUNTRY, DEPARTMENT, SEED)


def test_a_drifted_table_becomes_a_feed_that_the_loader_reads(offers: pa.Table, tmp_path: Path):
    drift = inject_drift(offers, "shop_style", COUNTRY, DEPARTMENT, SEED)
    nobody = pa.nulls(len(offers), pa.string())
    given = drift.offers.drop_columns([name for name in ("gtin",) if name in offers.column_names])
    spec_file = write_drifted_feed(given.append_column("gtin", nobody), tmp_path, "injected-day-2")
    assert "Injected drift" in spec_file.read_text(encoding="utf-8")
    spec = load_spec(spec_file)
    (file,) = list_feed_files(spec)
    (tmp_path / "out").mkdir()
    report = load_feed_file(
        file, spec, path_resolver(spec.category_separator), FeedSettings(), tmp_path / "out", silent
    )
    assert report.rows_loaded == len(offers) and not report.quarantined
    assert "gtin" not in spec.columns and not report.empty  # what no offer has is not mapped
    labelled = sum(country.labelled for country in report.countries.values())
    assert labelled == len(offers) - offers["category_id"].null_count
