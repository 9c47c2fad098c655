"""Real offers load, with the counts that are known of them."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.feeds import OfferPart, describe_market, load_parts, load_spec
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from sortiment.taxonomy import derive_taxonomy

Parts = dict[str, OfferPart]
SPECS: dict[str, dict[str, Any]] = {
    "pricerunner": {
        "path": "pricerunner_uk/pricerunner_aggregate.csv",
        "constants": {"country": "GB"},
        "columns": {
            "offer_id": "Product ID",
            "title": "Product Title",
            "shop_id": "Merchant ID",
            "product_id": "Cluster ID",
            "category": "Category Label",
        },
    },
    "toys": {
        "path": "amazon_uk_toys/amazon_co-ecommerce_sample.csv",
        "constants": {"country": "UK", "currency": "GBP"},
        "columns": {
            "offer_id": "uniq_id",
            "title": "product_name",
            "brand": "manufacturer",
            "price": "price",
            "category": "amazon_category_and_sub_category",
        },
    },
    "mercadona": {
        "path": "mercadona_es/productos_mercadona.csv",
        "constants": {"country": "ES"},
        "columns": {
            "title": "descripcion",
            "price": "precio",
            "currency": "moneda",
            "observed_at": "fecha",
            "category": ["categoria_principal", "categoria_secundaria", "subcategoria"],
        },
    },
}


@pytest.fixture(scope="module")
def parts(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("shared")
    specs = []
    for name, spec in SPECS.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**spec, "path": str(shared_data / spec["path"])}), encoding="utf-8")
        specs.append(load_spec(path))
    store = ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
    return {part.feed: part for part in load_parts(specs, None, store, FeedSettings(), silent)}


@pytest.mark.parametrize(
    ("feed", "rows", "labelled", "paths"),
    [("pricerunner", 35_311, 35_311, 10), ("toys", 10_000, 9_310, 255), ("mercadona", 5_420, 5_420, 454)],
)
def test_every_row_loads_with_its_label(parts: Parts, feed: str, rows: int, labelled: int, paths: int) -> None:
    report = parts[feed].report
    (country,) = report.countries.values()
    assert (report.rows_read, report.rows_loaded, report.quarantined) == (rows, rows, {})
    assert country.labelled == labelled
    assert len(derive_taxonomy([parts[feed]]).categories) == paths


def test_decimal_commas_and_symbols_are_read(parts: Parts) -> None:
    with duckdb.connect() as connection:
        row = connection.execute(
            "SELECT price, currency, observed_at::DATE::TEXT, category_path FROM read_parquet(?) ORDER BY source_row",
            [parts["mercadona"].uris["ES"]],
        ).fetchone()
    path = ["Aceite, especias y salsas", "Aceite, vinagre y sal", "Aceite de oliva"]
    assert row == (24.0, "EUR", "2023-04-15", path)


def test_together_they_are_a_market_of_two_countries(parts: Parts) -> None:
    market = describe_market(list(parts.values()))
    assert market.countries == ("ES", "GB")
    assert market.offers == {"ES": 5_420, "GB": 45_311}
    assert "unlabelled" in market.partitions["GB"]
    assert "unlabelled" not in market.partitions["ES"]
