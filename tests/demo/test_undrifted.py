"""The second day without its drift: the same offers, so that what was lost can be told."""

from pathlib import Path

import pyarrow as pa

from demo.undrifted import draw_undrifted, keep_undrifted, read_undrifted
from sortiment.market import draw_second_day
from sortiment.settings import MarketSettings

SETTINGS = MarketSettings(
    offers=900, countries=("DE", "GB"), departments=("electronics", "pets"), second_day_offers=200, drifted_offers=250
)


def test_the_day_without_its_drift_has_the_same_offers_with_other_titles(tmp_path: Path) -> None:
    drifted = draw_second_day(SETTINGS, "new_vocabulary", "DE", "pets")
    keep_undrifted(tmp_path, draw_undrifted(SETTINGS, "DE", "pets"), "DE")
    own = drifted.filter(pa.compute.equal(drifted["country"], "DE"))
    texts = read_undrifted(tmp_path, own)
    changed = [new != old for new, old in zip(texts["title"].to_pylist(), own["title"].to_pylist(), strict=True)]
    scenario = [name is not None for name in own["scenario"].to_pylist()]
    assert sum(scenario) > 200
    assert all(hit for hit, was in zip(changed, scenario, strict=True) if was)
    same = draw_second_day(SETTINGS, "none", "DE", "pets")
    labels = same.filter(pa.compute.equal(same["country"], "DE")).sort_by("offer_id")["label_id"]
    assert own.sort_by("offer_id")["label_id"].to_pylist() == labels.to_pylist()


def test_an_offer_that_is_not_known_keeps_its_text(tmp_path: Path) -> None:
    empty = pa.nulls(1, pa.string())
    known = {"country": ["GB"], "offer_id": ["1"], "title": ["a lamp"], "brand": empty, "shop_category": empty}
    keep_undrifted(tmp_path, pa.table(known | {"description": empty, "category_id": ["lamps"]}), "GB")
    asked = {"country": ["GB", "GB"], "offer_id": ["2", "1"], "title": ["zorb", "flim"], "category_id": ["a", "b"]}
    found = read_undrifted(tmp_path, pa.table(asked))
    assert found["title"].to_pylist() == ["zorb", "a lamp"]
    assert found["category_id"].to_pylist() == ["a", "lamps"]
