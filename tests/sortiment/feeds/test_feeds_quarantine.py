"""Broken rows go to quarantine with their line and reason; the rest loads."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sortiment.errors import FeedError
from sortiment.feeds import MEANING
from sortiment.feeds.reasons import ADVICE
from sortiment.settings import FeedSettings
from sortiment.taxonomy import make_taxonomy, taxonomy_resolver

Load = Callable[..., Any]  # conftest.py, `load`
ALL = {
    "columns": {
        "offer_id": "id",
        "country": "land",
        "title": "title",
        "shop_id": "shop",
        "price": "price",
        "currency": "currency",
        "gtin": "ean",
        "observed_at": "seen",
        "withdrawn": "gone",
        "category": "category",
    },
    "constants": {},
}
HEADER = "id;land;title;shop;price;currency;ean;seen;gone;category"
TAXONOMY = make_taxonomy(
    [("1", {"en": ("Toys", "Trains")}), ("2", {"en": ("Toys", "Cars")}), ("3", {"en": ("Cars", "Cars")})],
    ["en"],
    "test",
)
GOOD = "{id};DE;Good offer;s;1,00;EUR;4006381333931;2026-01-02;no;Toys > Trains"
# What is wrong with a row, and the reason it must get. `{id}` is the row's own id.
BROKEN = {
    "{id};DE;too few": "too_few_columns",
    GOOD + ";more": "too_many_columns",
    '{id};DE;"open;s;1;EUR;;;;': "unterminated_quote",
    '{id};DE;"19" screen";s;1;EUR;;;;': "stray_quote",
    "{id};DE;" + "x" * 140_000 + ";s;1;EUR;;;;": "field_too_long",
    "{id};DE;bad\udcff byte;s;1;EUR;;;;": "bad_encoding",
    "{id};DE;nul\0;s;1;EUR;;;;": "nul_byte",
    ";DE;no id;s;1;EUR;;;;": "missing_offer_id",
    "  ;DE;blank id;s;1;EUR;;;;": "missing_offer_id",
    "{id};;no country;s;1;EUR;;;;": "missing_country",
    "{id};Deutschland;long country;s;1;EUR;;;;": "bad_country",
    "{id};XX;unknown country;s;1;EUR;;;;": "bad_country",
    "{id};DE;;s;1;EUR;;;;": "missing_title",
    "{id};DE; \t ;s;1;EUR;;;;": "missing_title",
    "{id};DE;NULL;s;1;EUR;;;;": "missing_title",
    '{id};DE;"<br>&nbsp;<p></p>";s;1;EUR;;;;': "empty_title",
    "{id};DE;\u200b\u200b;s;1;EUR;;;;": "empty_title",
    "{id};DE;" + "word " * 201 + ";s;1;EUR;;;;": "title_too_long",
    "{id};DE;price word;s;call us;EUR;;;;": "bad_price",
    "{id};DE;price negative;s;-5,00;EUR;;;;": "bad_price",
    "{id};DE;price twice;s;1.2.3;EUR;;;;": "bad_price",
    "{id};DE;currency;s;1;EURX;;;;": "bad_currency",
    "{id};DE;date;s;1;EUR;;2026-13-45;;": "bad_date",
    "{id};DE;date long ago;s;1;EUR;;0001-01-01;;": "bad_date",
    "{id};DE;gone;s;1;EUR;;;perhaps;": "bad_withdrawn",
    "{id};DE;label;s;1;EUR;;;;Toys > Dolls": "unknown_category",
    "{id};DE;label;s;1;EUR;;;;Cars": "ambiguous_category",
}


def write_feed(broken: list[str]) -> tuple[bytes, list[int]]:
    """Good and broken rows in turn, one per line; the lines of the broken ones."""
    rows = [HEADER]
    at = []
    for number, row in enumerate(broken):
        rows.append(GOOD.replace("{id}", f"g{number}"))
        rows.append(row.replace("{id}", f"b{number}"))
        at.append(len(rows))
    rows.append(GOOD.replace("{id}", "last"))
    return "\n".join(rows).encode("utf-8", "surrogateescape"), at


def test_every_kind_of_broken_row_is_quarantined_with_its_line_and_reason(load: Load) -> None:
    content, at = write_feed(list(BROKEN))
    loaded = load("o.csv", content, resolver=taxonomy_resolver(TAXONOMY, " > "), **ALL)
    assert loaded.broken == list(zip(at, BROKEN.values(), strict=True))
    assert len(loaded.offers) == len(BROKEN) + 1
    assert {row["title"] for row in loaded.offers} == {"Good offer"}
    assert len(set(BROKEN.values())) >= 17


def test_quarantine_says_where_what_and_the_row(load: Load) -> None:
    content, _ = write_feed(["x1;DE;a; s ;call us;EUR;;;;", "x2;DE;bad\udcff;s;1;EUR;;;;"])
    price, encoding = load("o.csv", content, resolver=taxonomy_resolver(TAXONOMY, " > "), **ALL).quarantine
    assert price == {
        "source_file": "o.csv",
        "line": 3,
        "reason": "bad_price",
        "column_name": "price",
        "value": "call us",
        "row": "x1;DE;a; s ;call us;EUR;;;;",
    }
    assert (encoding["column_name"], encoding["value"]) == ("title", "bad\\xff")


def test_a_bad_gtin_costs_the_value_and_is_counted(load: Load) -> None:
    content = f"{HEADER}\n1;DE;a;s;;;4006381333932;;;\n2;DE;b;s;;;4006381333931;;;\n"
    loaded = load("o.csv", content, **ALL)
    assert [row["gtin"] for row in loaded.offers] == [None, "4006381333931"]
    assert loaded.report.dropped == {"bad_gtin": 1}


def test_unreadable_optional_values_can_be_dropped_and_counted_instead(load: Load) -> None:
    content = f"{HEADER}\n1;DE;a;s;call us;EURX;;soon;perhaps;\n"
    settings = FeedSettings(unreadable_optional="drop")
    loaded = load("o.csv", content, settings=settings, **ALL)
    assert not loaded.quarantine
    assert loaded.offers[0]["price"] is None
    assert loaded.offers[0]["withdrawn"] is False
    assert loaded.report.dropped == {"bad_price": 1, "bad_currency": 1, "bad_date": 1, "bad_withdrawn": 1}


def test_of_one_offer_twice_the_later_row_stays(load: Load) -> None:
    loaded = load(
        "o.csv", "id,title\n1,old\n2,b\n1,older than new\n1,new\n", settings=FeedSettings(quarantine_limit=0.0)
    )
    assert [row["title"] for row in loaded.offers] == ["b", "new"]
    assert loaded.broken == [(2, "superseded"), (4, "superseded")]
    assert loaded.quarantine[0]["value"] == "again in line 5"
    assert json.loads(loaded.quarantine[0]["row"])["title"] == "old"
    assert loaded.report.broken_share == 0.0
    assert loaded.report.rows_read == loaded.report.rows_loaded + loaded.report.rows_quarantined == 4


def test_too_many_broken_rows_fail_with_reasons_and_lines(load: Load) -> None:
    content = "id,title\n" + "".join(f"{number},{'t' if number > 3 else ''}\n" for number in range(1, 11))
    with pytest.raises(FeedError) as caught:
        load("o.csv", content, settings=FeedSettings())
    text = str(caught.value)
    assert "o.csv: 30% of 10 rows are broken: missing_title" in text
    assert "3 rows, such as line 2, 3, 4" in text
    assert "quarantine_limit" in text


def test_a_share_at_the_limit_passes(load: Load) -> None:
    content = "id,title\n1,\n" + "".join(f"{number},t\n" for number in range(2, 6))
    assert load("o.csv", content, settings=FeedSettings()).report.quarantined == {"missing_title": 1}


def test_the_report_adds_up_and_is_stored(load: Load) -> None:
    content, _ = write_feed(list(BROKEN))
    loaded = load("o.csv", content, resolver=taxonomy_resolver(TAXONOMY, " > "), **ALL)
    report = loaded.report
    assert report.rows_read == report.rows_loaded + report.rows_quarantined == 2 * len(BROKEN) + 1
    stored = json.loads((loaded.folder / "report.json").read_bytes())
    assert stored["quarantined"] == report.quarantined
    assert "seconds" not in stored
    assert report.seconds is not None


def test_every_reason_has_a_meaning(load: Load) -> None:
    content, _ = write_feed(list(BROKEN))
    loaded = load("o.csv", content, resolver=taxonomy_resolver(TAXONOMY, " > "), **ALL)
    assert set(loaded.report.quarantined) <= set(MEANING)


def test_the_wrong_encoding_fails_and_names_the_cause(load: Load) -> None:
    content = "id,title\n" + "".join(f"{number},Kühlschrank\n" for number in range(9))
    with pytest.raises(FeedError, match=r"bad_encoding .* encoding"):
        load("o.csv", content.encode("latin-1"), settings=FeedSettings())


@pytest.mark.parametrize(
    ("rows", "advice"),
    [
        ('1;DE;"quoted" start;;;;;;;', 'quote: ""'),
        ("1;DE;a;;from 12,99 €;;;;;", "unreadable_optional: drop"),
        ("1;DE;a;;;;;12/31/2025;;", "date_format"),
        ("1;Germany;a;;;;;;;", "constants: {country: ..}"),
        ("1,DE,a", "delimiter"),
    ],
)
def test_where_a_file_is_broken_in_one_way_the_error_names_the_field_of_the_spec(
    load: Load, rows: str, advice: str
) -> None:
    with pytest.raises(FeedError, match="100% of 1 rows are broken") as caught:
        load("o.csv", f"{HEADER}\n{rows}\n", settings=FeedSettings(), **ALL)
    assert advice in (caught.value.fix or "")
    assert "shop.yaml" in (caught.value.fix or "")


def test_every_reason_that_breaks_a_row_for_the_specs_sake_has_advice() -> None:
    of_the_row = {"superseded", "bad_gtin", "empty_title", "title_too_long", "not_an_object"}
    assert set(MEANING) - set(ADVICE) == of_the_row


def test_a_withdrawn_offer_needs_no_title(load: Load) -> None:
    loaded = load("o.csv", f"{HEADER}\n1;DE;;s;;;;;yes;\n", **ALL)
    assert [(row["title"], row["withdrawn"]) for row in loaded.offers] == [(None, True)]
