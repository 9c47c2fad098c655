"""The price list: every row has a source and a date, and a broken file is named."""

from pathlib import Path

import pytest

from sortiment.cost import load_price_list
from sortiment.errors import SettingsError


def test_every_instance_has_a_price_with_source_and_date_in_both_regions() -> None:
    prices = load_price_list()
    assert prices.regions == ("eu-central-1", "us-east-1")
    for instance in prices.instances:
        for region in prices.regions:
            price = prices.price(instance.instance, region)
            assert price is not None
            assert price.source
            assert price.as_of


def test_another_price_list_takes_the_place_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("instance,region,usd_per_hour,source,as_of\nc7i.xlarge,eu-west-1,0.05,spot,2026-11-01\n")
    prices = load_price_list(file)
    assert prices.regions == ("eu-west-1",)
    price = prices.price("c7i.xlarge", "eu-west-1")
    assert price is not None
    assert price.usd_per_hour == 0.05


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("instance,region\n", "lacks the column usd_per_hour"),
        ("instance,region,usd_per_hour,source,as_of\na,b,,c,d\n", "line 2: a value is missing.*usd_per_hour"),
        (
            "instance,region,usd_per_hour,source,as_of\na,b,free,c,d\n",
            "prices.csv, line 2: the price is not a number above 0.*'free'",
        ),
        ("instance,region,usd_per_hour,source,as_of\na,b,-1,c,d\n", "not a number above 0"),
    ],
)
def test_a_broken_price_list_is_an_error_that_names_the_place(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(content)
    with pytest.raises(SettingsError, match=says):
        load_price_list(file)


def test_a_missing_price_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_price_list(tmp_path / "absent.csv")
