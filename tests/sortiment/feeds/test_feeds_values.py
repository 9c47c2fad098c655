"""Cells as values of the feed contract."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortiment.feeds.values import (
    currency_of_price,
    parse_country,
    parse_currency,
    parse_flag,
    parse_gtin,
    parse_price,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("24,00", 24.0),
        ("24.5", 24.5),
        ("0", 0.0),
        ("1.299,00", 1299.0),
        ("1,299.00", 1299.0),
        ("1.234.567,89", 1234567.89),
        ("1.234.567", 1234567.0),
        ("£12.99", 12.99),
        ("12,99 €", 12.99),
        ("EUR 5", 5.0),
        ("5EUR", 5.0),
        ("1'299.-", 1299.0),
        ("1’299.50", 1299.5),
        ("1 299,00 €", 1299.0),
        ("12,-", 12.0),
        ("12,–", 12.0),
        (".99", 0.99),
        ("1.299", 1299.0),
        ("0.999", 0.999),
        ("1.2990", 1.299),
        ("1e3", 1000.0),
        ("12.", 12.0),
        ("CHF 1'000'000.00", 1000000.0),
    ],
)
def test_prices_are_read_as_people_write_them(text: str, price: float) -> None:
    assert parse_price(text) == price


@pytest.mark.parametrize(
    "text",
    [
        "",
        "free",
        "-5",
        "1.2.3",
        "12.34.56",
        "1,2,3",
        "1 2",
        "12 99",
        "5 per kg",
        "XYZ 5",
        "1.29,9.0",
        "£",
        "١٢",
        "1,,2",
    ],
)
def test_what_is_no_price_is_none(text: str) -> None:
    assert parse_price(text) is None


@pytest.mark.parametrize(
    ("text", "decimal", "price"),
    [
        ("1.299", ".", 1.299),
        ("1.299", ",", 1299.0),
        ("1,299", ",", 1.299),
        ("12.99", ",", None),
        ("1.299,5", ",", 1299.5),
    ],
)
def test_a_decimal_separator_in_the_spec_decides(text: str, decimal: str, price: float | None) -> None:
    assert parse_price(text, decimal) == price


@given(
    st.integers(0, 10**9),
    st.integers(0, 99),
    st.sampled_from([(".", ","), (",", "."), (" ", ","), ("'", "."), ("", ".")]),
)
def test_a_price_survives_every_way_of_writing_it(whole: int, cents: int, style: tuple[str, str]) -> None:
    group, decimal = style
    text = f"{whole:,}".replace(",", group) + f"{decimal}{cents:02d}"
    assert parse_price(text) == float(f"{whole}.{cents:02d}")


@given(st.text(max_size=30))
def test_parsers_take_any_text(text: str) -> None:
    price = parse_price(text)
    assert price is None or price >= 0
    for parse in (currency_of_price, parse_currency, parse_country, parse_gtin, parse_time, parse_flag):
        parse(text)  # type: ignore[operator]


def test_a_currency_beside_the_price_is_seen() -> None:
    assert [currency_of_price(text) for text in ("£5", "5 €", "5 PLN", "5", "call us")] == [
        "GBP",
        "EUR",
        "PLN",
        None,
        None,
    ]


@pytest.mark.parametrize(("text", "code"), [("eur", "EUR"), ("€", "EUR"), ("zł", "PLN"), ("kr", None), ("XXX", None)])
def test_currencies_are_iso_codes(text: str, code: str | None) -> None:
    assert parse_currency(text) == code


@pytest.mark.parametrize(("text", "code"), [("de", "DE"), ("UK", "GB"), ("GB", "GB"), ("DEU", None), ("XX", None)])
def test_countries_are_iso_codes(text: str, code: str | None) -> None:
    assert parse_country(text) == code


@pytest.mark.parametrize(
    ("text", "gtin"),
    [
        ("4006381333931", "4006381333931"),
        ("4 006381 333931", "4006381333931"),
        ("036000291452", "036000291452"),
        ("96385074", "96385074"),
        ("4006381333931.0", "4006381333931"),
        ("4006381333932", None),
        ("0000000000000", None),
        ("400638133393", None),
        ("4.00638E+12", None),
        ("", None),
    ],
)
def test_a_gtin_needs_its_check_digit(text: str, gtin: str | None) -> None:
    assert parse_gtin(text) == gtin


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023-04-15", datetime(2023, 4, 15)),
        ("2023-04-15T10:30:00+02:00", datetime(2023, 4, 15, 8, 30)),
        ("2023-04-15T10:30:00Z", datetime(2023, 4, 15, 10, 30)),
        ("2023-04-15 10:30:00", datetime(2023, 4, 15, 10, 30)),
        ("15.04.2023", datetime(2023, 4, 15)),
        ("15/04/2023 07:05", datetime(2023, 4, 15, 7, 5)),
        ("1681554600", datetime(2023, 4, 15, 10, 30)),
        ("1681554600000", datetime(2023, 4, 15, 10, 30)),
        ("31.02.2023", None),
        ("yesterday", None),
        ("0023-04-15", None),
        ("9999-12-31T23:59:59-05:00", None),
    ],
)
def test_times_become_utc(text: str, time: datetime | None) -> None:
    assert parse_time(text) == time


def test_a_date_format_in_the_spec_decides() -> None:
    assert parse_time("04/05/2023", "%m/%d/%Y") == datetime(2023, 4, 5)
    assert parse_time("2023-04-05", "%m/%d/%Y") is None


def test_yes_and_no_in_five_languages() -> None:
    assert [parse_flag(text) for text in ("TRUE", "ja", "oui", "sí", "1")] == [True] * 5
    assert [parse_flag(text) for text in ("false", "Nein", "non", "no", "0")] == [False] * 5
    assert parse_flag("perhaps") is None
