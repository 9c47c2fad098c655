"""The market file, and what is said of one that cannot be used."""

from pathlib import Path

import pytest

from resources.market import MarketResource
from sortiment.errors import SettingsError


def test_a_market_file_that_cannot_be_used_is_an_error_that_names_every_field(tmp_path: Path) -> None:
    (tmp_path / "market.yaml").write_text("name: 3\nfeedz: [a.yaml]\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is not a market file") as caught:
        MarketResource(folder=str(tmp_path), encoder_cache="").file.name  # noqa: B018
    assert caught.value.value == "name: 3; feeds is missing; feedz: ['a.yaml']"
    assert caught.value.allowed == ("name: a valid string; feeds: it must be given; feedz: no such name; is it feeds?")
