"""CSV files as shops deliver them."""

import gzip
import unicodedata
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from sortiment.errors import FeedError
from sortiment.feeds import lines
from sortiment.feeds.delimited import _Splitter
from sortiment.settings import FeedSettings

Load = Callable[..., Any]  # conftest.py, `load`
DIALECT = {"delimiter": ",", "quotechar": '"', "strict": True}


def titles(loaded: Any) -> list[str]:
    return [row["title"] for row in loaded.offers]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "~"])
def test_the_delimiter_is_found_by_the_mapped_columns(load: Load, delimiter: str) -> None:
    header = delimiter.join(["id", "price, EUR; gross", "title"])
    row = delimiter.join(["1", "2", "a; b, c | d"]) if delimiter in "\t~" else delimiter.join(["1", "2", "a b"])
    quoted = header.replace("price, EUR; gross", '"price, EUR; gross"')
    assert len(load("o.csv", f"{quoted}\n{row}\n").offers) == 1


def test_a_delimiter_in_the_spec_wins(load: Load) -> None:
    assert titles(load("o.csv", "id:title\n1:a,b\n", delimiter=":")) == ["a,b"]


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("latin-1", "latin-1"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-8", "utf-16"),
    ],
)
def test_encodings_are_read_and_a_byte_order_mark_wins(load: Load, encoding: str, written: str) -> None:
    loaded = load("o.csv", "id;title\n1;Kühlschrank für Äpfel\n".encode(written), encoding=encoding)
    assert titles(loaded) == ["Kühlschrank für Äpfel"]
    assert not loaded.quarantine


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_a_line_end(load: Load, end: str) -> None:
    loaded = load("o.csv", end.join(["id,title", "1,a", "2,", "3,c"]))
    assert titles(loaded) == ["a", "c"]
    assert loaded.broken == [(3, "missing_title")]


def test_headers_match_but_for_case_and_spaces(load: Load) -> None:
    assert titles(
        load("o.csv", " ID , Product  Title\n1,a\n", columns={"offer_id": "id", "title": "product title"})
    ) == ["a"]


def test_a_column_that_is_not_there_is_an_error_that_shows_the_header(load: Load) -> None:
    with pytest.raises(
        FeedError, match=r"o\.csv line 1: the column 'titel', mapped to title, is not in the header"
    ) as caught:
        load("o.csv", "id;title\n1;a\n", columns={"offer_id": "id", "title": "titel"})
    assert caught.value.value == ["id", "title"]


def test_headers_match_however_their_letters_are_composed(load: Load) -> None:
    header = unicodedata.normalize("NFD", "id;Größe\u00a0lang\n")
    assert titles(load("o.csv", f"{header}1;a\n", columns={"offer_id": "id", "title": "Größe lang"})) == ["a"]


@pytest.mark.parametrize(
    ("content", "fields", "advice"),
    [
        ("id;titel\n1;a\n", {}, "is it 'titel'"),
        ("1;Tisch\n2;Stuhl\n", {}, "`header: false` where the file has none"),
        ("1;Tisch\n2;Stuhl\n", {"header": False}, "with `header: false` they are named by number, from 1"),
        ("sep=;\nid;title\n1;a\n", {}, "`skip_lines`"),
    ],
)
def test_the_error_about_a_missing_column_says_what_else_may_be_wrong(
    load: Load, content: str, fields: dict[str, Any], advice: str
) -> None:
    with pytest.raises(FeedError, match="is not in the header") as caught:
        load("o.csv", content, **fields)
    assert advice in (caught.value.fix or "")


@pytest.mark.parametrize("blank", ["\n\n", " \r\n", "\ufeff\n\t\n"])
def test_blank_lines_before_the_header_are_passed_over(load: Load, blank: str) -> None:
    loaded = load("o.csv", f"{blank}id;title\n1;a\n2;\n")
    assert titles(loaded) == ["a"]
    assert loaded.broken == [(blank.count("\n") + 3, "missing_title")]


