"""What the comparison does with what does not fit into memory."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from sortiment.drift import DriftSide
from sortiment.drift.sides import Comparison, compare_sides
from sortiment.errors import StorageError
from sortiment.settings import DriftSettings

Make = Callable[..., DriftSide]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def side(make_day: Make) -> DriftSide:
    return make_day("day", 1, countries=("DE",), offers=30)


def outgrow_memory(comparison: Comparison) -> None:
    comparison.database.execute("SET memory_limit = '20MB'")
    comparison.database.execute("CREATE TEMP TABLE large AS SELECT random() FROM range(5_000_000)")


def test_it_lies_beside_the_report_and_is_gone_afterwards(side: DriftSide, out: Path) -> None:
    with compare_sides(side, side, None, DriftSettings(), out) as comparison:
        outgrow_memory(comparison)
        assert list((out / ".spill").iterdir())
    assert list(out.iterdir()) == []


def test_where_it_may_not_be_written_that_is_said(side: DriftSide, out: Path) -> None:
    (out / ".spill").write_text("no folder")
    with (
        pytest.raises(StorageError, match=r"found no room.*materialize drift_report again"),
        compare_sides(side, side, None, DriftSettings(), out) as comparison,
    ):
        outgrow_memory(comparison)


def test_its_room_is_bounded_and_a_full_disk_is_said(side: DriftSide, out: Path) -> None:
    with (
        pytest.raises(StorageError, match="found no room"),
        compare_sides(side, side, None, DriftSettings(), out) as comparison,
    ):
        bound = comparison.database.execute("SELECT current_setting('max_temp_directory_size')").fetchone()
        assert bound is not None and "%" not in bound[0]  # DuckDB's own: "90% of available disk space"
        comparison.database.execute("SET max_temp_directory_size = '1MB'")  # half of a disk that is nearly full
        outgrow_memory(comparison)


def test_a_file_that_cannot_be_read_is_not_called_a_full_disk(side: DriftSide, out: Path, tmp_path: Path) -> None:
    absent = DriftSide([str(tmp_path / "absent.parquet")], side.offers)
    with (
        pytest.raises(duckdb.IOException, match=r"absent\.parquet"),
        compare_sides(absent, side, None, DriftSettings(), out) as comparison,
    ):
        comparison.read("reference", "labels")
