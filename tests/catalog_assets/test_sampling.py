"""Census and samples are made anew where a part that was skipped can be read again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from resources.profiles import read_profile
from sortiment.market import generate_market
from sortiment.settings import MarketSettings


def test_a_part_that_can_be_read_again_is_in_the_next_census_and_samples(
    tmp_path: Path, make: Callable[..., dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    profile = read_profile({"SORTIMENT_HOME": str(tmp_path)}, market="small")
    generate_market(
        MarketSettings(offers=800, countries=("DE",), departments=("garden", "pets"), shops_per_country=4),
        profile.market_folder,
    )
    file = profile.market_folder / "market.yaml"
    market = yaml.safe_load(file.read_text(encoding="utf-8"))
    market["settings"]["sampling"] = {"on_unreadable_part": "skip"}
    file.write_text(yaml.safe_dump(market, allow_unicode=True), encoding="utf-8")
    store = profile.storage().store

    def sample() -> tuple[dict[str, str], int, int]:
        """The versions of census and samples, the offers in the census, the skipped parts."""
        shown = make(profile, "offer_census", over="country")
        make(profile, "training_sample", over="slice")
        census = store.current("offer_census", "DE")
        made = {"census": census.version}
        made |= {key: each.version for key, each in store.current_partitions("training_sample").items()}
        why = census.summary["skipped"]
        assert shown.get("skipped") == (why[0] if why else None), "what is left out is told in the UI"
        return made, census.summary["offers"], len(why)

    make(profile, "feed_files", "taxonomy")
    make(profile, "offers", over="country")
    part = sorted(tmp_path.rglob("offers-DE.parquet"))[-1]
    away = part.rename(tmp_path / "away.parquet")
    without, fewer, skipped = sample()
    assert skipped == 1
    assert f"DE without a part that cannot be read: {part}" in capfd.readouterr().err
    away.rename(part)
    whole, offers, skipped = sample()
    assert skipped == 0
    assert fewer < offers
    assert whole.keys() == without.keys() and not set(whole.values()) & set(without.values())
    assert store.current("offer_census", "DE").manifest["inputs"].keys() == {"offers"}