@pytest.mark.parametrize(
    ("content", "fields"), [("\n\n\n", {}), ("\ufeff", {}), ("id,title\n1,a\n", {"skip_lines": 9})]
)
def test_a_file_of_nothing_but_blank_lines_is_an_error_that_says_what_to_do(
    load: Load, content: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(FeedError, match=r"o\.csv has no header.*skip_lines"):
        load("o.csv", content, **fields)


def test_utf_16_without_a_byte_order_mark_must_say_its_order(load: Load) -> None:
    with pytest.raises(FeedError, match=r"o\.csv line 1: this is not text in utf-16.*utf-16-le or utf-16-be"):
        load("o.csv", "id;title\n1;a\n".encode("utf-16-le"), encoding="utf-16")


def test_only_line_ends_end_a_header(load: Load) -> None:
    content = "first\x0cline\nid;si\u2028ze;title\n1;L;a\n"
    assert titles(load("o.csv", content, skip_lines=1)) == ["a"]


def test_a_mapped_column_that_stands_twice_is_an_error(load: Load) -> None:
    with pytest.raises(FeedError, match="stands 2 times in the header"):
        load("o.csv", "id,title,title\n1,a,b\n")


def test_columns_that_are_not_mapped_may_repeat_or_be_empty(load: Load) -> None:
    assert titles(load("o.csv", "id,title,x,x,\n1,a,,,\n")) == ["a"]


def test_empty_fields_beyond_the_header_do_no_harm(load: Load) -> None:
    loaded = load("o.csv", "id,title\n1,a,,\n2,b,,x\n3,c\n")
    assert titles(loaded) == ["a", "c"]
    assert loaded.broken == [(3, "too_many_columns")]


def test_a_quoted_line_break_is_part_of_its_field_and_lines_stay_physical(load: Load) -> None:
    loaded = load("o.csv", 'id,title\n1,"two\nlines"\n\n2,\n3,"x, ""y"""\n')
    assert titles(loaded) == ["two lines", 'x, "y"']
    assert loaded.broken == [(5, "missing_title")]
    assert [row["source_row"] for row in loaded.offers] == [1, 3]


def test_an_open_quote_costs_its_own_line_only(load: Load) -> None:
    rows = [f"{number},title {number}" for number in range(1, 50)]
    rows[9] = '10,"open'
    rows[30] = '31,"stray" quote'
    loaded = load("o.csv", "\n".join(["id,title", *rows]))
    assert loaded.broken == [(11, "unterminated_quote"), (32, "stray_quote")]
    assert len(loaded.offers) == 47
    assert loaded.quarantine[0]["row"] == '10,"open'


def test_an_open_quote_in_the_last_line_costs_that_line(load: Load) -> None:
    loaded = load("o.csv", 'id,title\n1,a\n2,"open\n3,c')
    assert loaded.broken == [(3, "unterminated_quote")]
    assert titles(loaded) == ["a", "c"]


def test_without_quoting_a_quote_is_a_character(load: Load) -> None:
    assert titles(load("o.tsv", 'id\ttitle\n1\t"19 inch\n2\tb\n', quote="")) == ['"19 inch', "b"]


def test_a_backslash_escapes_where_the_spec_says_so(load: Load) -> None:
    assert titles(load("o.csv", 'id,title\n1,"a \\"b\\" c"\n', escape="\\")) == ['a "b" c']


def test_a_file_without_a_header_is_mapped_by_number(load: Load) -> None:
    assert titles(load("o.csv", "1,x,a\n2,x,b\n", header=False, columns={"offer_id": 1, "title": 3})) == ["a", "b"]


def test_lines_before_the_header_can_be_skipped(load: Load) -> None:
    loaded = load("o.csv", "export of today\n\nid,title\n1,a\n2,\n", skip_lines=2)
    assert titles(loaded) == ["a"]
    assert loaded.broken == [(5, "missing_title")]


def test_a_carriage_return_within_a_line_is_white_space(load: Load) -> None:
    assert titles(load("o.csv", "id,title\n1,a\rb\n2,c\n")) == ["a b", "c"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_carriage_return_on_a_later_line_of_a_row_is_white_space(load: Load, end: str) -> None:
    rows = ["id,title,a,b,c", '1,"two', 'lines",1\r2,,', '2,"a', 'b\rc",1\r2,"d', 'e",3\r4\r5', "3,f,6,7,8", "4,g"]
    loaded = load("o.csv", end.join(rows) + end)
    assert titles(loaded) == ["two lines", "a b c", "f"]
    assert loaded.broken == [(8, "too_few_columns")]


@pytest.mark.parametrize(("row", "lost"), [("1,a\rb\n", 0), ('1,"open\n', 40_000)])
def test_a_file_that_is_broken_in_every_line_is_read_to_its_end(row: str, lost: int) -> None:
    splitter = _Splitter(2, DIALECT)  # minutes, where each mended line copies those that follow
    assert splitter._split_carefully(lines.split_lines(row * 40_000), 1, True) == []
    assert (len(splitter.rows), len(splitter.broken)) == (40_000 - lost, lost)


def test_a_header_without_rows_is_a_feed_without_offers(load: Load) -> None:
    loaded = load("o.csv", "id,title\n", settings=FeedSettings())
    assert (loaded.report.rows_read, loaded.offers, loaded.quarantine) == (0, [], [])


def test_a_file_read_in_small_blocks_gives_the_same(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    # The sizes of blocks are constants of the module, not code under test.
    monkeypatch.setattr(lines, "FIRST_BYTES", 7)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 7)
    loaded = load("o.csv", 'id,title\n1,"two\nlong\nlines"\n2,b\n3,"open\n4,d\n5,\n')
    assert titles(loaded) == ["two long lines", "b", "d"]
    assert loaded.broken == [(6, "unterminated_quote"), (8, "missing_title")]


@pytest.mark.parametrize("beside", ["3,c", '3,27" c'])
def test_the_text_of_a_broken_row_does_not_tell_which_lines_stand_near_it(load: Load, beside: str) -> None:
    loaded = load("o.csv", f'id,title,b\n,"a ""x"", y",1\n{beside},2\n')
    assert [row["row"] for row in loaded.quarantine if row["line"] == 2] == [',a "x", y,1']


def test_careful_and_plain_splitting_agree() -> None:
    rows = [f"{number},t\n" for number in range(100)]
    plain, careful = _Splitter(2, DIALECT), _Splitter(2, DIALECT)
    assert plain._split_whole(rows, 1)
    assert careful._split_carefully(rows, 1, True) == []
    assert plain.rows == careful.rows
    assert list(plain.numbers) == list(careful.numbers)
    assert list(plain.records) == list(careful.records)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.csv", b"", "o.csv is empty"),
        ("o.csv", b"\n\n\n", "has no header"),
        ("o.csv", b"PK\x03\x04rest", "zip archive or an Excel workbook, not text"),
        ("o.csv", bytes(range(256)) * 20, "not text in utf-8"),
        ("o.csv", "id,title\n1,a\n".encode("utf-16-le"), "not text in utf-8"),
        ("o.csv.gz", gzip.compress(b"id,title\n" + b"1,a\n" * 100_000)[:-200], "cut off or damaged"),
        ("o.csv.gz", gzip.compress(b"id,title\n1,a\n")[:-9] + b"000000000", "cut off or damaged"),
        ("o.csv.zst", pa.compress(b"id,title\n" + b"1,abcdef\n" * 9, "zstd", asbytes=True)[:-4], "cut off or damaged"),
        ("o.csv", b"<html><body>404 Not Found</body></html>", "is not in the header"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    load: Load, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(FeedError, match=message) as caught:
        load(name, content)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"), [("o.csv.gz", "gzip"), ("o.csv.zst", "zstd"), ("o.csv.bz2", "bz2"), ("o.csv", "gzip")]
)
def test_compressed_files_are_read_by_what_they_are(load: Load, name: str, kind: str) -> None:
    content = b"id,title\n1,a\n2,b\n"
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as stream:
        stream.write(content)
    assert titles(load(name, sink.getvalue().to_pybytes())) == ["a", "b"]


def test_gzip_members_after_each_other_are_one_file(load: Load) -> None:
    assert titles(load("o.csv.gz", gzip.compress(b"id,title\n1,a\n") + gzip.compress(b"2,b\n"))) == ["a", "b"]


def test_a_line_without_an_end_is_an_error(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FIRST_BYTES", 100)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    monkeypatch.setattr(lines, "LINE_MAX_CHARS", 1000)
    with pytest.raises(FeedError, match="line 1 does not end"):
        load("o.csv", "id,title," + "x" * 5000 + "\n")
