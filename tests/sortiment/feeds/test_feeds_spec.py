"""Feed specs and the files they point at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from sortiment.errors import FeedError
from sortiment.feeds import FeedSpec, find_feed_files, list_feed_files, load_spec, parse_spec
from sortiment.feeds.files import file_format

GOOD: dict[str, Any] = {"path": "o.csv", "constants": {"country": "GB"}, "columns": {"title": "t"}}


def test_the_spec_of_the_design_page_is_read(tmp_path: Path) -> None:
    (tmp_path / "offers").mkdir()
    (tmp_path / "offers" / "1.csv.gz").write_bytes(b"x")
    (tmp_path / "toys.yaml").write_text(
        """
path: offers/*.csv.gz
format: csv            # csv | jsonl | parquet
delimiter: ";"
constants: {country: GB}
columns: {offer_id: uniq_id, title: product_name, brand: manufacturer, price: price, category: amazon_category}
category_separator: " > "
""",
        encoding="utf-8",
    )
    spec = load_spec(tmp_path / "toys.yaml")
    assert (spec.name, spec.delimiter, spec.columns["brand"]) == ("toys", ";", "manufacturer")
    assert spec.encoding == "utf-8"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": {"title": "t", "titel": "x"}},
            r"shop: columns: titel is not a column of the feed contract.*offer_id, country",
        ),
        ({"columns": {"brand": "b"}}, "title is not mapped"),
        ({"constants": {}}, "country is neither in columns nor in constants"),
        ({"constants": {"country": "GB", "colour": "red"}}, "constants: colour is not a column"),
        ({"constants": {"country": "GB", "title": "x"}}, "title differs from offer to offer"),
        ({"columns": {"title": ["a", "b"]}}, "title is a list; only category may be one"),
        ({"columns": {"title": ""}}, "title names an empty column"),
        ({"format": "xml"}, r"format: Input should be 'csv', 'jsonl' or 'parquet'.*seen: 'xml'"),
        ({"encoding": "utf-7000"}, "encoding: 'utf-7000' is no encoding.*seen: 'utf-7000'"),
        ({"key_share": [0.5, 0.5]}, r"key_share: the first edge.*seen: \[0.5, 0.5\]; allowed: two numbers"),
        ({"skip_lines": 5000}, "skip_lines: Input should be less than or equal to 1000; seen: 5000"),
        ({"encoding": "base64"}, "encoding: 'base64' is no encoding"),
        ({"encoding": "rot13"}, "encoding: 'rot13' is no encoding"),
        ({"encoding": "idna"}, "encoding: 'idna' is no encoding"),
        ({"delimiter": ";;"}, r"delimiter: .*seen: ';;'; allowed: one character"),
        ({"delimiter": "\\t"}, r"delimiter: .*a tab, which YAML writes"),
        ({"delimiter": "\n"}, r"delimiter, quote and escape are '\\n'.*none of them a line end"),
        ({"delimiter": '"'}, "three different characters"),
        ({"escape": '"'}, "a quote that is doubled within quotes needs no escape"),
        ({"columns": None}, "columns: .*allowed: a mapping of the contract's columns to the file's"),
        ({"null_values": "-"}, r'null_values: .*allowed: a list, such as \["", "n/a"\]'),
        ({"separator": ";"}, r"separator is not a field of a feed spec.*allowed: path, format"),
        ({"path": None}, "path"),
        ({"name": "x"}, "name is not given in the file"),
    ],
)
def test_a_wrong_spec_is_an_error_that_names_field_value_and_what_is_allowed(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeedError, match=message):
        parse_spec({**GOOD, **change}, "shop", Path())


def test_a_spec_without_a_path_is_an_error() -> None:
    with pytest.raises(FeedError, match="path is missing"):
        parse_spec({key: GOOD[key] for key in ("constants", "columns")}, "shop", Path())


@pytest.mark.parametrize("content", ["- a\n- b\n", "path: [unclosed\n", ""])
def test_a_spec_that_is_no_mapping_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "shop.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(FeedError, match="shop"):
        load_spec(tmp_path / "shop.yaml")


def test_a_spec_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="the feed spec is not there"):
        load_spec(tmp_path / "shop.yaml")


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"country": "Germany"}, "constants: country cannot be read; seen: 'Germany'; allowed: an ISO 3166-1"),
        ({"country": ["DE", "AT"]}, "constants: country cannot be read"),
        ({"country": None}, "constants: country cannot be read; seen: 'None'"),
        ({"country": "de", "currency": "Dollars"}, "constants: currency cannot be read; seen: 'Dollars'"),
        ({"country": "de", "price": "call us"}, "constants: price cannot be read"),
        ({"country": "de", "observed_at": "yesterday"}, "constants: observed_at cannot be read"),
        ({"country": "de", "withdrawn": "perhaps"}, "constants: withdrawn cannot be read"),
    ],
)
def test_a_constant_that_would_break_every_row_is_an_error_before_any_row_is_read(
    make_spec: Callable[..., FeedSpec], constants: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeedError, match=message):
        make_spec("o.csv", "id,title\n1,a\n", constants=constants)


def test_constants_are_read_as_cells_are(make_spec: Callable[..., FeedSpec]) -> None:
    constants = {
        "country": "uk",
        "currency": "€",
        "price": "1.299,00",
        "observed_at": "31.12.2025",
        "withdrawn": "nein",
    }
    assert make_spec("o.csv", "id,title\n1,a\n", constants=constants).constants == constants


@pytest.mark.parametrize("twice", ["path: a.csv\npath: b.csv\n", "columns: {title: a, offer_id: b, title: c}\n"])
def test_a_key_that_stands_twice_is_an_error(tmp_path: Path, twice: str) -> None:
    (tmp_path / "shop.yaml").write_text(twice, encoding="utf-8")
    with pytest.raises(FeedError, match=r"shop\.yaml cannot be read as YAML.*stands twice.*line"):
        load_spec(tmp_path / "shop.yaml")


def test_norway_is_a_country() -> None:
    # YAML 1.1 reads NO as False.
    assert parse_spec({**GOOD, "constants": {"country": False}}, "shop", Path()).constants["country"] == "NO"


@pytest.mark.parametrize("path", ["missing.csv", "*.csv", "empty"])
def test_a_path_that_matches_nothing_is_an_error(make_spec: Callable[..., FeedSpec], tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeedError, match="the path matches no file"):
        make_spec(path)


def test_folders_and_globs_list_feed_files_by_name(make_spec: Callable[..., FeedSpec], tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv.gz", "sub/c.tsv", "d.jsonl", "_SUCCESS", ".hidden.csv", "notes.md", "sub/.x.csv"):
        target = tmp_path / "feed" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(name.encode())
    names = [file.name for file in find_feed_files(make_spec("feed"))]
    assert names == ["feed/a.csv.gz", "feed/b.csv", "feed/d.jsonl", "feed/sub/c.tsv"]
    assert [file.name for file in find_feed_files(make_spec("feed", format="csv"))] == [names[0], names[1], names[3]]
    assert [file.name for file in find_feed_files(make_spec("feed/**/*.tsv"))] == ["feed/sub/c.tsv"]
    assert [file.name for file in find_feed_files(make_spec(str(tmp_path / "feed" / "*.csv")))] == ["feed/b.csv"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv"]),
        ("*", ["a.csv", "b.tsv"]),
        ("*/*.csv", ["day/c.csv"]),
        ("**/*.csv", ["a.csv", "day/c.csv", "day/hour/d.csv"]),
        ("d*/**/*.csv", ["day/c.csv", "day/hour/d.csv"]),
        ("day/hour/[a-d].???", ["day/hour/d.csv"]),
        ("_temporary/*/*.csv", ["_temporary/0/e.csv"]),
        ("*/_part.csv", ["day/_part.csv"]),
    ],
)
def test_a_glob_means_the_same_on_a_disk_and_in_a_store(tmp_path: Path, pattern: str, found: list[str]) -> None:
    hidden = ["_SUCCESS", ".f.csv", "_temporary/0/e.csv", "day/_part.csv", "day/.old/g.csv"]
    for name in ["a.csv", "b.tsv", "day/c.csv", "day/hour/d.csv", *hidden]:
        (tmp_path / "offers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "offers" / name).write_bytes(b"id,title\n")
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())

    def uris(path: str) -> list[str]:
        return sorted(file.uri for file in find_feed_files(parse_spec({**GOOD, "path": path}, "shop", tmp_path), store))

    assert uris(f"offers/{pattern}") == [str(tmp_path / "offers" / name) for name in found]
    assert uris(str(tmp_path / "offers" / pattern)) == [str(tmp_path / "offers" / name) for name in found]
    assert uris(f"s3://offers/{pattern}") == [f"s3://offers/{name}" for name in found]


