"""CSV as shops write it: any delimiter, quoted line breaks, ragged rows, stray quotes.

Arrow takes plain rows apart (`plain_rows.py`), Python's `csv` all others, since it knows the physical line of each;
DuckDB's reader knows it only of rows that it rejects. A quote that is not closed would swallow all rows up to the next
quote: here only the line where it opens is lost, the lines after it are read again.
"""

import csv
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from operator import itemgetter
from typing import Any, BinaryIO

import numpy as np

from sortiment.errors import FeedError
from sortiment.feeds.lines import LineBlocks, TextHead, split_lines
from sortiment.feeds.plain_rows import take_plain_apart
from sortiment.feeds.raw import BrokenRow, Problem, RawBatch, make_batch
from sortiment.feeds.reasons import FIELD_TOO_LONG, STRAY_QUOTE, TOO_FEW_COLUMNS, TOO_MANY_COLUMNS, UNTERMINATED_QUOTE
from sortiment.feeds.spec import FeedSpec

DELIMITERS = (",", ";", "\t", "|", "~", "^", "\x01")
NO_DELIMITER = DELIMITERS[-1]  # a control character: no cell holds it
BYTE_ORDER_MARK = "\ufeff"
BLANK = " \t\r\n" + BYTE_ORDER_MARK


def read_delimited(stream: BinaryIO, head: TextHead, spec: FeedSpec, name: str) -> Iterator[RawBatch]:
    """All rows of a CSV file. Raises FeedError where the header lacks a mapped column or the file cannot be read."""
    delimiter = spec.delimiter or detect_delimiter(head.text, spec)
    dialect = _dialect(spec, delimiter)
    blocks = LineBlocks(stream, head, name)
    text = blocks.read_text()
    lines = blocks.split(text)
    header, at, header_lines = _read_header(lines, spec, name, dialect)
    indexes = match_columns(header, spec, f"{name} line {at + 1}", delimiter)
    splitter = _Splitter(len(header), dialect)
    before, text = header_lines, "".join(lines[header_lines:])
    rest: list[str] = []
    while text or rest or not blocks.finished:
        batch = None if rest or not blocks.newline else splitter.split_plain(text, before, indexes)
        if batch is None:
            rest = splitter.split([*rest, *blocks.split(text)], before, blocks.finished)
            batch = splitter.batch(indexes, head.replaced)
        if len(batch) or batch.broken:
            yield batch
        if blocks.finished and not rest:
            return
        text = blocks.read_text()
        before = blocks.before - len(rest)


def detect_delimiter(head: str, spec: FeedSpec) -> str:
    """The delimiter under which the header has most of the mapped columns; among equals, most columns.

    Where no delimiter takes the header apart there is one column, and commas in it are its own.
    """
    lines = split_lines(head)
    lines = lines[_header_place(lines, spec) :]

    def score(delimiter: str) -> tuple[int, int]:
        try:
            header = next(csv.reader(iter(lines), **_dialect(spec, delimiter)), [])
        except csv.Error:
            return 0, 0
        names = _names(header, spec)
        folded = {_fold(name) for name in names}
        return sum(_fold(column) in folded for column in spec.file_columns.values()), len(header)

    best = max(DELIMITERS, key=score)
    return best if score(best)[1] > 1 else NO_DELIMITER


def read_header(head: str, spec: FeedSpec, name: str, delimiter: str) -> list[str]:
    """The columns' names in the first characters of a file. Raises FeedError where there are none."""
    return _read_header(split_lines(head), spec, name, _dialect(spec, delimiter))[0]


def match_columns(header: Sequence[str], spec: FeedSpec, where: str, delimiter: str | None = None) -> dict[str, int]:
    """Index of each mapped column. Names match exactly or, where that finds none, but for case, white space and the
    way in which a letter is composed."""
    found: dict[str, int] = {}
    for column, wanted in spec.file_columns.items():
        hits = [index for index, name in enumerate(header) if name == wanted] or [
            index for index, name in enumerate(header) if _fold(name) == _fold(wanted)
        ]
        if len(hits) != 1:
            problem = f"stands {len(hits)} times in the header" if hits else "is not in the header"
            raise FeedError(
                f"{where}: the column {wanted!r}, mapped to {column}, {problem}",
                value=list(header),
                allowed="each mapped column once"
                + (f" (delimiter {delimiter!r}, encoding {spec.encoding})" if delimiter else ""),
                fix=_column_advice(header, wanted, spec, delimiter is not None),
            )
        found[column] = hits[0]
    return found


