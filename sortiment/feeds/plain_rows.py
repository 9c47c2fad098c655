"""CSV that needs no care, taken apart by Arrow: most of most feeds, and ten times as fast as with Python's `csv`.

Text is plain where a strict CSV reader and a lenient one must agree: every line is a row, and every quote opens or
closes a whole field or stands for itself within one. What is not plain is left to `delimited.py`.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from sortiment.feeds.raw import REPLACEMENT

Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

LINE_FEED, CARRIAGE_RETURN = 10, 13
BYTE_ORDER_MARK = "\ufeff"  # Arrow takes it for the start of a file


@dataclass(frozen=True)
class PlainRows:
    """Rows of some lines: the wanted columns, and the text of each row."""

    columns: list[pa.Array]
    data: bytes
    starts: Places
    ends: Places

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, row: int) -> str:
        """A row as the file has it, without its line's end."""
        return self.data[self.starts[row] : self.ends[row]].decode().rstrip("\r\n")


def take_plain_apart(text: str, width: int, columns: Sequence[int], dialect: dict[str, Any]) -> PlainRows | None:
    """The columns at these places of whole lines that end with a line feed (the last one may lack it); None where some
    line is not plain, or has another number of fields than `width`."""
    delimiter, quote = dialect["delimiter"], dialect["quotechar"]
    signs = delimiter + (quote or "")
    if not text or dialect["escapechar"] or not signs.isascii() or text.startswith(BYTE_ORDER_MARK):
        return None
    if "\0" in text or REPLACEMENT in text or ("\r" in text and text.count("\r") != text.count("\r\n")):
        return None
    try:
        data = text.encode()
    except UnicodeEncodeError:  # undecodable bytes, as lone surrogates
        return None
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw == LINE_FEED) + 1
    if not len(ends) or ends[-1] < len(raw):
        ends = np.append(ends, len(raw))
    starts = np.append(0, ends[:-1])
    if (ends - starts).max() > csv.field_size_limit() or not _has_plain_quotes(raw, ends, delimiter, quote):
        return None
    table = _parse(data, width, columns, delimiter, quote)
    if table is None or table.num_rows != len(starts):  # Arrow passes over blank lines
        return None
    found = [table[f"f{column}"].combine_chunks() for column in columns]
    return PlainRows(found, data, starts, ends)


def _has_plain_quotes(raw: Bytes, line_ends: Places, delimiter: str, quote: str | None) -> bool:
    """Whether quotes come in pairs within each line, the first of each at the start of a field or right behind the pair
    before it (then both stand for one quote in a field), the second at a field's end or right before the next pair."""
    if quote is None:
        return True
    quotes = np.flatnonzero(raw == ord(quote))
    if not len(quotes):
        return True
    if (np.searchsorted(quotes, line_ends) % 2).any():
        return False
    edge = np.array([LINE_FEED], dtype=np.uint8)
    framed = np.concatenate([edge, raw, edge])
    before, behind = framed[quotes[0::2]], framed[quotes[1::2] + 2]
    inside = (ord(delimiter), ord(quote), LINE_FEED)
    return bool(np.isin(before, inside).all() and np.isin(behind, (*inside, CARRIAGE_RETURN)).all())


def _parse(data: bytes, width: int, columns: Sequence[int], delimiter: str, quote: str | None) -> pa.Table | None:
    wanted = [f"f{column}" for column in sorted(set(columns))]
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=[f"f{column}" for column in range(width)]
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, quote_char=quote or False),
            convert_options=arrow_csv.ConvertOptions(
                check_utf8=False, include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )
    except pa.ArrowInvalid:
        return None
