"""JSON lines and Parquet give the offers that CSV gives."""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.errors import FeedError
from sortiment.feeds import find_feed_files, parse_spec

Load = Callable[..., Any]  # conftest.py, `load`
FIELDS = {
    "columns": {
        "offer_id": "id",
        "title": "title",
        "price": "price",
        "category": "path",
        "observed_at": "seen",
        "withdrawn": "gone",
    }
}


def lines(*rows: Any) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def test_json_lines_keep_ids_prices_and_levels(load: Load) -> None:
    content = lines(
        {
            "id": 12345678901234567890,
            "title": "a",
            "price": 1.299,
            "path": ["A", "", "B"],
            "seen": "2026-01-02",
            "gone": False,
        },
        {"id": "007", "title": "b", "price": "1.299,00", "path": "A > C", "gone": True},
        {"title": "c", "id": 3},
    )
    first, second, third = load("o.jsonl", content, **FIELDS).offers
    assert (first["offer_id"], first["price"], first["category_path"]) == ("12345678901234567890", 1.299, ["A", "B"])
    assert (first["observed_at"], first["withdrawn"]) == (datetime(2026, 1, 2), False)
    assert (second["offer_id"], second["price"], second["category_path"], second["withdrawn"]) == (
        "007",
        1299.0,
        ["A", "C"],
        True,
    )
    assert (third["price"], third["category_id"]) == (None, None)


def test_keys_may_be_dotted_paths(load: Load) -> None:
    content = lines({"id": 1, "names": {"de": "Zug"}, "brand": {"name": "X"}})
    columns = {"offer_id": "id", "title": "names.de", "brand": "brand.name"}
    assert [(row["title"], row["brand"]) for row in load("o.jsonl", content, columns=columns).offers] == [("Zug", "X")]


@pytest.mark.parametrize("column", ["offer_id", "title", "country"])
def test_a_key_that_every_offer_needs_and_no_row_has_is_an_error(load: Load, column: str) -> None:
    content = lines(*({"id": number, "title": "a", "land": "DE"} for number in range(3)))
    columns = {"offer_id": "id", "title": "title", "country": "land"} | {column: "wrong"}
    with pytest.raises(FeedError, match=f"no row has the key 'wrong', mapped to {column}.*with a dot"):
        load("o.jsonl", content, columns=columns, constants={})


def test_a_mapped_column_without_any_value_is_told(load: Load) -> None:
    content = lines({"id": 1, "title": "a", "kat": "A > B", "brand": ""}, {"id": 2, "title": "b", "price": 3})
    columns = {"offer_id": "id", "title": "title", "category": "cat", "brand": "brand", "price": "price"}
    assert load("o.jsonl", content, columns=columns).report.empty == ["brand", "category"]


def test_a_column_that_is_filled_once_is_not_empty_and_levels_count_together(load: Load) -> None:
    content = "id,title,l1,l2,brand\n1,a,,,\n2,b,A,,\n"
    columns = {"offer_id": "id", "title": "title", "category": ["l1", "l2"], "brand": "brand"}
    loaded = load("o.csv", content, columns=columns)
    assert loaded.report.empty == ["brand"]
    assert json.loads((loaded.folder / "report.json").read_bytes())["empty"] == ["brand"]


def test_broken_json_lines_are_quarantined_with_their_line(load: Load) -> None:
    content = lines(
        {"id": 1, "title": "a"},
        '{"id": 2, "title": "cut',
        "",
        '["a list"]',
        '{"id": 3, "title": "lone \\ud83d surrogate"}',
        '{"id": 4, "title": "nul \\u0000"}',
        '{"id": 5, "title": null}',
        "[" * 100_000,
        '{"id": 6, "title": "z"} trailing',
        {"id": 7, "title": "last"},
    )
    loaded = load("o.jsonl", content)
    assert loaded.broken == [
        (2, "invalid_json"),
        (4, "not_an_object"),
        (5, "bad_encoding"),
        (6, "nul_byte"),
        (7, "missing_title"),
        (8, "invalid_json"),
        (9, "invalid_json"),
    ]
    assert [row["source_row"] for row in loaded.offers] == [1, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"id": 1, "title": "a"}\n]', "JSON array, not JSON lines"),
        (lines({"id": 1, "name": "a"}), "no row has the key 'title'"),
        ("", "is empty"),
    ],
)
def test_a_file_that_is_not_json_lines_is_an_error(load: Load, content: str, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        load("o.jsonl", content)


def test_parquet_types_become_values(load: Load) -> None:
    table = pa.table(
        {
            "id": pa.array([1.0, 2.0], pa.float64()),
            "title": pa.array(["a", "b"]).dictionary_encode(),
            "price": pa.array([Decimal("1.299"), Decimal("24.000")], pa.decimal128(8, 3)),
            "path": pa.array([["A", "B"], None], pa.list_(pa.string())),
            "seen": pa.array([date(2026, 1, 2), None], pa.date32()),
            "gone": pa.array([True, None]),
        }
    )
    first, second = load("o.parquet", parquet(table), **FIELDS).offers
    assert (first["offer_id"], first["title"], first["price"], first["category_path"]) == ("1", "a", 1.299, ["A", "B"])
    assert (first["observed_at"], first["withdrawn"], second["withdrawn"]) == (datetime(2026, 1, 2), True, False)
    assert (second["price"], second["category_path"]) == (24.0, None)


def test_broken_parquet_rows_are_quarantined_with_their_row(load: Load) -> None:
    table = pa.table({"id": [1, 2, 3], "title": pa.array([b"a", b"bad \xff", None], pa.binary())})
    loaded = load("o.parquet", parquet(table))
    assert loaded.broken == [(2, "bad_encoding"), (3, "missing_title")]
    assert json.loads(loaded.quarantine[1]["row"]) == {"id": "3", "title": None}


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"id,title\n1,a\n", lambda data: b""])
def test_a_damaged_parquet_file_is_an_error(load: Load, damage: Callable[[bytes], bytes]) -> None:
    content = damage(parquet(pa.table({"id": [1], "title": ["a"]})))
    with pytest.raises(FeedError, match=r"o\.parquet cannot be read as Parquet"):
        load("o.parquet", content)


