"""Parquet: rows are numbered, not lines; numbers, dates and lists become the text that the other formats have."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.errors import UnreadableFile
from sortiment.feeds.delimited import match_columns
from sortiment.feeds.raw import BATCH_ROWS, RawBatch, make_batch
from sortiment.feeds.spec import FeedSpec
from sortiment.taxonomy import PATH_SEPARATOR


def read_parquet(stream: BinaryIO, spec: FeedSpec, name: str) -> Iterator[RawBatch]:
    """All rows of a Parquet file. Raises FeedError where it lacks a mapped column, UnreadableFile where it is
    damaged or is not Parquet."""
    row = 0
    try:
        file = pq.ParquetFile(stream)
        header = file.schema_arrow.names
        indexes = match_columns(header, spec, name)
        wanted = sorted({header[index] for index in indexes.values()})
        for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
            numbers = range(row + 1, row + batch.num_rows + 1)
            cells = {column: _as_text(batch.column(header[index]), column) for column, index in indexes.items()}
            names = {column: header[index] for column, index in indexes.items()}
            yield make_batch(cells, numbers, numbers, [], _row_text(cells, names))
            row += batch.num_rows
    except (pa.ArrowException, OSError, EOFError, ValueError, OverflowError) as error:
        raise UnreadableFile(
            f"{name} cannot be read as Parquet past row {row}",
            value=str(error).partition("\n")[0],
            allowed="a whole Parquet file, not compressed once more, with values that Python can hold",
            fix="deliver the file again, or correct `format` in the spec",
        ) from error


def _row_text(cells: dict[str, list[str | None]], names: dict[str, str]) -> Callable[[int], str]:
    """What was read of a row, by the file's names."""
    return lambda position: json.dumps(
        {name: cells[column][position] for column, name in names.items()}, ensure_ascii=False
    )


def _as_text(column: pa.Array, name: str) -> list[str | None]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if _is_text(kind) or _is_bytes(kind):
        return _decoded(column)
    if pa.types.is_nested(kind):
        return [_nested_text(value, name) for value in column.to_pylist()]
    text = pc.cast(column, pa.string())
    if name == "price" and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        # A fourth decimal, so that 1.299 is never read as 1299.
        text = pc.replace_substring_regex(text, r"(\.\d{3})$", r"\10")
    values: list[str | None] = text.to_pylist()
    return values


def _decoded(column: pa.Array) -> list[str | None]:
    """Text or bytes as text. Writers do not all check what they call text: bytes that are none are lone surrogates."""
    if _is_text(column.type):
        try:
            whole: list[str | None] = column.to_pylist()
            return whole
        except UnicodeDecodeError:
            column = pc.cast(pc.cast(column, pa.large_string()), pa.large_binary())
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in column.to_pylist()]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _nested_text(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, list) and name.startswith("category"):
        return PATH_SEPARATOR.join(str(level) for level in value if level is not None)
    return json.dumps(value, ensure_ascii=False, default=str)
