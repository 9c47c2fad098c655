"""Rows that Arrow takes apart are those that Python's strict CSV reader gives, whatever the text."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sortiment.feeds import lines
from sortiment.feeds.parsing import RowParser
from sortiment.feeds.plain_rows import take_plain_apart
from sortiment.feeds.raw import BATCH_BYTES, BATCH_ROWS, BrokenRow, Problem, RawBatch, gather, make_batch
from sortiment.feeds.values import parse_price

CELLS = ["a", "", "b c", " ", "ü€", "\U0001f6f0", "'", "\\", "#"]
CELLS += ['"q"', '"a;b"', '"a ""b"" c"', '""', '27" wide', '"a"b']
ENDS = ["\n", "\r\n"]


def dialect(quote: str | None = '"', escape: str | None = None) -> dict[str, Any]:
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    return {
        "delimiter": ";",
        "quotechar": quote,
        "quoting": quoting,
        "doublequote": escape is None,
        "escapechar": escape,
        "strict": True,
    }


def read_strictly(text: str, reads: dict[str, Any]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), **reads))


rows = st.lists(
    st.tuples(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3), st.sampled_from(ENDS)), min_size=1, max_size=6
)
texts = rows.map(lambda drawn: "".join(";".join(cells) + end for cells, end in drawn)) | st.text(
    'ab;" \n\r\ufeff\0\ud800', max_size=20
)


@given(texts, st.integers(1, 3), st.sampled_from(['"', None]))
@settings(max_examples=1_500, deadline=None)
def test_what_is_taken_for_plain_is_what_the_strict_reader_reads(text: str, width: int, quote: str | None) -> None:
    plain = take_plain_apart(text, width, list(range(width)), dialect(quote))
    if plain is None:
        return
    strict = read_strictly(text, dialect(quote))
    assert [list(row) for row in zip(*(column.to_pylist() for column in plain.columns), strict=True)] == strict
    physical = lines.split_lines(text)
    assert [plain.text(row) for row in range(len(plain))] == [line.rstrip("\r\n") for line in physical]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1;a\n2;b\n", True),
        ("1;a\r\n2;b", True),
        ('1;"a;b"\n"2";"b ""c"""\n', True),
        ('1;27" wide\n', False),
        ('1;27" x 15"\n', False),
        ('1;"a\nb"\n', False),
        ("1;a\n\n2;b\n", False),
        ("1;a;c\n2;b;d\n", False),
        ("1;a\n2\n", False),
        ("1;a\rb\n", False),
        ("1;a\0\n", False),
        ("1;a\udcff\n", False),
        ("\ufeff1;a\n", False),
        ("1;" + "a" * csv.field_size_limit() + "\n", False),
        ("", False),
    ],
)
def test_only_what_needs_no_care_is_plain(text: str, plain: bool) -> None:
    found = take_plain_apart(text, 2, [1, 0, 1], dialect())
    assert (found is not None) == plain
    if found is not None:
        expected = read_strictly(text, dialect())
        assert found.columns[0].to_pylist() == found.columns[2].to_pylist() == [row[1] for row in expected]
        assert found.columns[1].to_pylist() == [row[0] for row in expected]


def test_escapes_and_signs_beyond_ascii_need_care() -> None:
    assert take_plain_apart("1;a\n", 2, [0], dialect(escape="\\")) is None
    assert take_plain_apart("1;a\n", 2, [0], {**dialect(), "delimiter": "§"}) is None


def test_small_batches_are_gathered_into_large_ones_that_still_know_their_rows() -> None:
    def make(first: int, broken: int) -> RawBatch:
        numbers = range(first, first + 3)
        cells: dict[str, list[str | None]] = {"title": [f"t{number}" if number % 2 else "\0" for number in numbers]}
        lost = [BrokenRow(first + number, Problem("too_few_columns", None, None), "x") for number in range(broken)]
        return make_batch(cells, numbers, [10 * number for number in numbers], lost, lambda row: f"row {first + row}")

    one, two = gather([make(1, 0), make(4, BATCH_ROWS), make(7, 1)])
    assert (len(one), len(one.broken), len(two), len(two.broken)) == (6, BATCH_ROWS, 3, 1)
    assert one.columns["title"].to_pylist() == ["t1", "\0", "t3", "\0", "t5", "\0"]
    assert sorted(one.problems) == [1, 3, 5]
    assert [one.row_text(row) for row in range(6)] == [f"row {row}" for row in range(1, 7)]
    assert (one.records.tolist(), two.lines.tolist()) == ([1, 2, 3, 4, 5, 6], [70, 80, 90])


def test_batches_of_long_rows_are_not_gathered_until_they_fill_the_memory() -> None:
    def read() -> Iterator[RawBatch]:
        for number in range(1, 401):
            yield make_batch({"title": ["x" * 2**20]}, [number], [number], [], str)

    sizes = [sum(column.nbytes for column in batch.columns.values()) for batch in gather(read())]
    assert max(sizes) <= 2 * BATCH_BYTES
    unmapped = gather(make_batch({"title": ["x"]}, [number], [number], [], str) for number in range(1, 401))
    assert max(len(batch) for batch in unmapped) * lines.BLOCK_BYTES <= BATCH_BYTES


prices = st.from_regex(r"[0-9]{1,17}([.,][0-9]{0,4})?", fullmatch=True) | st.sampled_from(
    ["1.299", "1,299", "12,50", "0.1", "1e3", "EUR 5", "-1", ".5", "007.10", "", "x", "1.2.3"]
)


@given(st.lists(prices, max_size=20), st.sampled_from([None, ".", ","]))
def test_prices_are_read_as_one_by_one(texts: list[str], decimal: str | None) -> None:
    class Spec:
        decimal_separator = decimal

    parser = RowParser.__new__(RowParser)
    parser.spec = Spec()  # type: ignore[assignment]
    found = parser._prices(pa.array([None, *texts], pa.string())).to_pylist()
    assert found == [None, *(parse_price(text, decimal) for text in texts)]
