"""What every format is read into: batches of text columns that still know where each row stood in its file."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sortiment.feeds.lines import BLOCK_BYTES
from sortiment.feeds.reasons import BAD_ENCODING, NUL_BYTE

BATCH_ROWS = 50_000
BATCH_BYTES = 2**25  # several copies of them are in memory at once
VALUE_MAX_CHARS = 200
ROW_MAX_CHARS = 2_000
REPLACEMENT = "\ufffd"

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """Why a row is broken, in which column, and what stands there."""

    reason: str
    column: str | None
    value: str | None


@dataclass(frozen=True)
class BrokenRow:
    """One row of quarantine. `line` is the physical line where the row starts (the row number in Parquet)."""

    line: int
    problem: Problem
    row: str


@dataclass(frozen=True)
class RawBatch:
    """Consecutive rows of a file.

    columns: text by the spec's names for them (`title`, `category.1`, ...), all of one length.
    records, lines: each row's number among the file's rows, broken ones included, and its physical line; from 1.
    problems: rows, by position in the batch, whose bytes are no text.
    broken: rows that could not be taken apart; they are in no column.
    row_text: the row at a position as the file has it, for quarantine.
    """

    columns: dict[str, pa.Array]
    records: Numbers
    lines: Numbers
    problems: dict[int, Problem]
    broken: list[BrokenRow]
    row_text: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.records)

    def filled(self, names: Iterable[str]) -> set[str]:
        """Those of the contract's columns in which some row has a value."""
        return {
            name
            for name in names
            for column, values in self.columns.items()
            if column.partition(".")[0] == name and pc.any(pc.not_equal(values, "")).as_py()
        }


def make_batch(
    cells: dict[str, list[str | None]],
    records: Sequence[int],
    lines: Sequence[int],
    broken: list[BrokenRow],
    row_text: Callable[[int], str],
    replaced: bool = False,
) -> RawBatch:
    """A batch from lists of cells. Undecodable bytes are lone surrogates in them, or U+FFFD where `replaced`."""
    problems: dict[int, Problem] = {}
    columns = {name: _text_column(name, values, replaced, problems) for name, values in cells.items()}
    return RawBatch(
        columns, np.asarray(records, dtype=np.int64), np.asarray(lines, dtype=np.int64), problems, broken, row_text
    )


def gather(batches: Iterable[RawBatch]) -> Iterator[RawBatch]:
    """The same rows in batches of about BATCH_ROWS, or BATCH_BYTES of long ones: what follows has a cost per batch."""
    waiting: list[RawBatch] = []
    rows = held = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch) + len(batch.broken)
        held += _bytes_of(batch)
        if rows >= BATCH_ROWS or held >= BATCH_BYTES:
            yield _join(waiting)
            waiting, rows, held = [], 0, 0
    if waiting:
        yield _join(waiting)


def _bytes_of(batch: RawBatch) -> int:
    """About. Of a block that was read its rows' text stays, too, with columns that nobody mapped."""
    return max(BLOCK_BYTES, sum(int(column.nbytes) for column in batch.columns.values()))


def _join(batches: Sequence[RawBatch]) -> RawBatch:
    if len(batches) == 1:
        return batches[0]
    firsts = [0, *accumulate(len(batch) for batch in batches)]

    def row_text(position: int) -> str:
        place = bisect_right(firsts, position) - 1
        return batches[place].row_text(position - firsts[place])

    names = batches[0].columns
    return RawBatch(
        columns={name: pa.concat_arrays([batch.columns[name] for batch in batches]) for name in names},
        records=np.concatenate([batch.records for batch in batches]),
        lines=np.concatenate([batch.lines for batch in batches]),
        problems={
            first + position: problem
            for first, batch in zip(firsts, batches, strict=False)
            for position, problem in batch.problems.items()
        },
        broken=[row for batch in batches for row in batch.broken],
        row_text=row_text,
    )


def printable(text: str, limit: int) -> str:
    """Text that every storage takes, cut to `limit` characters: undecodable bytes and NUL as \\xNN."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    # A lone surrogate from `surrogateescape` is U+DC00 plus the byte.
    shown = "".join(
        f"\\x{ord(char) - 0xDC00:02x}" if 0xDC80 <= ord(char) <= 0xDCFF else "\\x00" if char == "\0" else char
        for char in cut
    )
    return shown.encode("utf-8", "backslashreplace").decode()


def _text_column(name: str, values: list[str | None], replaced: bool, problems: dict[int, Problem]) -> pa.Array:
    try:
        column = pa.array(values, pa.string())
    except UnicodeEncodeError:
        clean: list[str | None] = []
        for position, value in enumerate(values):
            good = value is None or _is_text(value)
            if not good:
                problems.setdefault(position, Problem(BAD_ENCODING, name, value))
            clean.append(value if good else None)
        column = pa.array(clean, pa.string())
    _mark(column, "\0", NUL_BYTE, name, problems)
    if replaced:
        _mark(column, REPLACEMENT, BAD_ENCODING, name, problems)
    return column


def _mark(column: pa.Array, character: str, reason: str, name: str, problems: dict[int, Problem]) -> None:
    hits = pc.match_substring(column, character)
    if pc.any(hits).as_py():
        for position in pc.indices_nonzero(pc.fill_null(hits, False)).to_pylist():
            problems.setdefault(position, Problem(reason, name, column[position].as_py()))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
