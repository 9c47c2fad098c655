"""A model that reads only what matters never flips; one that reads everything does, and is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from sortiment.errors import SettingsError
from sortiment.evaluation import KINDS, failed_kinds, measure_behaviour
from sortiment.evaluation.behaviour import CHANGES, Offer
from sortiment.settings import EvaluationSettings

OFFERS = {
    "title": ["Bosch Akkuschrauber GSR 18", "Grüner Tee 200 g", "Kühlschrank weiß A++ 300 l", "<M Schraube"] * 5,
    "brand": ["Bosch", None, None, None] * 5,
    "country": ["DE"] * 20,
}
SETTINGS = EvaluationSettings(behaviour_offers=12)


@dataclass
class Fake:
    """Class = what `read` makes of a text; as sure as told."""

    read: object
    sure: float = 0.9
    inputs: tuple[str, ...] = ("title",)
    classes: tuple[str, ...] = ()

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> "Fake.Answer":
        assert countries is not None and len(countries) == len(texts)
        return Fake.Answer([self.read(text) for text in texts], self.sure)  # type: ignore[operator]

    class Answer:
        def __init__(self, index: list[int], sure: float) -> None:
            self.index = np.array(index)
            self.confidence = np.full(len(index), sure)


def change(kind: str, title: str, brand: str | None = None, country: str = "DE") -> str:
    return CHANGES[kind](Offer(title, brand, country), np.random.default_rng(0))


def test_a_model_that_always_says_the_same_flips_nowhere_but_is_too_sure_of_nothing() -> None:
    rows = measure_behaviour(OFFERS, {"student": Fake(lambda text: 1)}, SETTINGS)
    assert [row["kind"] for row in rows] == list(KINDS)
    assert {row["kind"] for row in rows if row["flip_rate"]} == {"empty title"}
    assert failed_kinds(rows) == ["student, empty title: 100.0% of 12 flipped, 0% allowed"]


def test_a_model_that_reads_case_flips_with_case_alone() -> None:
    rows = measure_behaviour(OFFERS, {"m": Fake(lambda text: int(text.isupper()), sure=0.1)}, SETTINGS)
    rates = {row["kind"]: row["flip_rate"] for row in rows}
    assert rates["upper case"] == 1.0
    assert rates["word order"] == rates["lower case"] == rates["empty title"] == 0.0


def test_remnants_of_html_are_gone_before_the_model_reads_them() -> None:
    seen: list[str] = []
    measure_behaviour(OFFERS, {"m": Fake(lambda text: seen.append(text) or 0)}, SETTINGS)  # type: ignore[func-returns-value]
    assert not any("<b>" in text or "&amp;" in text or "<br" in text for text in seen)
    assert "" in seen


def test_the_same_seed_changes_the_same_offers_in_the_same_way() -> None:
    asked: list[list[str]] = [[], []]
    for seen in asked:
        measure_behaviour(OFFERS, {"m": Fake(lambda text, seen=seen: seen.append(text) or 0)}, SETTINGS)
    assert asked[0] == asked[1]


def test_a_change_that_changes_nothing_is_not_counted() -> None:
    plain = {"title": ["nothing special here"], "country": ["GB"]}
    rows = {row["kind"]: row for row in measure_behaviour(plain, {"m": Fake(len)}, SETTINGS)}
    assert rows["accents left out"]["offers"] == rows["brand left out"]["offers"] == 0
    assert rows["accents left out"]["flip_rate"] is None


def test_each_model_reads_its_own_columns_and_an_empty_offer_has_none_of_them() -> None:
    asked: dict[tuple[str, ...], list[str]] = {("title",): [], ("title", "brand", "shop_category"): []}
    models = {
        " ".join(inputs): Fake(lambda text, seen=seen: seen.append(text) or 0, inputs=inputs)
        for inputs, seen in asked.items()
    }
    offers = {"title": ["Acme drill"], "brand": ["Acme"], "shop_category": ["Tools"], "country": ["GB"]}
    measure_behaviour(offers, models, SETTINGS)
    alone, together = asked.values()
    assert alone[0] == "Acme drill" and together[0] == "Acme drill Tools"
    assert "" in together  # not "Acme Tools": an offer that says nothing
    assert "drill Tools" in together  # and not "drill Acme Tools", where the brand would only stand elsewhere


def test_a_limit_for_no_kind_is_refused() -> None:
    wrong = EvaluationSettings(flip_limits={"tpyo": 0.1})
    with pytest.raises(SettingsError, match="tpyo"):
        measure_behaviour(OFFERS, {"m": Fake(len)}, wrong)


@pytest.mark.parametrize(
    ("kind", "title", "expected"),
    [
        ("umlauts as two letters", "Kühlschrank weiß", "Kuehlschrank weiss"),
        ("accents left out", "café à la Kühl", "cafe a la Kuhl"),
        ("upper case", "Tee", "TEE"),
        ("cut off", "123456789", "123456..."),
    ],
)
def test_changes_are_what_their_names_say(kind: str, title: str, expected: str) -> None:
    assert change(kind, title) == expected


def test_brand_size_and_colour_change_and_the_rest_stays() -> None:
    assert change("brand left out", "Bosch Säge bosch X", "Bosch").split() == ["Säge", "X"]
    assert change("brand left out", "Bosch", "Bosch") == "Bosch"
    sized = change("another size", "Tee 200 g")
    assert sized != "Tee 200 g" and sized.startswith("Tee ") and len(sized) == len("Tee 200 g")
    assert change("another size", "Tee").split()[0] == "Tee"
    assert change("another colour", "sofá negro", country="ES").split()[0] == "sofá"
    assert "black" not in change("another colour", "black lamp", country="PL").split()
    assert len(change("very long title", "lamp", country="PL")) > 800