def test_a_file_is_known_by_its_bytes(make_spec: Callable[..., FeedSpec]) -> None:
    (file,) = list_feed_files(make_spec("o.csv", b"abc"))
    assert file.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file.bytes == 3


def test_a_name_without_a_known_extension_needs_a_format(make_spec: Callable[..., FeedSpec]) -> None:
    spec = make_spec("offers.dat", b"x")
    with pytest.raises(FeedError, match="the extension does not tell the format"):
        file_format(spec, "offers.dat")
    assert file_format(make_spec("offers.dat", format="csv"), "offers.dat") == "csv"


def test_remote_paths_are_listed_through_the_file_system_of_the_caller(tmp_path: Path) -> None:
    for name in ("day1/b.csv", "day1/a.csv.gz", "day2/c.csv", "day2/readme.md"):
        target = tmp_path / "bucket" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"id,title\n")
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())

    def names(path: str) -> list[str]:
        return [file.uri for file in list_feed_files(parse_spec({**GOOD, "path": path}, "shop", Path()), store)]

    assert names("s3://bucket/day1/b.csv") == ["s3://bucket/day1/b.csv"]
    assert names("s3://bucket/day*/*.csv") == ["s3://bucket/day1/b.csv", "s3://bucket/day2/c.csv"]
    assert len(names("s3://bucket")) == 3
    with pytest.raises(FeedError, match="matches no file"):
        names("s3://bucket/day3/")
    with pytest.raises(FeedError, match="needs a file system"):
        list_feed_files(parse_spec({**GOOD, "path": "s3://bucket/day1"}, "shop", Path()))
