"""Which column of somebody's file is the title? A feed spec is guessed from the file's header, and said aloud.

Only what classifying needs is looked for: title, offer id, country, brand, description, shop category. Names are
compared without case and punctuation: "Product Title" is `product_title`.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.errors import FeedError
from sortiment.feeds import FeedSpec, find_feed_files, parse_spec
from sortiment.feeds.delimited import detect_delimiter
from sortiment.feeds.files import FoundFile, file_format, open_raw, open_text_bytes
from sortiment.feeds.lines import read_head

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
    content = {
        "path": source.name,
        "columns": {"title": "title"},
        "constants": {"country": country or UNKNOWN_COUNTRY},
        "encoding": encoding or "utf-8",
    }
    probe = parse_spec(content, "classify", source.parent.resolve())
    file = find_feed_files(probe)[0]
    encoding = encoding or guess_encoding(file, probe)
    probe = probe.model_copy(update={"encoding": encoding, "delimiter": delimiter})
    header, delimiter = read_header(file, probe)
    found = {name: column for name in ALIASES if (column := _find(header, ALIASES[name])) is not None}
    if country is not None:
        found.pop("country", None)
    if found.get("description") == found.get("title"):
        found.pop("description", None)
    found |= columns
    if "title" not in found:
        raise FeedError(
            f"{source.name}: no column looks like a title",
            value=list(header),
            allowed=", ".join(ALIASES["title"]),
            fix="name the column: `--title COLUMN`",
        )
    chosen = {"columns": found, "encoding": encoding} | ({"delimiter": delimiter} if delimiter else {})
    return parse_spec(content | chosen, "classify", source.parent.resolve())


def guess_encoding(file: FoundFile, probe: FeedSpec) -> str:
    """UTF-8 (or UTF-16, 32 by its byte order mark) where the file's beginning is that, else Windows-1252."""
    if file_format(probe, file.name) == "parquet":
        return "utf-8"
    with open_text_bytes(file) as stream:
        text = read_head(stream, probe, file.name).text
    return "cp1252" if "\ufffd" in text[:-1] else "utf-8"


def read_header(file: FoundFile, probe: FeedSpec) -> tuple[Sequence[str], str | None]:
    """The file's column names (keys of the first object for JSON lines), and the delimiter for CSV."""
    kind = file_format(probe, file.name)
    if kind == "parquet":
        with open_raw(file) as stream:
            try:
                return pq.read_schema(stream).names, None
            except pa.ArrowException as error:
                raise FeedError(f"{file.name} cannot be read as Parquet", value=str(error)) from error
    with open_text_bytes(file) as stream:
        text = read_head(stream, probe, file.name).text.lstrip("\ufeff")
    if kind == "jsonl":
        return _first_keys(text), None
    delimiter = probe.delimiter or detect_delimiter(text, probe)
    return [name.strip() for name in next(csv.reader(text.splitlines(), delimiter=delimiter), [])], delimiter


def _first_keys(text: str) -> list[str]:
    for line in text.splitlines():
        try:
            first = json.loads(line)
        except ValueError:
            continue
        if isinstance(first, dict):
            return list(first)
    return []


def _find(header: Sequence[str], aliases: Sequence[str]) -> str | None:
    """The first alias that exactly one column of the header answers to."""
    folded = [re.sub(r"\W+", "_", name.casefold()).strip("_") for name in header]
    return next((header[folded.index(alias)] for alias in aliases if folded.count(alias) == 1), None)
