"""Feed files as shops send them: each country in another real format, so that a loader meets them all.

| country | files | prices | label |
|---|---|---|---|
| DE | two CSV with `;`, gzip | 1.299,00 | path with ` > ` |
| AT | CSV with `;`, Windows-1252 | 24,00 | path with ` | ` |
| ES | CSV with `,`, zstd | 24,00 | one column per level |
| IT | CSV with tabs | 24.00 | path with ` / ` |
| FR | JSONL, gzip, no product id | 24.0 | path with ` > ` |
| GB | Parquet | 24.0 | category id |
"""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sortiment.blobs import write_atomically
from sortiment.market.vocabulary import LANGUAGE_OF, Vocabulary

FEEDS = "feeds"
SYNTHETIC_NOTE = "# Synthetic offers: made by sortiment.market, sold by nobody.\n"
MOST_LEVELS = 3
LONG_TITLE_CHARS = 1_500
GZIP_LEVEL = 6
ZSTD_LEVEL = 3


@dataclass(frozen=True)
class FeedFormat:
    """How one country's shops write.

    columns: contract column to the file's. parts: the offers are spread over so many files. price: with a decimal
    point, a decimal comma, a thousands point as well, or as a number. category: a path, a column per level, or an id.
    """

    extension: str
    columns: Mapping[str, str | list[str]]
    price: Literal["point", "comma", "thousands", "number"]
    category: Literal["path", "levels", "id"]
    separator: str = " > "
    delimiter: str = ","
    encoding: str = "utf-8"
    parts: int = 1

    @property
    def kind(self) -> str:
        return self.extension.split(".")[1]


FORMATS = {
    "DE": FeedFormat(
        extension=".csv.gz",
        columns={
            "offer_id": "Artikelnummer",
            "shop_id": "Haendler",
            "title": "Bezeichnung",
            "brand": "Marke",
            "description": "Beschreibung",
            "price": "Preis",
            "gtin": "EAN",
            "shop_category": "Shop-Kategorie",
            "category": "Kategorie",
            "product_id": "Produkt",
            "observed_at": "Stand",
        },
        price="thousands",
        category="path",
        delimiter=";",
        parts=2,
    ),
    "AT": FeedFormat(
        extension=".csv",
        columns={
            "offer_id": "Artikel-Nr.",
            "shop_id": "Shop",
            "title": "Titel",
            "brand": "Hersteller",
            "price": "Preis in EUR",
            "gtin": "GTIN",
            "shop_category": "Warengruppe",
            "category": "Kategorie",
            "product_id": "Produkt-ID",
            "observed_at": "Zeitpunkt",
        },
        price="comma",
        category="path",
        separator=" | ",
        delimiter=";",
        encoding="cp1252",
    ),
    "ES": FeedFormat(
        extension=".csv.zst",
        columns={
            "offer_id": "referencia",
            "shop_id": "tienda",
            "title": "título",
            "brand": "marca",
            "price": "precio",
            "currency": "moneda",
            "gtin": "ean",
            "shop_category": "sección",
            "category": ["categoría 1", "categoría 2", "categoría 3"],
            "product_id": "producto",
            "observed_at": "fecha",
        },
        price="comma",
        category="levels",
    ),
    "IT": FeedFormat(
        extension=".csv",
        columns={
            "offer_id": "codice",
            "shop_id": "negozio",
            "title": "nome prodotto",
            "brand": "marchio",
            "price": "prezzo",
            "gtin": "ean",
            "shop_category": "reparto",
            "category": "categoria",
            "product_id": "id prodotto",
            "observed_at": "data",
        },
        price="point",
        category="path",
        separator=" / ",
        delimiter="\t",
    ),
    "FR": FeedFormat(
        extension=".jsonl.gz",
        columns={
            "offer_id": "reference",
            "shop_id": "boutique",
            "title": "titre",
            "brand": "marque",
            "description": "description",
            "price": "prix",
            "currency": "devise",
            "gtin": "ean",
            "shop_category": "rayon",
            "category": "categorie",
            "observed_at": "date",
        },
        price="number",
        category="path",
    ),
    "GB": FeedFormat(
        extension=".parquet",
        columns={
            "offer_id": "sku",
            "shop_id": "merchant",
            "title": "name",
            "brand": "manufacturer",
            "description": "description",
            "price": "price",
            "currency": "currency",
            "gtin": "gtin",
            "shop_category": "merchant_category",
            "category": "category_id",
            "product_id": "product_id",
            "observed_at": "seen_at",
        },
        price="number",
        category="id",
    ),
}


@dataclass(frozen=True)
class WrittenFeed:
    """What is on disk for one country and day. broken_rows are on top of the offers, and meant for quarantine."""

    spec: Path
    files: tuple[Path, ...]
    broken_rows: int


