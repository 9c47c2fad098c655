"""Which column of somebody's file is the title? A feed spec is guessed from the file's header, and said aloud.

Only what classifying needs is looked for: title, offer id, country, brand, description, shop category. Names are
compared without case and punctuation: "Product Title" is `product_title`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.errors import FeedError
from sortiment.feeds import FeedSpec, find_feed_files, parse_spec
from sortiment.feeds.delimited import detect_delimiter
from sortiment.feeds.delimited import read_header as read_csv_header
from sortiment.feeds.files import FoundFile, file_format, open_raw, open_text_bytes
from sortiment.feeds.jsonl import refuse_array
from sortiment.feeds.lines import read_head, split_lines
from sortiment.feeds.values import parse_country

OPTIONS = "`--title`, `--delimiter` or `--encoding`"
FIRST_OBJECTS = 100
UNKNOWN_COUNTRY = "ZZ"  # ISO 3166 leaves it to users
ALIASES: dict[str, tuple[str, ...]] = {
    "title": (
        *("title", "offer_title", "product_title", "item_title", "titel", "titre", "titolo", "titulo", "título"),
        *("product_name", "item_name", "offer_name", "produktname", "artikelname", "artikelbezeichnung", "bezeichnung"),
        *("nom_produit", "nombre_producto", "nome_prodotto", "name", "nombre", "nome", "nom", "product", "produkt"),
        *("description", "beschreibung", "descripcion", "descripción", "descrizione"),  # for want of a better one
    ),
    "offer_id": (
        "offer_id",
        "offerid",
        "id",
        "sku",
        "product_id",
        "item_id",
        "uniq_id",
        "article_number",
        "artikelnummer",
    ),
    "country": ("country", "country_code", "market", "land", "pays", "pais", "país", "paese"),
    "brand": ("brand", "manufacturer", "marke", "hersteller", "marque", "marca"),
    "description": ("description", "beschreibung", "descripcion", "descripción", "descrizione"),
    "shop_category": ("shop_category", "merchant_category", "category_path", "google_product_category"),
}


def guess_spec(
    source: Path,
    columns: Mapping[str, str],
    country: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> FeedSpec:
    """A feed spec for one file. What the arguments give wins; the rest is found in the file's header and first bytes.

    Raises FeedError, with the header, where no column looks like a title, or the file cannot be read.
    """
    if not source.is_file():
        raise FeedError(
            "the file to classify is not there", value=str(source), allowed="one file, not a folder or glob"
        )
    content = {
        "path": source.name,
        "columns": {"title": "title"},
        "constants": {"country": _country(country)},
        "encoding": encoding or "utf-8",
        "delimiter": delimiter,
    }
    probe = parse_spec(content, "classify", source.parent.resolve(), OPTIONS)
    file = find_feed_files(probe)[0]
    encoding = encoding or guess_encoding(file, probe)
    probe = probe.model_copy(update={"encoding": encoding})
    header, delimiter = read_header(file, probe)
    found = {name: column for name in ALIASES if (column := _find(header, ALIASES[name])) is not None}
    if country is not None:
        found.pop("country", None)
    if found.get("description") == found.get("title"):
        found.pop("description", None)
    found |= columns
    if "title" not in found or _fold(found["title"]) not in map(_fold, header):
        raise FeedError(
            f"{source.name}: no column "
            + (f"is called {found['title']!r}" if "title" in found else "looks like a title"),
            value=list(header),
            allowed="one column with one of these names: " + ", ".join(ALIASES["title"]),
            fix="name the column with `--title`; `--delimiter` and `--encoding` where the header was read wrongly",
        )
    chosen = {"columns": found, "encoding": encoding, "delimiter": delimiter}
    return parse_spec(content | chosen, "classify", source.parent.resolve(), OPTIONS)


def guess_encoding(file: FoundFile, probe: FeedSpec) -> str:
    """UTF-8 (or UTF-16, 32 by its byte order mark) where the file's beginning is that, else Windows-1252."""
    if file_format(probe, file.name) == "parquet":
        return "utf-8"
    with open_text_bytes(file) as stream:
        head = read_head(stream, probe, file.name)
    return "cp1252" if head.encoding == probe.encoding and "\ufffd" in head.text[:-1] else head.encoding


def read_header(file: FoundFile, probe: FeedSpec) -> tuple[Sequence[str], str | None]:
    """The file's column names (keys of the first object for JSON lines), and the delimiter for CSV."""
    kind = file_format(probe, file.name)
    if kind == "parquet":
        with open_raw(file) as stream:
            try:
                return pq.read_schema(stream).names, None
            except pa.ArrowException as error:
                raise FeedError(
                    f"{file.name} cannot be read as Parquet",
                    value=str(error),
                    allowed="a whole Parquet file",
                    fix="deliver the file again, or give it the name of what it is",
                ) from error
    with open_text_bytes(file) as stream:
        text = read_head(stream, probe, file.name).text.lstrip("\ufeff")
    if kind == "jsonl":
        refuse_array(text, file.name)
        return _first_keys(text), None
    delimiter = probe.delimiter or detect_delimiter(text, probe)
    return read_csv_header(text, probe, file.name, delimiter), delimiter


def _country(country: str | None) -> str:
    if country is None:
        return UNKNOWN_COUNTRY
    code = parse_country(country)
    if code is None:
        raise FeedError("this is no country", value=country, allowed="an ISO 3166-1 alpha-2 code, such as DE")
    return code


def _first_keys(text: str) -> list[str]:
    """The keys of the first objects; of an object within one, dotted paths."""
    keys: dict[str, None] = {}
    for line in split_lines(text)[:FIRST_OBJECTS]:
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(item, dict):
            keys |= dict.fromkeys(_paths(item))
    return list(keys)


def _paths(item: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in item.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{before}{key}.")
        else:
            yield before + key


def _find(header: Sequence[str], aliases: Sequence[str]) -> str | None:
    """The first alias that exactly one column of the header answers to."""
    folded = [_fold(name) for name in header]
    return next((header[folded.index(alias)] for alias in aliases if folded.count(alias) == 1), None)


def _fold(name: str) -> str:
    return re.sub(r"\W+", "_", name.casefold()).strip("_")
