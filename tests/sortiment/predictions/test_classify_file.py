"""What `sortiment classify IN OUT` promises for anybody's file."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.errors import FeedError, StorageError
from sortiment.predictions import FileReport, classify_file
from sortiment.settings import PredictionSettings

Run = Callable[..., tuple[FileReport, list[dict[str, Any]]]]


@pytest.fixture
def run(engine: Any, taxonomy: Path, tmp_path: Path) -> Run:
    """Writes the file, classifies it, returns the report and the rows."""

    def classify(name: str, content: bytes, **options: Any) -> tuple[FileReport, list[dict[str, Any]]]:
        source, target = tmp_path / name, tmp_path / "out.parquet"
        source.write_bytes(content)
        report = classify_file(
            engine,
            source,
            target,
            taxonomy=taxonomy,
            model_version="m1",
            settings=PredictionSettings(),
            **options,
        )
        return report, pq.read_table(target).to_pylist()

    return classify


def test_a_csv_with_its_own_header_is_classified_row_by_row(run: Run) -> None:
    report, rows = run("shop.csv", b"sku;Product Name;price\n7;wine red;3,50\n8;toys car;9,99\n")
    assert [(row["row"], row["offer_id"], row["title"], row["category_id"]) for row in rows] == [
        (1, "7", "wine red", "wine"),
        (2, "8", "toys car", "toys"),
    ]
    assert rows[0]["path"] == ["Food", "Drinks", "Wine"] and rows[0]["model_version"] == "m1"
    assert report.columns == {"title": "Product Name", "offer_id": "sku"}
    assert (report.rows, report.classified, report.not_classified, report.delimiter) == (2, 2, 0, ";")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"title,id\nwine red,1\n"),
        ("a.tsv", b"title\tid\nwine red\t1\n"),
        ("a.csv", b"id|title\n1|wine red\n"),
        ("a.csv", "\ufefftitle,id\nwine red,1\n".encode()),
        ("a.csv", "title;id\nwine red;1\n".encode("utf-16")),
        ("a.csv", "título;id\nwine red;1\n".encode("cp1252")),
        ("a.csv.gz", gzip.compress(b"title,id\nwine red,1\n")),
        ("a.jsonl", json.dumps({"name": "wine red", "id": 1}).encode()),
    ],
)
def test_any_delimiter_encoding_format_and_compression(run: Run, name: str, content: bytes) -> None:
    _, rows = run(name, content)
    assert [(row["title"], row["offer_id"], row["category_id"]) for row in rows] == [("wine red", "1", "wine")]


def test_parquet_is_read_too(run: Run, tmp_path: Path) -> None:
    pq.write_table(pa.table({"titel": ["toys bär", None], "land": ["AT", "DE"]}), tmp_path / "in.parquet")
    report, rows = run("in.parquet", (tmp_path / "in.parquet").read_bytes())
    assert [(row["country"], row["category_id"], row["problem"]) for row in rows] == [
        ("AT", "toys", None),
        ("DE", None, "missing_title"),
    ]
    assert report.problems == {"missing_title": 1}


def test_rows_without_a_title_and_broken_rows_keep_their_place(run: Run) -> None:
    content = b"id,title\n1,wine red\n2,\n3,toys car,too,many\n4, <b></b> \n5,NULL\n6,toys <b>bear</b>\n7,phones \xff\n"
    report, rows = run("bad.csv", content, encoding="utf-8")
    assert [(row["row"], row["category_id"], row["problem"]) for row in rows] == [
        (1, "wine", None),
        (2, None, "missing_title"),
        (3, None, "too_many_columns"),
        (4, None, "missing_title"),
        (5, None, "missing_title"),
        (6, "toys", None),
        (7, None, "bad_encoding"),
    ]
    assert rows[5]["title"] == "toys bear"
    assert all(row["review"] for row in rows if row["category_id"] is None)
    assert (report.rows, report.classified, report.not_classified, report.review) == (7, 2, 5, 0)


def test_unsure_answers_are_flagged_for_review(run: Run) -> None:
    report, rows = run("a.csv", b"title\nsomething\nwine\n")
    assert [row["review"] for row in rows] == [True, False]
    assert report.review == 1


def test_a_country_for_all_rows_or_a_column_of_them_picks_the_calibration(run: Run, engine: Any) -> None:
    run("a.csv", b"title,market\nwine,de\ntoys,\n")
    run("a.csv", b"title,market\nwine,de\ntoys,\n", country="ES")
    assert sorted(engine.asked) == [("toys", ""), ("toys", "ES"), ("wine", "DE"), ("wine", "ES")]


def test_a_header_without_a_title_is_an_error_that_shows_it(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no column looks like a title") as caught:
        run("a.csv", b"a,b\n1,2\n")
    assert caught.value.value == ["a", "b"] and "--title" in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()
    _, rows = run("a.csv", b"a,b\n1,wine\n", columns={"title": "b"})
    assert rows[0]["category_id"] == "wine"


def test_the_file_itself_is_never_overwritten(engine: Any, taxonomy: Path, tmp_path: Path) -> None:
    source, elsewhere = tmp_path / "a.csv", tmp_path / "same.parquet"
    source.write_bytes(b"title\nwine\n")
    elsewhere.symlink_to(source)
    for target, message in (
        (source, "a file of their own"),
        (elsewhere, "a file of their own"),
        (tmp_path, "a file of their own"),
        (tmp_path / "out.csv", "written as Parquet.*call it out.parquet"),
        (tmp_path / "out.parquet.gz", "written as Parquet"),
        (Path("/proc/nowhere/out.parquet"), "cannot be written"),
    ):
        with pytest.raises(StorageError, match=message):
            classify_file(engine, source, target, taxonomy=taxonomy, model_version="m1", settings=PredictionSettings())
    assert source.read_bytes() == b"title\nwine\n"


def test_one_file_is_classified_not_the_first_of_a_folder(engine: Any, taxonomy: Path, tmp_path: Path) -> None:
    (tmp_path / "feed").mkdir()
    (tmp_path / "feed" / "a.csv").write_bytes(b"title\nwine\n")
    for source in (tmp_path / "feed", tmp_path / "feed" / "*.csv", tmp_path / "missing.csv"):
        with pytest.raises(FeedError, match=r"the file to classify is not there.*not a folder or glob"):
            classify_file(
                engine,
                source,
                tmp_path / "out.parquet",
                taxonomy=taxonomy,
                model_version="m1",
                settings=PredictionSettings(),
            )


def test_a_country_that_is_none_is_an_error_and_any_spelling_of_one_is_read(run: Run, engine: Any) -> None:
    with pytest.raises(FeedError, match="this is no country; seen: 'Germany'"):
        run("a.csv", b"title\nwine\n", country="Germany")
    _, rows = run("a.csv", b"title\nwine\n", country="uk")
    assert rows[0]["country"] == "GB" and engine.asked[-1] == ("wine", "GB")


def test_a_file_of_one_column_has_no_delimiter(run: Run) -> None:
    _, rows = run("a.csv", b'title\nwine red, dry\n"toys car; blue"\n')
    assert [(row["title"], row["category_id"]) for row in rows] == [
        ("wine red, dry", "wine"),
        ("toys car; blue", "toys"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"title": "name"}}, "no column is called 'name'.*--title"),
        ({"encoding": "klingon"}, "is no encoding that Python knows.*--encoding"),
        ({"delimiter": ";;"}, "delimiter.*--delimiter"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_that_names_it(
    run: Run, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeedError, match=message):
        run("a.csv", b"a,b\n1,wine\n", **options)


def test_blank_lines_before_the_header_do_no_harm(run: Run) -> None:
    assert run("a.csv", b"\n\nid;title\n1;wine\n")[1][0]["category_id"] == "wine"


def test_the_title_may_lie_in_an_object_within_the_object(run: Run) -> None:
    report, rows = run(
        "a.jsonl", json.dumps({"product": {"title": "wine red", "id": 7}, "price": {"value": 3}}).encode()
    )
    assert report.columns["title"] == "product.title"
    assert (rows[0]["title"], rows[0]["category_id"]) == ("wine red", "wine")


def test_json_lines_end_at_line_feeds_only(run: Run) -> None:
    content = json.dumps({"description": "two\u2028lines", "title": "wine red"}, ensure_ascii=False)
    assert run("a.jsonl", content.encode())[1][0]["category_id"] == "wine"


def test_a_json_array_is_an_error_that_says_how_to_make_lines_of_it(run: Run) -> None:
    with pytest.raises(FeedError, match=r"this is a JSON array.*jq -c"):
        run("a.json", b'[{"title": "wine"}]')


def test_the_report_says_how_the_file_was_read(run: Run) -> None:
    report, _ = run("a.csv", "title\tid\nwine\t1\n".encode("utf-16"))
    assert (report.encoding, report.delimiter) == ("utf-16", "\t")
    assert run("b.csv", "title;größe\nwine;1\n".encode("cp1252"))[0].encoding == "cp1252"


def test_a_file_that_cannot_be_read_leaves_the_last_result(run: Run, tmp_path: Path) -> None:
    run("a.csv", b"title\nwine\n")
    before = (tmp_path / "out.parquet").read_bytes()
    for name, content in (
        ("a.parquet", b"PAR1 broken"),
        ("b.csv", b""),
        ("c.csv.gz", gzip.compress(b"title\n" * 999)[:20]),
    ):
        with pytest.raises(FeedError):
            run(name, content)
    assert (tmp_path / "out.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_header_alone_gives_an_empty_table(run: Run) -> None:
    report, rows = run("a.csv", b"title,id\n")
    assert rows == [] and report.rows == 0


def test_real_offers_of_three_shops_are_read_without_any_hint(run: Run, shared_data: Path) -> None:
    heads = {
        "pricerunner_uk/pricerunner_aggregate.csv": 35_311,
        "amazon_uk_toys/amazon_co-ecommerce_sample.csv": None,
        "mercadona_es/productos_mercadona.csv": None,
    }
    for name, expected in heads.items():
        report, rows = run(Path(name).name, (shared_data / name).read_bytes())
        assert report.classified > 5_000 and report.classified / report.rows > 0.99
        assert expected is None or report.rows == expected
        assert [row["row"] for row in rows] == list(range(1, len(rows) + 1))