def _column_advice(header: Sequence[str], wanted: str, spec: FeedSpec, delimited: bool) -> str:
    """What to do about a column that is not there."""
    alike = get_close_matches(wanted, header, 1)
    names = f"is it {alike[0]!r}? " if alike and alike[0] != wanted else ""
    if not delimited:
        return f"{names}Correct `columns` in {spec.name}.yaml"
    if not spec.header:
        return f"{names}Correct `columns` in {spec.name}.yaml: with `header: false` they are named by number, from 1"
    fields = "`columns`, `delimiter`, `encoding` or `skip_lines`"
    return f"{names}Correct {fields} in {spec.name}.yaml, or say `header: false` where the file has none"


class _Splitter:
    """Takes lines apart into rows of one width, and keeps what is broken."""

    def __init__(self, width: int, dialect: dict[str, Any]) -> None:
        self.width, self.dialect = width, dialect
        self.record = 0
        self.rows: list[list[str]] = []
        self.records: Sequence[int] = []
        self.numbers: Sequence[int] = []
        self.broken: list[BrokenRow] = []

    def split_plain(self, text: str, before: int, indexes: Mapping[str, int]) -> RawBatch | None:
        """The rows of whole lines that follow line `before`; None where some line needs care.

        A row's text is what `batch` makes of it: quarantine does not tell which lines stood near a row.
        """
        rows = take_plain_apart(text, self.width, list(indexes.values()), self.dialect)
        if rows is None:
            return None
        numbers = np.arange(1, len(rows) + 1)
        columns = dict(zip(indexes, rows.columns, strict=True))

        def row_text(position: int) -> str:
            return str(self.dialect["delimiter"].join(next(csv.reader([rows.text(position)], **self.dialect))))

        batch = RawBatch(columns, self.record + numbers, before + numbers, {}, [], row_text)
        self.record += len(rows)
        return batch

    def batch(self, indexes: Mapping[str, int], replaced: bool) -> RawBatch:
        """What `split` found last."""
        rows, delimiter = self.rows, self.dialect["delimiter"]
        cells: dict[str, list[str | None]] = {
            column: list(map(itemgetter(index), rows)) for column, index in indexes.items()
        }

        def row_text(position: int) -> str:
            return str(delimiter.join(rows[position]))

        return make_batch(cells, self.records, self.numbers, self.broken, row_text, replaced)

    def split(self, lines: list[str], before: int, last: bool) -> list[str]:
        """Fill `rows`, their `records` and line `numbers`, and `broken` from lines that follow line `before`.

        Returns the lines at the end that begin a row which goes on beyond them; never any where these are the last.
        """
        self.broken = []
        if self._split_whole(lines, before):
            return []
        return self._split_carefully(lines, before, last)

    def _split_whole(self, lines: list[str], before: int) -> bool:
        """Where every line is a row and every row has the header's width: at the speed of C."""
        try:
            rows = list(csv.reader(lines, **self.dialect))
        except csv.Error:
            return False
        if len(rows) != len(lines) or any(width != self.width for width in set(map(len, rows))):
            return False
        self.rows = rows
        self.numbers = range(before + 1, before + 1 + len(rows))
        self.records = range(self.record + 1, self.record + 1 + len(rows))
        self.record += len(rows)
        return True

    def _split_carefully(self, lines: list[str], before: int, last: bool) -> list[str]:
        self.rows = []
        records: list[int] = []
        numbers: list[int] = []
        self.records, self.numbers = records, numbers
        width, lines = self.width, list(lines)
        reader, first = self._read_from(lines, 0), 0
        while True:
            start = first + reader.line_num
            try:
                row = next(reader)
            except StopIteration:
                return []
            except csv.Error as error:
                message = str(error)
                if "unexpected end of data" in message and not last:
                    return lines[start:]
                at = first + reader.line_num - 1  # the line that was read last
                taken = max(at + 1 - start, 1)
                mended = _without_carriage_return(lines[at])
                if "new-line character" in message and mended != lines[at]:
                    lines[at] = mended  # a carriage return within a line: a control character, not the end of a row
                else:
                    several = taken > 1 or "unexpected end of data" in message
                    reason = UNTERMINATED_QUOTE if several else _reason_of(message)
                    self._lose(before + start + 1, Problem(reason, None, message), lines[start])
                    if taken == 1:
                        continue
                    start += 1
                reader, first = self._read_from(lines, start), start
                continue
            if not row:
                continue  # a blank line is no row
            if len(row) > width and not any(row[width:]):
                row = row[:width]  # spreadsheets leave empty fields at the end
            if len(row) == width:
                self.record += 1
                self.rows.append(row)
                records.append(self.record)
                numbers.append(before + start + 1)
                continue
            seen = f"{len(row)} of {width} fields"
            if first + reader.line_num - start == 1:
                reason = TOO_FEW_COLUMNS if len(row) < width else TOO_MANY_COLUMNS
                self._lose(before + start + 1, Problem(reason, None, seen), lines[start])
                continue
            self._lose(
                before + start + 1, Problem(UNTERMINATED_QUOTE, None, f"{seen} over several lines"), lines[start]
            )
            reader, first = self._read_from(lines, start + 1), start + 1

    def _read_from(self, lines: list[str], first: int) -> Any:
        """A CSV reader of the lines from `first` on; nothing is copied, however often one begins anew."""
        return csv.reader(map(lines.__getitem__, range(first, len(lines))), **self.dialect)

    def _lose(self, line: int, problem: Problem, text: str) -> None:
        self.record += 1
        self.broken.append(BrokenRow(line, problem, text.rstrip("\r\n")))


