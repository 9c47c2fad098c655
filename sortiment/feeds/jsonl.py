"""JSON lines: one object per line. Numbers keep their own digits, lists are levels of a label."""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from sortiment.errors import FeedError
from sortiment.feeds.lines import LineBlocks, TextHead
from sortiment.feeds.raw import BrokenRow, Problem, RawBatch, make_batch
from sortiment.feeds.reasons import INVALID_JSON, NOT_AN_OBJECT
from sortiment.feeds.spec import FeedSpec
from sortiment.taxonomy import PATH_SEPARATOR


class Number(str):
    """A JSON number as written."""


NEEDED = ("title", "offer_id", "country")  # without them every row is broken
THREE_DECIMALS = re.compile(r"\.\d{3}$")
DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=lambda name: None)


def read_json_lines(stream: BinaryIO, head: TextHead, spec: FeedSpec, name: str) -> Iterator[RawBatch]:
    """All rows of a JSON lines file. A mapped name may be a key or a dotted path into nested objects.

    Raises FeedError where the file is one JSON array, or none of its first rows has a key that every offer needs.
    """
    refuse_array(head.text, name)
    blocks = LineBlocks(stream, head, name)
    record = 0
    keys_seen = False
    while lines := blocks.read():
        objects: list[dict[str, Any]] = []
        texts: list[str] = []
        records: list[int] = []
        numbers: list[int] = []
        broken: list[BrokenRow] = []
        for number, line in enumerate(lines, start=blocks.before + 1):
            text = line.strip(" \t\r\n\ufeff")
            if not text:
                continue
            record += 1
            parsed = _parse(text)
            if isinstance(parsed, Problem):
                broken.append(BrokenRow(number, parsed, text))
                continue
            objects.append(parsed)
            texts.append(text)
            records.append(record)
            numbers.append(number)
        if objects and not keys_seen:
            _check_keys(objects, spec, name)
            keys_seen = True
        cells = {
            column: [_text(_get(item, key), column) for item in objects] for column, key in spec.file_columns.items()
        }
        yield make_batch(cells, records, numbers, broken, texts.__getitem__, head.replaced)


def refuse_array(head: str, name: str) -> None:
    """Raise FeedError where a file begins as one JSON array."""
    if head.lstrip("\ufeff \t\r\n").startswith("["):
        raise FeedError(
            f"{name} line 1: this is a JSON array, not JSON lines",
            value=head[:80],
            allowed="one object per line",
            fix=f"jq -c '.[]' {name} > {name}l",
        )


def _parse(text: str) -> dict[str, Any] | Problem:
    try:
        parsed = DECODER.decode(text)
    except json.JSONDecodeError as error:
        return Problem(INVALID_JSON, None, f"{error.msg} at character {error.pos + 1}")
    except RecursionError:
        return Problem(INVALID_JSON, None, "nested too deeply")
    return parsed if isinstance(parsed, dict) else Problem(NOT_AN_OBJECT, None, type(parsed).__name__)


def _check_keys(objects: list[dict[str, Any]], spec: FeedSpec, name: str) -> None:
    for column in NEEDED:
        key = spec.file_columns.get(column)
        if key is None or column in spec.constants or any(_get(item, key) is not None for item in objects):
            continue
        seen = sorted({str(found) for item in objects[:100] for found in item})
        raise FeedError(
            f"{name} line 1: no row has the key {key!r}, mapped to {column}",
            value=seen,
            allowed="keys of the rows",
            fix=f"correct `columns` in {spec.name}.yaml; a key within an object is written with a dot: product.title",
        )


def _get(item: dict[str, Any], key: str) -> Any:
    if key in item:
        return item[key]
    value: Any = item
    for part in key.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _text(value: Any, column: str) -> str | None:
    """A value as a cell. A price of three decimals gets a fourth, so that the number 1.299 is never read as 1299."""
    if value is None:
        return None
    if isinstance(value, Number):
        return f"{value}0" if column == "price" and THREE_DECIMALS.search(value) else str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and column.startswith("category"):
        return PATH_SEPARATOR.join(text for item in value if (text := _text(item, column)))
    return json.dumps(value, ensure_ascii=False)
