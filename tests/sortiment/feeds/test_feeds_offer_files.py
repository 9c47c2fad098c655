"""The offers of a part: their keys, their columns and the order of their rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.artifacts import ArtifactStore
from sortiment.feeds import FeedSpec, load_parts, offer_files, offer_key
from sortiment.feeds.offer_files import OFFER_SCHEMA, ROW_GROUP_ROWS, OfferFiles, open_writer
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from tests.sortiment.feeds.conftest import COLUMNS, FEED

MakeSpec = Callable[..., FeedSpec]
Load = Callable[..., Any]  # conftest.py, `load`


def read(query: str, uri: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(query, [uri]).fetchall()


def test_the_key_is_the_first_64_bits_of_md5() -> None:
    # Golden: these may never change, or every stored sample and label is lost.
    assert offer_key("DE", "shop", "1") == 2190137223869992758
    assert offer_key("GB", "", "Müller") == 4392889574512145564


def test_keys_of_a_load_are_the_documented_ones(load: Load) -> None:
    loaded = load("o.csv", FEED, columns=COLUMNS, constants={})
    assert [row["offer_key"] for row in loaded.offers] == [
        offer_key("DE", "s1", "1"),
        offer_key("DE", "s1", "2"),
        offer_key("AT", "s1", "3"),
    ]


def test_without_a_shop_the_feed_is_the_shop_of_the_key(load: Load) -> None:
    loaded = load("o.csv", "id,title\n7,a\n")
    assert loaded.offers[0]["offer_key"] == offer_key("GB", "shop", "7")  # the spec is shop.yaml
    assert loaded.offers[0]["shop_id"] is None


def test_without_offer_ids_the_row_number_is_the_id_and_files_do_not_collide(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text("title\nx\ny\n", encoding="utf-8")
    spec = make_spec("a.csv", "title\na\n\n\nb\n", columns={"title": "title"})
    spec = spec.model_copy(update={"path": "*.csv"})
    parts = load_parts([spec], None, store, FeedSettings(), silent)
    keys = []
    for part in parts:
        rows = read("SELECT offer_id, offer_key FROM read_parquet(?) ORDER BY source_row", part.uris["GB"])
        assert [row[0] for row in rows] == ["1", "2"]
        keys += [row[1] for row in rows]
    assert len(set(keys)) == 4


def test_the_offer_files_have_the_columns_of_the_contract(make_spec: MakeSpec, store: ArtifactStore) -> None:
    spec = make_spec("o.csv", FEED, columns=COLUMNS, constants={})
    (part,) = load_parts([spec], None, store, FeedSettings(), silent)
    columns = read("SELECT name, type FROM (DESCRIBE FROM read_parquet(?)) AS found(name, type)", part.uris["DE"])
    contract = """offer_key UBIGINT, country VARCHAR, shop_id VARCHAR, offer_id VARCHAR, title VARCHAR, brand VARCHAR,
        description VARCHAR, gtin VARCHAR, shop_category VARCHAR, price DOUBLE, currency VARCHAR,
        category_path VARCHAR[], category_id VARCHAR, department VARCHAR, product_id VARCHAR, observed_at TIMESTAMP,
        withdrawn BOOLEAN, feed VARCHAR, source_file VARCHAR, source_row BIGINT"""
    assert [f"{name} {kind}" for name, kind, *_ in columns] == [" ".join(part.split()) for part in contract.split(",")]
    assert sorted(path.name for path in part.artifact.path.iterdir()) == [
        "labels.parquet",
        "manifest.json",
        "offers-AT.counts.arrow",
        "offers-AT.parquet",
        "offers-AT.rows",
        "offers-DE.counts.arrow",
        "offers-DE.parquet",
        "offers-DE.rows",
        "quarantine.parquet",
        "report.json",
    ]


def test_rows_of_a_part_are_ordered_by_key_so_that_a_range_of_keys_opens_few_row_groups(tmp_path: Path) -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 2 * ROW_GROUP_ROWS + 10, dtype=np.uint64)
    columns = {"offer_key": pa.array(keys), "country": pa.repeat("DE", len(keys))}
    columns["source_row"] = pa.array(np.arange(len(keys)))
    nothing = {field.name: pa.nulls(len(keys), field.type) for field in OFFER_SCHEMA if field.name not in columns}
    with OfferFiles(tmp_path) as files:
        files.add(pa.table({**columns, **nothing}).select(OFFER_SCHEMA.names).cast(OFFER_SCHEMA))
        files.close()
    with pq.ParquetFile(tmp_path / "offers-DE.parquet") as file:
        assert file.read(columns=["offer_key"])["offer_key"].to_numpy().tolist() == sorted(keys.tolist())
        halves = [file.metadata.row_group(group).column(0).statistics for group in range(file.num_row_groups)]
    assert [(half.min >> 63, half.max >> 63) for half in halves] == [(0, 0), (1, 1)]
    files.remove_rows("DE", np.arange(100))
    with pq.ParquetFile(tmp_path / "offers-DE.parquet") as file:
        assert file.metadata.num_rows == len(keys) - 100
        halves = [file.metadata.row_group(group).column(0).statistics for group in range(file.num_row_groups)]
    assert [(half.min >> 63, half.max >> 63) for half in halves] == [(0, 0), (1, 1)]


def test_rows_are_written_early_where_many_wait_whichever_country_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How much waits is a constant of the module, not code under test: with 256 MB this takes a million offers.
    monkeypatch.setattr(offer_files, "WAITING_BYTES", 1)
    with OfferFiles(tmp_path) as files:
        for first, country in ((0, "DE"), (10, "DE"), (20, "AT"), (30, "DE"), (40, "AT")):
            columns = {"country": pa.repeat(country, 10), "source_row": pa.array(np.arange(10) + first)}
            columns["offer_key"] = pa.array(np.arange(10, dtype=np.uint64) + first)
            nothing = {field.name: pa.nulls(10, field.type) for field in OFFER_SCHEMA if field.name not in columns}
            files.add(pa.table({**columns, **nothing}).select(OFFER_SCHEMA.names).cast(OFFER_SCHEMA))
        files.close()
    rows = {c: pq.read_table(tmp_path / f"offers-{c}.parquet")["source_row"].to_pylist() for c in files.rows}
    assert {country: sorted(rows[country]) for country in rows} == {
        "AT": [*range(20, 30), *range(40, 50)],
        "DE": [*range(20), *range(30, 40)],
    }


def test_replaced_rows_are_removed_from_the_row_groups_that_hold_them(tmp_path: Path) -> None:
    nothing = {field.name: pa.nulls(10, field.type) for field in OFFER_SCHEMA if field.name != "source_row"}
    with open_writer(tmp_path / "offers-DE.parquet") as writer:
        for group in range(100):
            rows = pa.array(np.arange(10) + 10 * group)
            writer.write_table(pa.table({**nothing, "source_row": rows}).select(OFFER_SCHEMA.names))
    OfferFiles(tmp_path).remove_rows("DE", np.array([0, 3, *range(500, 510), 997, 5_000]))
    kept = pq.read_table(tmp_path / "offers-DE.parquet")["source_row"].to_pylist()
    assert kept == sorted({*range(1000)} - {0, 3, *range(500, 510), 997})