def _without_carriage_return(line: str) -> str:
    body = line.rstrip("\r\n")
    return body.replace("\r", " ") + line[len(body) :]


def _reason_of(message: str) -> str:
    return FIELD_TOO_LONG if "field limit" in message else STRAY_QUOTE


def _header_place(lines: Sequence[str], spec: FeedSpec) -> int:
    """How many lines come before the header: those to skip, and blank ones."""
    rest = lines[spec.skip_lines :]
    return spec.skip_lines + next((place for place, line in enumerate(rest) if line.strip(BLANK)), len(rest))


def _read_header(lines: list[str], spec: FeedSpec, name: str, dialect: dict[str, Any]) -> tuple[list[str], int, int]:
    """The columns' names, how many lines come before the header, and how many before the first row."""
    place = _header_place(lines, spec)
    reader = csv.reader(lines[place:], **dialect)
    try:
        first = next(reader, None)
    except csv.Error as error:
        raise FeedError(
            f"{name} line {place + 1}: the header cannot be taken apart",
            value=str(error),
            fix=f"correct `quote`, `escape` or `delimiter` in {spec.name}.yaml",
        ) from error
    if not first:
        raise FeedError(
            f"{name} has no header",
            value=f"{len(lines)} lines, none of them with text after the first {spec.skip_lines}",
            allowed="a header and rows",
            fix=f"deliver the file again, or correct `skip_lines` in {spec.name}.yaml",
        )
    return _names(first, spec), place, place + (reader.line_num if spec.header else 0)


def _names(first: list[str], spec: FeedSpec) -> list[str]:
    if not spec.header:
        return [str(number) for number in range(1, len(first) + 1)]
    return [name.replace(BYTE_ORDER_MARK, "").strip() for name in first]


def _fold(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _dialect(spec: FeedSpec, delimiter: str) -> dict[str, Any]:
    quoting = csv.QUOTE_MINIMAL if spec.quote else csv.QUOTE_NONE
    return {
        "delimiter": delimiter,
        "quotechar": spec.quote or None,
        "quoting": quoting,
        "doublequote": spec.escape is None,
        "escapechar": spec.escape,
        "strict": True,
    }
