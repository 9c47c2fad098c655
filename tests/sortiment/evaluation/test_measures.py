"""What a table of answers says beyond right and wrong."""

import numpy as np
import pyarrow as pa
import pytest

from sortiment.evaluation import bin_answers, find_worst_confusions, measure_answers
from sortiment.evaluation.dimensions import NO_SHOP, SHOP_SIZES, length_of, size_shops

PATHS = {"a": ("home", "lamps"), "b": ("home", "chairs"), "c": ("food", "tea")}


def answers() -> pa.Table:
    return pa.table(
        {
            "country": ["DE", "DE", "FR"],
            "category_id": ["a", "b", "c"],
            "teacher_id": ["a", "b", "c"],
            "teacher_confidence": pa.array([0.9, 0.8, 0.7], pa.float32()),
            "teacher_top": [["a", "b"], ["b"], ["c", "a"]],
            "teacher_top_share": [[0.9, 0.1], [0.8], [0.7, 0.2]],
            "student_id": ["a", "a", "a"],
            "student_confidence": pa.array([0.9, 0.6, 0.5], pa.float32()),
            "student_top": [["a", "b"], ["a", "b"], ["a", "b"]],
            "student_top_share": [[0.9, 0.1], [0.6, 0.4], [0.5, 0.3]],
        }
    )


def test_every_model_is_measured_as_a_whole_and_in_each_country() -> None:
    found = measure_answers(answers(), PATHS)
    teacher, student = found["teacher"]["overall"], found["student"]["overall"]
    assert (teacher["hierarchical_f1"], teacher["top5_accuracy"], teacher["agreement"]) == (1.0, 1.0, None)
    assert student["hierarchical_f1"] == pytest.approx((2 + 1 + 0) / 6)
    assert student["top5_accuracy"] == pytest.approx(2 / 3)
    assert student["agreement"] == pytest.approx(1 / 3)
    assert student["kl"] > 0
    assert found["student"]["by_country"]["DE"]["agreement"] == 0.5
    assert found["student"]["by_country"]["FR"]["top5_accuracy"] == 0.0


def test_bins_hold_every_offer_once_in_all_and_in_each_country() -> None:
    bins = bin_answers(answers())
    assert sorted(bins) == ["DE", "FR", "overall"]
    assert sum(row["offers"] for row in bins["overall"]["student"]) == 3
    assert sum(row["offers"] for row in bins["DE"]["student"]) == 2


def test_a_mistake_costs_its_living_offers_times_how_far_it_is_off() -> None:
    near, far = ("a", "b"), ("a", "c")
    pairs = [near, near, near, far]
    worst = find_worst_confusions([a for a, _ in pairs], [b for _, b in pairs], list("wxyz"), paths=PATHS)
    assert [(row.predicted_id, row.distance) for row in worst] == [("b", 0.5), ("c", 1.0)]
    assert worst[0].cost_share == pytest.approx(1.5 / 2.5)
    living = find_worst_confusions(
        [a for a, _ in pairs], [b for _, b in pairs], list("wxyz"), paths=PATHS, weights=[1, 1, 1, 100]
    )
    assert living[0].predicted_id == "c"


def test_shops_are_large_middle_and_small_by_their_living_offers() -> None:
    shops: list[str | None] = ["big"] * 5 + ["mid"] * 3 + ["low"] + [None]
    weights = np.array([2.0] * 5 + [1.5] * 3 + [0.5] + [9.0])
    sizes = size_shops(shops, weights)
    assert [sizes[0], sizes[5], sizes[8], sizes[9]] == [*SHOP_SIZES, NO_SHOP]


def test_title_length_counts_words() -> None:
    assert length_of("lamp") == "1 to 2 words"
    assert length_of("one two three") == "3 to 4 words"
    assert length_of("word " * 40) == "more than 12 words"
