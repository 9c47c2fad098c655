"""From a batch of raw text to a batch of values: cleaned, parsed, labels resolved. No row is judged here.

Columns with few distinct values (countries, prices, labels, days) are parsed once per distinct value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sortiment.cleaning import clean_column, map_distinct
from sortiment.feeds.files import FeedFile
from sortiment.feeds.raw import RawBatch
from sortiment.feeds.spec import FeedSpec
from sortiment.feeds.values import (
    currency_of_price,
    parse_country,
    parse_currency,
    parse_flag,
    parse_gtin,
    parse_price,
    parse_time,
)
from sortiment.settings import FeedSettings
from sortiment.taxonomy import PATH_SEPARATOR, Label, Resolver

LABELS_KEPT = 1 << 16
RAW_CUT_FACTOR = 4  # text is cut to so many times its limit before cleaning: markup may be most of it
LABEL_TYPE = pa.struct(
    [
        ("path", pa.list_(pa.string())),
        ("category_id", pa.string()),
        ("department", pa.string()),
        ("problem", pa.string()),
    ]
)
TEXT = pa.string()
PLAIN_PRICE = {
    None: r"^[0-9]{1,15}([.,][0-9]{1,2})?$",
    ".": r"^[0-9]{1,15}(\.[0-9]+)?$",
    ",": r"^[0-9]{1,15}(,[0-9]+)?$",
}
"""By the decimal separator of the spec."""


@dataclass
class RowParser:
    """Parses the batches of one file; remembers the labels that it resolved last."""

    file: FeedFile
    spec: FeedSpec
    resolver: Resolver
    settings: FeedSettings

    def __post_init__(self) -> None:
        self._label = lru_cache(LABELS_KEPT)(lambda text: _as_row(self.resolver(text)))

    def parse(self, batch: RawBatch) -> pa.Table:
        """One row per row of the batch: values of the contract, and `has_X` where X was given, readable or not."""
        size = len(batch)
        records = pa.array(batch.records)
        title_chars, text_chars = self.settings.title_max_chars, self.settings.text_max_chars
        # One character more than allowed, so that a title that is too long shows.
        title = self._text(batch, "title", title_chars + 1)
        country = self._text(batch, "country", text_chars)
        price = self._text(batch, "price", text_chars)
        currency = self._text(batch, "currency", text_chars)
        gtin = self._text(batch, "gtin", text_chars)
        observed = self._text(batch, "observed_at", text_chars)
        withdrawn = self._text(batch, "withdrawn", text_chars)
        label = self._labels_of(batch, size)
        seen_at = map_distinct(observed, lambda text: parse_time(text, self.spec.date_format), pa.timestamp("us"))
        default_time = pa.scalar(self.file.modified_at.replace(tzinfo=None), pa.timestamp("us"))
        codes = map_distinct(currency, parse_currency, TEXT)
        beside_price = map_distinct(_without_plain_numbers(price), currency_of_price, TEXT)
        positional = "offer_id" not in self.spec.columns
        columns = {
            "position": pa.array(np.arange(size)),
            "record": records,
            "line": pa.array(batch.lines),
            "raw_problem": pa.array([_reason(batch, position) for position in range(size)], TEXT)
            if batch.problems
            else pa.nulls(size, TEXT),
            "offer_id": pc.cast(records, TEXT) if positional else self._text(batch, "offer_id", text_chars),
            "country": map_distinct(country, parse_country, TEXT),
            "has_country": pc.is_valid(country),
            "title": title,
            "has_title": _any_text(batch.columns["title"], self.spec.null_values),
            "shop_id": self._text(batch, "shop_id", text_chars),
            "brand": self._text(batch, "brand", text_chars),
            "description": self._text(batch, "description", text_chars),
            "gtin": map_distinct(gtin, parse_gtin, TEXT),
            "has_gtin": pc.is_valid(gtin),
            "shop_category": self._text(batch, "shop_category", text_chars),
            "price": self._prices(price),
            "has_price": pc.is_valid(price),
            "currency": pc.if_else(pc.is_valid(currency), codes, beside_price),
            "has_currency": pc.is_valid(currency),
            "category_path": pc.struct_field(label, "path"),
            "category_id": pc.struct_field(label, "category_id"),
            "department": pc.struct_field(label, "department"),
            "label_problem": pc.struct_field(label, "problem"),
            "product_id": self._text(batch, "product_id", text_chars),
            "observed_at": pc.if_else(pc.is_valid(observed), seen_at, default_time),
            "has_observed_at": pc.is_valid(observed),
            "withdrawn": map_distinct(withdrawn, parse_flag, pa.bool_()),
            "has_withdrawn": pc.is_valid(withdrawn),
        }
        return pa.table(columns)

    def _prices(self, price: pa.Array) -> pa.Array:
        """Plain numbers by Arrow, which reads them as Python does; what else a price may be, one by one."""
        decimal = self.spec.decimal_separator
        plain = pc.match_substring_regex(price, PLAIN_PRICE[decimal])
        numbers = pc.replace_substring(pc.if_else(plain, price, pa.scalar(None, TEXT)), ",", ".")
        others = pc.if_else(plain, pa.scalar(None, TEXT), price)
        parsed = map_distinct(others, lambda text: parse_price(text, decimal), pa.float64())
        return pc.coalesce(pc.cast(numbers, pa.float64()), parsed)

    def _text(self, batch: RawBatch, name: str, max_chars: int) -> pa.Array:
        """A column, cleaned and cut, null where it has no value; the constant where there is one."""
        constant = pa.scalar(self.spec.constants.get(name), TEXT)  # type: ignore[call-overload]
        raw = batch.columns.get(name)
        if raw is None:
            column = pa.repeat(constant, len(batch))
            return clean_column(column) if constant.is_valid else column
        column = _cut(clean_column(_cut(raw, max_chars * RAW_CUT_FACTOR)), max_chars)
        column = _without(column, self.spec.null_values)
        return pc.fill_null(column, constant) if constant.is_valid else column

    def _labels_of(self, batch: RawBatch, size: int) -> pa.Array:
        """The struct of a resolved label per row; all null where there is none."""
        levels = [
            pc.fill_null(_without(batch.columns[f"category.{number}"], self.spec.null_values), "")
            for number in range(1, len(self.spec.category_levels) + 1)
        ]
        if len(levels) > 1:
            column = pc.binary_join_element_wise(*levels, PATH_SEPARATOR)
        elif levels:
            column = levels[0]
        else:
            column = batch.columns.get("category", pa.nulls(size, TEXT))
        constant = self.spec.constants.get("category")
        column = _without(_cut(column, self.settings.text_max_chars), ("", *self.spec.null_values))
        if constant is not None:
            column = pc.fill_null(column, constant)
        return map_distinct(column, self._label, LABEL_TYPE)


def _as_row(label: Label) -> dict[str, Any]:
    return {
        "path": list(label.path) if label.category_id else None,
        "category_id": label.category_id,
        "department": label.department,
        "problem": label.problem,
    }


def _reason(batch: RawBatch, position: int) -> str | None:
    problem = batch.problems.get(position)
    return problem.reason if problem else None


def _cut(column: pa.Array, max_chars: int) -> pa.Array:
    longest = pc.max(pc.utf8_length(column)).as_py()
    return pc.utf8_slice_codeunits(column, 0, max_chars) if longest is not None and longest > max_chars else column


def _without(column: pa.Array, values: tuple[str, ...]) -> pa.Array:
    if not values:
        return column
    absent = pc.is_in(column, value_set=pa.array(values, TEXT))
    return pc.if_else(absent, pa.scalar(None, TEXT), column)


def _without_plain_numbers(price: pa.Array) -> pa.Array:
    """Only prices that may name a currency."""
    plain = pc.match_substring_regex(price, r"^[\d.,]*$")
    return pc.if_else(plain, pa.scalar(None, TEXT), price)


def _any_text(column: pa.Array, null_values: tuple[str, ...]) -> pa.Array:
    """Whether a cell holds more than white space and words for nothing."""
    stripped: Callable[..., Any] = pc.utf8_trim_whitespace
    return pc.fill_null(pc.not_equal(_without(stripped(column), null_values), ""), False)
