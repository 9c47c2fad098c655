"""How often a class is to be expected is read off the offers without a label."""

from pathlib import Path

import numpy as np
import pytest

from sortiment.teacher.shares import COMMON, Lifts, Shares, correct_lifts, group_offers, spread_evenly

LABELLED = Shares(np.array([0.5, 0.5]), 1_000, 1_000)
NONE = np.zeros(2, np.float32)


def test_a_class_that_has_few_labels_for_its_unlabelled_offers_is_raised_by_as_much() -> None:
    lifts = correct_lifts(NONE, LABELLED, {COMMON: Shares(np.array([0.8, 0.2]), 1_000, 3_000)})
    expected = (1_000 * 0.5 + 3_000 * np.array([0.8, 0.2])) / 4_000
    np.testing.assert_allclose(np.exp(lifts.common), expected / 0.5, atol=2e-3)
    assert lifts.of_country == {}


def test_a_few_unlabelled_offers_change_next_to_nothing() -> None:
    lifts = correct_lifts(NONE, LABELLED, {COMMON: Shares(np.array([1.0, 0.0]), 5, 5)})
    np.testing.assert_allclose(lifts.common, 0.0, atol=0.005)
    few = correct_lifts(NONE, LABELLED, {"FR": Shares(np.array([1.0, 0.0]), 1, 1)})
    assert np.abs(few.of_country["FR"]).max() < 0.5


def test_a_country_without_labels_is_corrected_to_the_labelled_shares() -> None:
    lifts = correct_lifts(NONE, LABELLED, {"FR": Shares(np.array([0.8, 0.2]), 100_000, 100_000)})
    np.testing.assert_allclose(lifts.of_country["FR"], np.log([0.5 / 0.8, 0.5 / 0.2]), atol=5e-3)
    np.testing.assert_array_equal(lifts.common, NONE)
    of = lifts.of(["GB", "FR"])
    np.testing.assert_array_equal(of, [NONE, lifts.of_country["FR"]])
    np.testing.assert_array_equal(lifts.of(["GB", "DE"]), NONE)


def test_a_class_of_one_offer_is_not_thought_to_be_a_thousand_times_as_frequent() -> None:
    labelled = Shares(np.array([1.0 - 1e-9, 1e-9]), 1_000, 1_000)
    lifts = correct_lifts(NONE, labelled, {COMMON: Shares(np.array([0.999, 0.001]), 1_000, 1_000)})
    assert 0 < lifts.common[1] < np.log(2)
    never = correct_lifts(NONE, Shares(np.array([1.0, 0.0]), 10, 10), {"FR": Shares(np.array([1.0, 0.0]), 10, 10)})
    np.testing.assert_array_equal(never.of_country["FR"], NONE)


def test_offers_are_grouped_by_whether_their_country_has_labels() -> None:
    groups = group_offers(["GB", "FR", "DE", "FR"], {"GB", "DE"})
    assert {name: rows.tolist() for name, rows in groups.items()} == {COMMON: [0, 2], "FR": [1, 3]}
    assert group_offers([], {"GB"}) == {}


@pytest.mark.parametrize(("count", "limit"), [(10, 3), (3, 10), (1, 5)])
def test_rows_are_spread_over_all(count: int, limit: int) -> None:
    rows = spread_evenly(count, limit)
    assert len(rows) == min(count, limit)
    assert (rows[0], rows[-1]) == (0, count - 1)


def test_lifts_are_read_as_they_were_written(tmp_path: Path) -> None:
    lifts = Lifts(np.array([1.0, 2.0], np.float32), {"FR": np.array([3.0, 4.0], np.float32)})
    lifts.save(tmp_path)
    read = Lifts.load(tmp_path)
    np.testing.assert_array_equal(read.common, lifts.common)
    np.testing.assert_array_equal(read.of_country["FR"], lifts.of_country["FR"])
