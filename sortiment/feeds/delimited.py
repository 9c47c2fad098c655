"""CSV as shops write it: any delimiter, quoted line breaks, ragged rows, stray quotes.

Python's `csv` takes the rows apart (700,000 a second on one core), since it knows the physical line of each; DuckDB's
reader knows it only of rows that it rejects. A quote that is not closed would swallow all rows up to the next quote:
here only the line where it opens is lost, the lines after it are read again.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from sortiment.errors import FeedError
from sortiment.feeds.lines import Lines, TextHead
from sortiment.feeds.raw import BATCH_CHARS, BATCH_ROWS, BrokenRow, Problem, RawBatch, make_batch
from sortiment.feeds.reasons import FIELD_TOO_LONG, STRAY_QUOTE, TOO_FEW_COLUMNS, TOO_MANY_COLUMNS, UNTERMINATED_QUOTE
from sortiment.feeds.spec import FeedSpec

DELIMITERS = (",", ";", "\t", "|", "~", "^", "\x01")
TITLE_OF_BOM = "\ufeff"


def read_delimited(stream: BinaryIO, head: TextHead, spec: FeedSpec, name: str) -> Iterator[RawBatch]:
    """All rows of a CSV file. Raises FeedError where the header lacks a mapped column or the file cannot be read."""
    delimiter = spec.delimiter or detect_delimiter(head.text, spec)
    lines = Lines(stream, head, name)
    reader = csv.reader(lines, **_dialect(spec, delimiter))
    for _ in range(spec.skip_lines):
        next(lines, None)
    lines.taken.clear()
    header = _read_header(reader, lines, spec, name)
    indexes = match_columns(header, spec, f"{name} line {spec.skip_lines + 1}", delimiter)
    table = _Table(lines, reader, len(header), delimiter)
    while table.fill():
        cells: dict[str, list[str | None]] = {
            column: [row[index] for row in table.rows] for column, index in indexes.items()
        }
        rows = table.rows
        yield make_batch(
            cells,
            table.records,
            table.numbers,
            table.broken,
            lambda position, rows=rows: delimiter.join(rows[position]),  # type: ignore[misc]
            head.replaced,
        )


def detect_delimiter(head: str, spec: FeedSpec) -> str:
    """The delimiter under which most mapped columns are in the header; among equals, the one that gives most columns."""
    lines = head.splitlines(keepends=True)[spec.skip_lines :]

    def score(delimiter: str) -> tuple[int, int]:
        try:
            header = next(csv.reader(iter(lines), **_dialect(spec, delimiter)), [])
        except csv.Error:
            return 0, 0
        names = _names(header, spec)
        folded = {_fold(name) for name in names}
        return sum(_fold(column) in folded for column in spec.file_columns.values()), len(header)

    return max(DELIMITERS, key=score)


def match_columns(header: Sequence[str], spec: FeedSpec, where: str, delimiter: str | None = None) -> dict[str, int]:
    """Index of each mapped column. Names match exactly or, where that finds none, but for case and white space."""
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
                fix=f"correct `columns`, `delimiter` or `encoding` in {spec.name}.yaml",
            )
        found[column] = hits[0]
    return found


class _Table:
    """Rows of the next batch, and what of it is broken."""

    def __init__(self, lines: Lines, reader: Iterator[list[str]], width: int, delimiter: str) -> None:
        self.lines, self.reader, self.width, self.delimiter = lines, reader, width, delimiter
        self.record = 0
        self.rows: list[list[str]] = []
        self.records: list[int] = []
        self.numbers: list[int] = []
        self.broken: list[BrokenRow] = []

    def fill(self) -> bool:
        """Read up to a batch; False where the file ended before."""
        self.rows, self.records, self.numbers, self.broken = [], [], [], []
        lines, width = self.lines, self.width
        lines.chars = 0
        while len(self.rows) + len(self.broken) < BATCH_ROWS and lines.chars < BATCH_CHARS:
            lines.taken.clear()
            line = lines.number + 1
            try:
                row = next(self.reader)
            except StopIteration:
                break
            except csv.Error as error:
                self._recover(line, str(error))
                continue
            if not row:
                continue  # a blank line is no row
            if len(row) != width:
                row = self._trim(row)
                if len(row) != width:
                    self._quarantine_ragged(line, row)
                    continue
            self.record += 1
            self.rows.append(row)
            self.records.append(self.record)
            self.numbers.append(line)
        return bool(self.rows or self.broken)

    def _trim(self, row: list[str]) -> list[str]:
        """Without empty fields beyond the header's width: spreadsheets leave them."""
        return row[: self.width] if len(row) > self.width and not any(row[self.width :]) else row

    def _quarantine_ragged(self, line: int, row: list[str]) -> None:
        if len(self.lines.taken) > 1:
            self._lose_first_line(line, UNTERMINATED_QUOTE, f"{len(row)} of {self.width} fields over several lines")
            return
        reason = TOO_FEW_COLUMNS if len(row) < self.width else TOO_MANY_COLUMNS
        self._lose_first_line(line, reason, f"{len(row)} of {self.width} fields")

    def _recover(self, line: int, message: str) -> None:
        """After a row that `csv` refuses. Its lines beyond the first may be rows of their own."""
        if "new-line character" in message:
            # A carriage return within a line that ends otherwise: a control character, not the end of a row.
            first = self.lines.taken[0]
            self.lines.give_back(0)
            body = first.rstrip("\r\n")
            self.lines.returned[0] = body.replace("\r", " ") + first[len(body) :]
            return
        several = len(self.lines.taken) > 1 or "unexpected end of data" in message
        reason = UNTERMINATED_QUOTE if several else FIELD_TOO_LONG if "field limit" in message else STRAY_QUOTE
        self._lose_first_line(line, reason, message)

    def _lose_first_line(self, line: int, reason: str, value: str) -> None:
        text = self.lines.taken[0].rstrip("\r\n")
        self.lines.give_back(1)
        self.record += 1
        self.broken.append(BrokenRow(line, Problem(reason, None, value), text))


def _read_header(reader: Iterator[list[str]], lines: Lines, spec: FeedSpec, name: str) -> list[str]:
    try:
        first = next(reader, None)
    except csv.Error as error:
        raise FeedError(
            f"{name} line {spec.skip_lines + 1}: the header cannot be taken apart",
            value=str(error),
            fix=f"correct `quote`, `escape` or `delimiter` in {spec.name}.yaml",
        ) from error
    if first is None:
        raise FeedError(f"{name} has no header", value=f"{lines.number} lines", allowed="a header and rows")
    if not spec.header:
        lines.give_back(0)
    return _names(first, spec)


def _names(first: list[str], spec: FeedSpec) -> list[str]:
    if not spec.header:
        return [str(number) for number in range(1, len(first) + 1)]
    return [name.replace(TITLE_OF_BOM, "").strip() for name in first]


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())


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
