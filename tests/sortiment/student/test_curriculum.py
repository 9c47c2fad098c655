"""What retraining goes over, and how often."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from sortiment.settings import StudentSettings
from sortiment.student.corpus import NO_PARTITION
from sortiment.student.curriculum import MOST_PASSES, rows_to_learn, rows_to_repeat


def corpus(new: dict[int, int], old: int) -> Any:
    """`new`: offers by class in the partition that changed; `old` offers in another."""
    labels = np.concatenate([np.repeat(list(new), list(new.values())), np.zeros(old, int)]).astype(np.int32)
    partition = np.r_[np.zeros(sum(new.values()), int), np.ones(old, int)]
    made = SimpleNamespace(
        labels=labels, partition=partition, partitions=("DE|garden", "DE|toys"), top_index=labels[:, None]
    )
    made.rows = lambda split: np.arange(len(made.labels))
    made.is_offer = np.ones(len(made.labels), bool)
    return made


def passes(made: Any, **settings: int) -> dict[int, int]:
    """Passes of an epoch over each new class's offers."""
    every = np.arange(len(made.labels))
    again = rows_to_repeat(made, every, ["DE|garden"], StudentSettings(**settings))  # type: ignore[arg-type]
    assert (made.partition[again] == 0).all()
    counted = np.bincount(again, minlength=len(every)) + 1
    new = {int(label): counted[(made.labels == label) & (made.partition == 0)] for label in set(made.labels.tolist())}
    assert all(len(set(counts.tolist())) <= 1 for counts in new.values())
    return {label: int(counts[0]) for label, counts in new.items() if len(counts)}


def test_rare_classes_are_gone_over_more_often_than_frequent_ones() -> None:
    made = corpus({1: 64, 2: 16, 3: 4, 4: 1, 5: 16}, old=1_000)
    assert passes(made, changed_passes=2) == {1: 1, 2: 2, 3: 4, 4: MOST_PASSES, 5: 2}


def test_nothing_is_repeated_where_most_offers_are_new_or_one_pass_is_asked_for() -> None:
    assert set(passes(corpus({1: 40, 2: 4}, old=10), changed_passes=3).values()) == {1}
    assert set(passes(corpus({1: 40, 2: 4}, old=900), changed_passes=1).values()) == {1}


def test_an_offer_without_a_label_counts_to_the_class_that_the_teacher_gives_it() -> None:
    made = corpus({1: 16, 2: 16, 3: 4}, old=500)
    made.labels[32:36] = -1
    again = rows_to_repeat(made, np.arange(len(made.labels)), ["DE|garden"], StudentSettings(changed_passes=2))
    assert np.bincount(again)[32:36].tolist() == [3, 3, 3, 3]


def test_a_first_training_repeats_nothing() -> None:
    made = corpus({1: 16, 2: 4}, old=500)
    assert len(rows_to_repeat(made, np.arange(520), None, StudentSettings())) == 0


def test_retraining_reads_the_names_of_changed_categories_and_they_take_no_rehearsed_offers_place() -> None:
    made = corpus({1: 16, 2: 4}, old=500)
    made.labels = np.r_[made.labels, 0, 1, 2, 3].astype(np.int32)
    made.partition = np.r_[made.partition, np.full(4, NO_PARTITION)]
    made.is_name = made.partition == NO_PARTITION
    made.is_offer = ~made.is_name
    rows = rows_to_learn(made, ["DE|garden"], StudentSettings(rehearsed_offers=100))
    assert (made.partition[rows] == 0).sum() == 20
    assert (made.partition[rows] == 1).sum() == 100
    assert made.labels[rows[made.partition[rows] == NO_PARTITION]].tolist() == [1, 2]
    assert len(rows_to_learn(made, None, StudentSettings())) == 524


def test_retraining_leaves_made_up_titles_out() -> None:
    made = corpus({1: 16, 2: 4}, old=500)
    made.is_name = np.zeros(520, bool)
    made.is_offer[:5] = made.is_offer[100:200] = False
    rows = rows_to_learn(made, ["DE|garden"], StudentSettings(rehearsed_offers=100))
    assert (made.partition[rows] == 0).sum() == 15
    assert (made.partition[rows] == 1).sum() == 100
    assert made.is_offer[rows].all()
    assert len(rows_to_learn(made, None, StudentSettings())) == 520
