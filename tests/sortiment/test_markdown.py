"""The tables of a bench get into a page between their marks, or it is said why not."""

import json
from pathlib import Path
from typing import Any

import pytest

from sortiment.errors import SettingsError, StorageError
from sortiment.markdown import write_figures

PAGE = "a\n<!-- figures: bench -->\nold\n<!-- end of figures: bench -->\nb\n"


def show(content: dict[str, Any]) -> str:
    return f"{content['rows']} rows"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The bench's JSON, and a page with a place for it."""
    source, page = tmp_path / "bench.json", tmp_path / "page.md"
    source.write_text(json.dumps({"rows": 7}), encoding="utf-8")
    page.write_text(PAGE, encoding="utf-8")
    return source, page


def test_what_stands_between_the_marks_is_replaced(files: tuple[Path, Path]) -> None:
    write_figures(*files, show)
    assert files[1].read_text(encoding="utf-8") == PAGE.replace("old", "7 rows")


@pytest.mark.parametrize(("missing", "option"), [(0, "--json"), (1, "--figures")])
def test_a_file_that_is_not_there_is_an_error_that_names_its_option(
    files: tuple[Path, Path], missing: int, option: str
) -> None:
    files[missing].unlink()
    with pytest.raises(SettingsError, match=f"the file of {option} cannot be read") as caught:
        write_figures(*files, show)
    assert str(files[missing]) in caught.value.value and caught.value.allowed and caught.value.fix


def test_a_folder_or_bytes_in_place_of_a_page_are_errors(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the file of --figures cannot be read"):
        write_figures(files[0], tmp_path, show)
    files[1].write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="the file of --figures cannot be read"):
        write_figures(*files, show)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"text"'])
def test_a_json_that_the_bench_did_not_write_leaves_the_page_as_it_is(files: tuple[Path, Path], content: str) -> None:
    files[0].write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match="not a file that the bench wrote"):
        write_figures(*files, show)
    assert files[1].read_text(encoding="utf-8") == PAGE


@pytest.mark.parametrize("text", ["no marks", "<!-- end of figures: bench -->\n<!-- figures: bench -->\n"])
def test_a_page_without_both_marks_in_their_order_is_an_error(files: tuple[Path, Path], text: str) -> None:
    files[1].write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="has no place for these figures"):
        write_figures(*files, show)


def test_a_page_that_cannot_be_written_is_an_error(files: tuple[Path, Path]) -> None:
    with pytest.raises(StorageError, match="the file of --figures cannot be written"):
        write_figures(files[0], Path("/proc/self/status"), show)
