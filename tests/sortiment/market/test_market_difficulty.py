"""The synthetic market is neither trivial nor hopeless, its drifts hurt, and labels heal them."""

import html
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from sortiment.market import SCENARIOS
from sortiment.market.day import Drift, draw_day
from sortiment.settings import MarketSettings

SETTINGS = MarketSettings(
    offers=8_000,
    countries=("DE", "FR"),
    departments=("electronics", "groceries", "garden", "kitchen"),
    rare_categories=2,
    second_day_offers=500,
    drifted_offers=800,
)
SLICE = ("DE", "electronics")
CLEAR_DROP = 0.15
CLEAR_DROP_OF_MIX = 0.05
HEALED_SHARE = 0.7  # some 300 labels; what a shop with its own style cuts off its titles does not come back


def titles(offers: pa.Table) -> list[str]:
    return [" ".join(html.unescape(title).split()) for title in offers["title"].to_pylist()]


def fit(*tables: pa.Table) -> Pipeline:
    labelled = pa.concat_tables([table.filter(pc.is_valid(table["label_id"])) for table in tables])
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC(C=0.5))
    return model.fit(titles(labelled), labelled["label_id"].to_pylist())


def accuracy(model: Pipeline, offers: pa.Table, truth: str = "category_id") -> float:
    predicted: Sequence[str] = model.predict(titles(offers))
    return sum(a == b for a, b in zip(predicted, offers[truth].to_pylist(), strict=True)) / len(offers)


def halves(offers: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Two parts that share no product."""
    first = pa.array([int(product[-3:]) % 2 == 0 for product in offers["product_id"].to_pylist()])
    return offers.filter(first), offers.filter(pc.invert(first))


def drifted_slice(scenario: str) -> pa.Table:
    country, department = SLICE
    offers = draw_day(SETTINGS, 2, Drift(scenario, country, department))
    own_products = pc.greater(
        pc.cast(pc.utf8_slice_codeunits(offers["product_id"], 10), pa.int64()), 250_000_000
    )  # the ids of a drifting slice
    return offers.filter(pc.and_(own_products, pc.equal(offers["country"], country)))


@pytest.fixture(scope="module")
def first_day() -> pa.Table:
    return draw_day(SETTINGS, 1)


@pytest.fixture(scope="module")
def model(first_day: pa.Table) -> Pipeline:
    return fit(first_day)


def test_a_linear_model_on_titles_is_good_and_not_perfect(first_day: pa.Table):
    train, test = halves(first_day)
    assert 0.85 < accuracy(fit(train), test) < 0.95
    labelled = test.filter(pc.is_valid(test["label_id"]))
    assert 0.82 < accuracy(fit(train), labelled, "label_id") < 0.93


@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario != "none"])
def test_a_drift_costs_accuracy_in_its_slice_and_labels_bring_it_back(
    scenario: str, first_day: pa.Table, model: Pipeline
):
    before = accuracy(model, drifted_slice("none"))
    labelled, test = halves(drifted_slice(scenario))
    hurt = accuracy(model, test)
    healed = accuracy(fit(first_day, labelled), test)
    assert before - hurt >= (CLEAR_DROP_OF_MIX if scenario == "shifted_mix" else CLEAR_DROP)
    assert healed - hurt >= HEALED_SHARE * (before - hurt)
