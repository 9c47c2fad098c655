"""report.json: plain JSON, whole or not there, read back as it was written."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import pytest

from sortiment.errors import StorageError
from sortiment.release.events import ReleaseEvent
from sortiment.report import ModelScores, Report, parse_report, read_report, write_report
from sortiment.report.rows import ReleaseRow, SpeedRow

MARKET = {"name": "A market", "synthetic": True}


@pytest.fixture(scope="module")
def home(report_of: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a full report in it."""
    folder = tmp_path_factory.mktemp("home")
    assert write_report(parse_report(report_of()), folder) == folder / "report.html"
    return folder


def test_both_files_are_written_and_read_back_equal(report: dict[str, Any], home: Path) -> None:
    assert sorted(file.name for file in home.iterdir()) == ["report.html", "report.json"]
    assert read_report(home) == parse_report(report)


def test_the_same_report_gives_the_same_page(full_page: str, home: Path) -> None:
    assert (home / "report.html").read_text(encoding="utf-8") == full_page


def test_the_json_has_the_keys_that_others_rely_on(home: Path) -> None:
    content = json.loads((home / "report.json").read_text(encoding="utf-8"))
    assert content["seconds"]["total"] == 281.4
    assert content["market"]["synthetic"] is True
    for model in ("teacher", "student", "int8"):
        macro_f1 = content["scores"][model]["macro_f1"]
        assert isinstance(macro_f1["overall"], float)
        assert set(macro_f1["by_country"]) == {"DE", "AT", "ES", "IT", "FR", "GB"}
        assert "second_day" in macro_f1["by_feed"]
    drift = content["drift"]
    assert {"partition", "before", "drifted", "after", "recovered_share", "partitions_relabelled"} <= set(drift)
    assert content["champion"]["version"] == "9f31c2aa07b1e6d4"
    assert content["speed"][0]["engine"]
    assert content["quarantine"]["rows"] == 1302


def test_what_is_not_a_number_becomes_null(tmp_path: Path) -> None:
    report = Report.model_validate(
        {
            "market": MARKET,
            "scores": {"teacher": {"macro_f1": {"overall": float("nan"), "by_country": {"DE": float("inf")}}}},
            "settings": {"of the caller": float("nan")},
        }
    )
    assert report.scores["teacher"].macro_f1.overall is None
    write_report(report, tmp_path)
    assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")
    assert read_report(tmp_path).scores["teacher"].macro_f1.by_country == {"DE": None}


def test_numpy_scalars_are_taken_as_numbers() -> None:
    row = SpeedRow.model_validate({"engine": "x", "offers_per_s": numpy.float32(2.5), "size_mb": numpy.int64(3)})
    assert (row.offers_per_s, row.size_mb) == (2.5, 3.0)


def test_keys_that_the_schema_does_not_know_are_kept(tmp_path: Path) -> None:
    write_report(parse_report({"market": {**MARKET, "currency": "EUR"}, "extra": [1]}), tmp_path)
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (content["market"]["currency"], content["extra"]) == ("EUR", [1])


def test_scores_come_from_the_leaves_of_scores_json() -> None:
    leaf = {"offers": 40, "accuracy": 0.9, "macro_f1": 0.8, "low": 0.7, "high": 0.85}
    scores = ModelScores.from_leaves({"overall": leaf, "by_country": {"DE": leaf}, "by_shop_size": {"small": leaf}})
    assert scores.macro_f1.overall == 0.8
    assert scores.accuracy.by_country == {"DE": 0.9}
    assert scores.interval.by_country == {"DE": (0.7, 0.85)}
    assert scores.offers.overall == 40
    assert scores.macro_f1.by_feed == {}


def test_a_release_comes_from_its_event() -> None:
    gate = {
        "gate": "macro_f1", "slice": "by_country/DE", "offers": 40, "challenger": 0.7, "champion": 0.8, "limit": 0.75,
        "p_value": 0.01, "passed": False, "why": "fell by 0.1",
    }  # fmt: skip
    overall = {**gate, "gate": "share_of_teacher", "slice": "overall", "challenger": 0.81, "passed": True}
    event = ReleaseEvent(
        number=2, action="refuse", model_version="abc", artifacts={}, previous="aaa", at="2026-11-22T18:00:00+00:00",
        by="demo", reason="a gate failed", decision={"gates": [gate, overall]}, previous_sha256=None,
    )  # fmt: skip
    row = ReleaseRow.from_event(event)
    assert row == ReleaseRow.from_event(asdict(event))
    assert (row.action, row.version, row.number, row.macro_f1) == ("refused", "abc", 2, 0.81)
    assert [one.name for one in row.failed_gates] == ["macro f1 in by_country/DE"]


def test_a_missing_report_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="sortiment demo"):
        read_report(tmp_path)


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(StorageError, match="not JSON"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"market": {"name": 1}}', encoding="utf-8")
    with pytest.raises(StorageError, match=r"market\.synthetic"):
        read_report(tmp_path)
