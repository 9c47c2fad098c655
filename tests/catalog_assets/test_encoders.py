"""A ranking whose time budget ended goes on when it is materialized again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from resources.profiles import read_profile
from sortiment.market import generate_market
from sortiment.settings import MarketSettings
from tests.sortiment.conftest import write_encoder


def test_what_the_time_budget_left_out_is_ranked_by_the_next_run(
    tmp_path: Path, make: Callable[..., dict[str, str]]
) -> None:
    profile = read_profile({"SORTIMENT_HOME": str(tmp_path)}, market="small")
    generate_market(
        MarketSettings(offers=600, countries=("DE",), departments=("garden", "pets"), shops_per_country=3),
        profile.market_folder,
    )
    file, encoder = profile.market_folder / "market.yaml", tmp_path / "encoder"
    encoder.mkdir()
    write_encoder(encoder)

    def rank(budget_s: float) -> tuple[str, list[dict[str, Any]]]:
        """The artifact's version and its rows."""
        market = yaml.safe_load(file.read_text(encoding="utf-8"))
        market["settings"]["encoder"] = {"reference": str(encoder), "max_tokens": 16}
        market["settings"]["ranking"] = {"budget_s": budget_s, "first_layers": [], "timing_seconds": 0.1}
        file.write_text(yaml.safe_dump(market, allow_unicode=True), encoding="utf-8")
        make(profile, "encoder_ranking")
        ranked = profile.storage().store.current("encoder_ranking")
        return ranked.version, ranked.summary["rows"]

    make(profile, "feed_files", "taxonomy")
    make(profile, "offers", over="country")
    make(profile, "offer_census", over="country")
    make(profile, "training_sample", over="slice")
    first, rows = rank(0.0)
    assert [row["note"] for row in rows if row["macro_f1"] is None] == ["not run: time budget"]
    second, again = rank(0.0)
    assert second != first and again == rows, "tried again; the baselines are not measured anew"
    whole, complete = rank(60.0)
    assert complete[:-1] == rows[:-1] and complete[-1]["macro_f1"] > 0
    assert rank(60.0)[0] == whole, "a complete ranking is found"