def write_feed(
    offers: pa.Table, day: int, vocabulary: Vocabulary, broken_share: float, *, rng: np.random.Generator, out: Path
) -> WrittenFeed:
    """One country's offers (OFFER_SCHEMA) as `out/feeds/day-<n>-<country>.yaml` and the files that it names."""
    country = offers["country"][0].as_py()
    feed = FORMATS[country]
    name = f"day-{day}-{country.lower()}"
    folder = out / FEEDS / name
    broken = round(len(offers) * broken_share)
    columns = _columns(_add_broken_rows(offers, broken, rng), feed, vocabulary, LANGUAGE_OF[country])
    files = []
    for part in range(feed.parts):
        rows = slice(part, None, feed.parts)
        file = folder / f"offers-{part + 1}{feed.extension}"
        write_atomically(file, _encode({column: values[rows] for column, values in columns.items()}, feed))
        files.append(file)
    spec = out / FEEDS / f"{name}.yaml"
    text = yaml.safe_dump(_spec(feed, country, name), allow_unicode=True, sort_keys=False)
    write_atomically(spec, (SYNTHETIC_NOTE + text).encode())
    return WrittenFeed(spec, tuple(files), broken)


def _spec(feed: FeedFormat, country: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"path": f"{name}/*{feed.extension}", "format": feed.kind}
    if feed.kind == "csv":
        spec |= {"delimiter": feed.delimiter, "encoding": feed.encoding}
    constants = {"country": country}
    if "currency" not in feed.columns:
        constants["currency"] = "EUR"
    spec |= {"constants": constants, "columns": dict(feed.columns)}
    if feed.category == "path":
        spec["category_separator"] = feed.separator
    return spec


def _add_broken_rows(offers: pa.Table, count: int, rng: np.random.Generator) -> pa.Table:
    """`count` rows more, somewhere in between, whose title is empty, only markup, or far too long."""
    titles = ["", "<br/>", "x" * LONG_TITLE_CHARS]
    broken = offers.take(rng.integers(0, len(offers), size=count))
    broken = broken.set_column(
        broken.column_names.index("title"), "title", pa.array([titles[at % 3] for at in range(count)], pa.string())
    )
    ids = pa.array([f"broken-{at}" for at in range(count)], pa.string())
    broken = broken.set_column(broken.column_names.index("offer_id"), "offer_id", ids)
    places = np.concatenate([np.arange(len(offers)), rng.integers(0, len(offers), size=count)])
    return pa.concat_tables([offers, broken]).take(np.argsort(places, kind="stable"))


def _columns(offers: pa.Table, feed: FeedFormat, vocabulary: Vocabulary, language: str) -> dict[str, list[Any]]:
    """The file's columns, in the shops' own form."""
    columns: dict[str, list[Any]] = {}
    for name, column in feed.columns.items():
        if name == "category":
            columns |= _label_columns(offers["label_id"].to_pylist(), feed, vocabulary, language)
            continue
        assert isinstance(column, str)
        values = offers[name].to_pylist()
        if name == "price":
            values = _write_prices(values, feed)
        elif name == "observed_at" and feed.kind != "parquet":
            values = [value.isoformat(sep=" ") for value in values]
        columns[column] = values
    return columns


def _label_columns(
    labels: Sequence[str | None], feed: FeedFormat, vocabulary: Vocabulary, language: str
) -> dict[str, list[Any]]:
    column = feed.columns["category"]
    paths: dict[str | None, tuple[str, ...]] = {each.id: each.path[language] for each in vocabulary.categories}
    if isinstance(column, list):
        levels = {label: (*path, *[None] * (MOST_LEVELS - len(path))) for label, path in paths.items()}
        levels[None] = (None,) * MOST_LEVELS
        return {name: [levels[label][level] for label in labels] for level, name in enumerate(column)}
    if feed.category == "id":
        return {column: list(labels)}
    texts = {label: feed.separator.join(path) for label, path in paths.items()}
    return {column: [None if label is None else texts[label] for label in labels]}


def _write_prices(prices: Sequence[float], feed: FeedFormat) -> list[Any]:
    if feed.price == "number":
        return list(prices)
    texts = [f"{price:,.2f}" if feed.price == "thousands" else f"{price:.2f}" for price in prices]
    if feed.price == "point":
        return texts
    return [text.translate(str.maketrans(",.", ".,")) for text in texts]


def _encode(columns: Mapping[str, list[Any]], feed: FeedFormat) -> bytes:
    """The file's bytes; the same columns give the same bytes (gzip without its time)."""
    if feed.kind == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(dict(columns)), sink, compression="zstd")
        return bytes(sink.getvalue())
    rows = zip(*columns.values(), strict=True)
    text = io.StringIO()
    if feed.kind == "jsonl":
        for row in rows:
            present = {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            text.write(json.dumps(present, ensure_ascii=False) + "\n")
    else:
        writer = csv.writer(text, delimiter=feed.delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    data = text.getvalue().encode(feed.encoding, errors="xmlcharrefreplace")
    if feed.extension.endswith(".gz"):
        return gzip.compress(data, compresslevel=GZIP_LEVEL, mtime=0)
    if feed.extension.endswith(".zst"):
        return bytes(pa.Codec("zstd", compression_level=ZSTD_LEVEL).compress(data, asbytes=True))
    return data
