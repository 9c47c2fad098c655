"""What the drift measurement promises: drift is found where it is, and not where it is not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sortiment.drift import DriftReport, DriftSide, measure_drift, read_report
from sortiment.errors import DriftError
from sortiment.settings import DriftSettings

Make = Callable[..., DriftSide]
SETTINGS = DriftSettings(max_pages=0)
FEW = ("DE", "IT")
HIT = "IT|department-07"


def found(report: DriftReport, name: str) -> Any:
    return next(each for each in report.slices if each.slice == name)


def test_two_days_of_one_market_raise_no_alarm(make_day: Make, known_categories: list[str], tmp_path: Path) -> None:
    """72 slices, three signals that decide, 3 pairs of days: one alarm in 100 pairs is the default level."""
    alarms = 0
    for seed in range(3):
        reference, current = make_day("a", seed, offers=150), make_day("b", 1_000 + seed, offers=100)
        report = measure_drift(reference, current, SETTINGS, tmp_path, known_categories=known_categories)
        assert report.judged == 72 and report.tests == 216
        alarms += bool(report.drifted)
    assert alarms == 0


def test_two_days_without_labels_raise_no_alarm(make_day: Make, tmp_path: Path) -> None:
    alarms = 0
    for seed in range(2):
        reference = make_day("a", seed, offers=150)
        current = make_day("b", 1_000 + seed, offers=100, labelled=0.0)
        report = measure_drift(reference, current, SETTINGS, tmp_path)
        assert report.judged == 72 and report.tests == 288
        alarms += bool(report.drifted)
    assert alarms == 0


@pytest.mark.parametrize("seed", range(2))
def test_new_vocabulary_in_one_of_72_slices_is_found_there_and_nowhere_else(
    make_day: Make, known_categories: list[str], tmp_path: Path, seed: int
) -> None:
    drift = {HIT: {"new_words": 0.5, "accuracy": 0.55, "confidence": 0.6}}
    reference = make_day("a", seed)
    current = make_day("b", 50 + seed, offers=120, changed=drift)
    report = measure_drift(reference, current, SETTINGS, tmp_path, known_categories=known_categories)
    assert report.drifted == (HIT,)
    verdict = found(report, HIT)
    assert {signal.name for signal in verdict.signals if signal.drifted} >= {"accuracy", "novelty", "confidence"}
    assert verdict.why.startswith("drifted, judged by its labels: accuracy fell by 0.")
    assert verdict.score > 1.0 and all((each.score or 0.0) <= 1.0 for each in report.slices if each.slice != HIT)


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        ({"confidence": 0.6}, "confidence"),
        ({"new_words": 0.6}, "novelty"),
        ({"mix": 1.6}, "category_mix"),
        ({"title_words": 9}, "title_length"),
    ],
)
def test_without_labels_each_other_signal_decides_alone(
    make_day: Make, tmp_path: Path, change: dict[str, Any], signal: str
) -> None:
    reference = make_day("a", 1, FEW)
    current = make_day("b", 2, FEW, offers=150, labelled=0.0, changed={HIT: change})
    report = measure_drift(reference, current, SETTINGS, tmp_path)
    assert report.drifted == (HIT,)
    assert signal in [each.name for each in found(report, HIT).signals if each.drifted]
    assert "judged by its predictions" in found(report, HIT).why


def test_a_new_category_in_the_labels_is_drift(make_day: Make, known_categories: list[str], tmp_path: Path) -> None:
    reference = make_day("a", 1, FEW)
    current = make_day("b", 2, FEW, changed={HIT: {"unknown_category": 0.3, "accuracy": 0.95}})
    report = measure_drift(reference, current, SETTINGS, tmp_path, known_categories=known_categories)
    assert report.drifted == (HIT,)
    assert "labels that the model does not know rose by" in found(report, HIT).why


def test_a_shifted_input_that_the_model_still_gets_right_is_no_drift_unless_asked_for(
    make_day: Make, tmp_path: Path
) -> None:
    reference = make_day("a", 1, FEW)
    current = make_day("b", 2, FEW, changed={HIT: {"new_words": 0.6}})
    report = measure_drift(reference, current, SETTINGS, tmp_path)
    assert report.drifted == ()
    assert "novelty" in found(report, HIT).why and "the model is as good as it was" in found(report, HIT).why
    always = SETTINGS.model_copy(update={"label_free": "always"})
    assert measure_drift(reference, current, always, tmp_path).drifted == (HIT,)


def test_a_fall_that_is_certain_but_small_is_no_drift(make_day: Make, tmp_path: Path) -> None:
    small = DriftSettings(min_accuracy_drop=0.3, min_macro_f1_drop=0.5, max_pages=0)
    reference = make_day("a", 1, ("IT",), offers=400)
    current = make_day("b", 2, ("IT",), offers=400, changed={HIT: {"accuracy": 0.65}})
    assert measure_drift(reference, current, small, tmp_path).drifted == ()
    assert measure_drift(reference, current, SETTINGS, tmp_path).drifted == (HIT,)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"offers": 19}, "19 new offers with a label; 20 are needed"),
        ({"offers": 12}, {}, "the reference has 12 offers with a label; 20 are needed to know what is usual"),
        ({}, {"offers": 200, "labelled": 0.05}, "new offers with a label; 20 are needed"),
    ],
)
def test_a_slice_with_few_offers_is_not_judged_and_says_why(
    make_day: Make, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], said: str
) -> None:
    reference = make_day("a", 1, ("IT",), changed={HIT: before})
    current = make_day("b", 2, ("IT",), changed={HIT: {**after, "accuracy": 0.1}})
    report = measure_drift(reference, current, SETTINGS, tmp_path)
    verdict = found(report, HIT)
    assert not verdict.drifted and not verdict.judged and said in verdict.why
    assert report.judged == 11


def test_a_slice_that_only_one_side_has_is_not_judged(make_day: Make, tmp_path: Path) -> None:
    reference = make_day("a", 1, ("IT", "DE"))
    current = make_day("b", 2, ("IT", "AT"))
    report = measure_drift(reference, current, SETTINGS, tmp_path)
    assert report.judged == 12 and len(report.slices) == 36
    assert "the reference has 0 offers with a label" in found(report, "AT|department-00").why
    assert "0 new offers with a label" in found(report, "DE|department-00").why


def test_unlabelled_slices_are_left_alone_where_only_labels_may_decide(make_day: Make, tmp_path: Path) -> None:
    never = SETTINGS.model_copy(update={"label_free": "never"})
    reference = make_day("a", 1, ("IT",))
    current = make_day("b", 2, ("IT",), labelled=0.0, confidence=0.3)
    report = measure_drift(reference, current, never, tmp_path)
    assert report.judged == 0 and "signals without labels are switched off" in report.slices[0].why


def test_the_same_inputs_give_the_same_bytes(make_day: Make, known_categories: list[str], tmp_path: Path) -> None:
    reference, current = make_day("a", 1, ("IT",)), make_day("b", 2, ("IT",))
    for name in ("x", "y"):
        measure_drift(reference, current, SETTINGS, tmp_path / name, known_categories=known_categories)
    for file in ("drift.json", "drift.parquet"):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_the_report_is_read_back_and_its_table_has_a_row_per_signal(
    make_day: Make, known_categories: list[str], tmp_path: Path
) -> None:
    reference, current = make_day("a", 1, ("IT",)), make_day("b", 2, ("IT", "AT"))
    report = measure_drift(reference, current, SETTINGS, tmp_path, known_categories=known_categories)
    assert read_report(tmp_path) == report
    table = pq.read_table(tmp_path / "drift.parquet")
    assert table.num_rows == 12 * 7 + 12
    assert json.loads((tmp_path / "drift.json").read_text())["judged"] == 12


def test_an_empty_side_or_offers_without_the_columns_are_errors(make_day: Make, tmp_path: Path) -> None:
    side = make_day("a", 1, ("IT",))
    with pytest.raises(DriftError, match="the current side of the comparison is empty"):
        measure_drift(side, DriftSide([], []), SETTINGS, tmp_path)
    with pytest.raises(DriftError, match="the reference offers lack columns"):
        measure_drift(DriftSide(side.predictions, side.predictions), side, SETTINGS, tmp_path)
    with pytest.raises(DriftError, match="no drift report"):
        read_report(tmp_path / "nothing")


def test_where_a_country_has_labels_a_neighbor_of_the_drifted_slice_raises_no_alarm(
    make_day: Make, tmp_path: Path
) -> None:
    """Unlabelled offers of a drifted slice are predicted into its neighbors, but only labels say whose they are."""
    neighbor = {"offers": 1_000, "labelled": 0.015, "confidence": 0.4, "new_words": 0.6}
    reference = make_day("a", 1, FEW)
    current = make_day("b", 2, FEW, changed={HIT: {"accuracy": 0.4}, "IT|department-03": neighbor})
    report = measure_drift(reference, current, SETTINGS, tmp_path)
    assert report.drifted == (HIT,)
    assert "not judged" in found(report, "IT|department-03").why
    without = make_day("c", 3, FEW, labelled=0.0, changed={"IT|department-03": neighbor})
    assert measure_drift(reference, without, SETTINGS, tmp_path).drifted == ("IT|department-03",)


def test_offers_that_the_model_learned_from_are_vocabulary_and_not_reference(make_day: Make, tmp_path: Path) -> None:
    """Training offers of a perfect score beside held-out ones of a usual score: only the latter are compared with."""
    taught, held_out = make_day("a", 1, ("IT",), accuracy=1.0, confidence=0.99), make_day("b", 2, ("IT",), accuracy=0.8)
    current = make_day("c", 3, ("IT",), accuracy=0.8)
    files = []
    for side, split in ((taught, "train"), (held_out, "test")):
        table = pq.read_table(side.offers[0])
        files.append(str(tmp_path / f"{split}.parquet"))
        pq.write_table(table.append_column("split", [[split] * len(table)]), files[-1])
    predictions = [*taught.predictions, *held_out.predictions]
    report = measure_drift(DriftSide(predictions, files), current, SETTINGS, tmp_path / "split")
    assert report.drifted == () and {each.reference_offers for each in report.slices} == {200}
    mixed = measure_drift(
        DriftSide(predictions, [*taught.offers, *held_out.offers]), current, SETTINGS, tmp_path / "all"
    )
    assert _mean_fall(report) == pytest.approx(0.0, abs=0.03)
    assert _mean_fall(mixed) == pytest.approx(0.1, abs=0.03)


def _mean_fall(report: DriftReport) -> float:
    falls = [signal.value for each in report.slices for signal in each.signals if signal.name == "accuracy"]
    return sum(falls) / len(falls)


def test_a_sample_is_weighted_back_to_the_mix_of_all_offers(make_day: Make, tmp_path: Path) -> None:
    """A balanced sample of a skewed market: with its inclusion probabilities the mix has not shifted."""
    balanced, current = make_day("a", 1, ("IT",), mix=1.0, offers=400), make_day("b", 2, ("IT",), mix=0.6, labelled=0.0)
    offers = pq.read_table(balanced.offers[0])
    share = [0.6 ** -int(category.rsplit("/", 1)[1]) * 0.01 for category in offers["category_id"].to_pylist()]
    weighted = str(tmp_path / "weighted.parquet")
    pq.write_table(offers.append_column("inclusion_probability", [share]), weighted)
    assert len(measure_drift(balanced, current, SETTINGS, tmp_path / "x").drifted) == 12
    assert measure_drift(DriftSide(balanced.predictions, [weighted]), current, SETTINGS, tmp_path / "y").drifted == ()


def test_large_slices_are_judged_by_a_bounded_sample_and_counted_whole(make_day: Make, tmp_path: Path) -> None:
    bounded = DriftSettings(max_offers=100, max_pages=0)
    reference, current = make_day("a", 1, ("IT",)), make_day("b", 2, ("IT",), changed={HIT: {"accuracy": 0.3}})
    report = measure_drift(reference, current, bounded, tmp_path)
    assert report.drifted == (HIT,) and {each.offers for each in report.slices} == {200}


def test_the_slice_that_drifted_most_gets_an_evidently_page(make_day: Make, tmp_path: Path) -> None:
    pages = DriftSettings(max_pages=1)
    changed = {HIT: {"accuracy": 0.2, "confidence": 0.5}, "IT|department-01": {"accuracy": 0.4}}
    reference, current = make_day("a", 1, ("IT",)), make_day("b", 2, ("IT",), changed=changed)
    report = measure_drift(reference, current, pages, tmp_path)
    assert report.drifted == ("IT|department-01", HIT) and report.pages == {HIT: "evidently.html"}
    page = (tmp_path / "evidently.html").read_text(encoding="utf-8")
    assert f"<title>{HIT}: drift</title>" in page
    assert all(name in page for name in ("predicted_category", "confidence", "unknown_words"))
    assert read_report(tmp_path).pages == report.pages