def test_parquet_without_a_mapped_column_is_an_error(load: Load) -> None:
    with pytest.raises(FeedError, match="'title', mapped to title, is not in the header"):
        load("o.parquet", parquet(pa.table({"id": [1], "name": ["a"]})))


def test_text_in_a_parquet_file_named_csv_is_an_error(load: Load) -> None:
    with pytest.raises(FeedError, match="this is Parquet, not text"):
        load("o.csv", parquet(pa.table({"id": [1], "title": ["a"]})))


def test_all_formats_give_the_same_offers(load: Load, tmp_path: Path) -> None:
    rows = [
        {"id": str(number), "title": f"Zug &amp; {number}", "price": "1,50", "path": "A > B"} for number in range(5)
    ]
    columns = {"columns": {"offer_id": "id", "title": "title", "price": "price", "category": "path"}}
    contents = {
        "o.jsonl": lines(*rows),
        "o.parquet": parquet(pa.Table.from_pylist(rows)),
    }
    contents["o.csv"] = "\n".join(["id|title|price|path", *("|".join(row.values()) for row in rows)])
    seen = []
    for name, content in contents.items():
        loaded = load(name, content, **columns)
        seen.append(
            [{key: row[key] for key in row if key not in ("source_file", "observed_at")} for row in loaded.offers]
        )
        loaded.folder.rename(tmp_path / f"out-{name}")
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][3]["title"] == "Zug & 3"


def test_files_of_one_name_in_several_folders_are_told_apart_wherever_the_spec_lies(tmp_path: Path) -> None:
    for day in ("b", "a"):
        (tmp_path / "shop" / day).mkdir(parents=True)
        (tmp_path / "shop" / day / "offers.csv").write_text("t\nx\n", encoding="utf-8")
    content = {"constants": {"country": "GB"}, "columns": {"title": "t"}}
    for path in ("shop", "shop/*/offers.csv", "shop/**/*.csv"):
        spec = parse_spec({**content, "path": str(tmp_path / path)}, "shop", tmp_path / "elsewhere")
        assert [file.name for file in find_feed_files(spec)] == ["a/offers.csv", "b/offers.csv"]


def not_utf8(*values: bytes) -> pa.Array:
    """Strings as a writer leaves them that does not check what it calls text."""
    as_bytes = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(values), as_bytes.buffers())


@pytest.mark.parametrize("kind", ["string", "dictionary"])
def test_bytes_that_parquet_calls_text_and_that_are_none_cost_their_row_only(load: Load, kind: str) -> None:
    titles = not_utf8(b"a", b"K\xfchl", b"c")
    if kind == "dictionary":
        titles = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), titles)
    loaded = load("o.parquet", parquet(pa.table({"id": ["1", "2", "3"], "title": titles})))
    assert [row["title"] for row in loaded.offers] == ["a", "c"]
    assert loaded.broken == [(2, "bad_encoding")]
    assert loaded.quarantine[0]["row"] == '{"id": "2", "title": "K\\xfchl"}'


def test_a_parquet_time_that_no_calendar_has_costs_its_row_only(load: Load) -> None:
    seen = pa.array([0, 10**18], pa.timestamp("us"))  # 1970 and the year 33658
    table = pa.table({"id": ["1", "2"], "title": ["a", "b"], "seen": seen})
    columns = {"offer_id": "id", "title": "title", "observed_at": "seen"}
    loaded = load("o.parquet", parquet(table), columns=columns)
    assert loaded.broken == [(1, "bad_date"), (2, "bad_date")]
    assert "out of range" in loaded.quarantine[1]["row"]


def test_a_nested_parquet_value_that_cannot_be_read_is_an_error_that_names_the_file(load: Load) -> None:
    levels = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), not_utf8(b"\xff"))
    table = pa.table({"id": ["1"], "title": ["a"], "path": levels})
    columns = {"offer_id": "id", "title": "title", "category": "path"}
    with pytest.raises(FeedError, match=r"o\.parquet cannot be read as Parquet past row 0.*utf-8"):
        load("o.parquet", parquet(table), columns=columns)
