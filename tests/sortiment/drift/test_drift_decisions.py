"""What sensors ask: which partitions to label anew, and whether to train."""

from datetime import UTC, datetime, timedelta

from sortiment.drift import partitions_to_relabel, retraining_due

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_drifted_partition_is_asked_for_once_per_report() -> None:
    asked = partitions_to_relabel({"r1": ["DE|toys"]}, {}, NOW, DAY)
    assert asked.partitions == ("DE|toys",) and asked.why == "1 partitions drifted: DE|toys"
    again = partitions_to_relabel({"r1": ["DE|toys"]}, {"DE|toys": "r1"}, NOW, DAY)
    assert again.partitions == () and again.why == "DE|toys: was requested for report r1 already"


def test_another_report_asks_again_after_the_cooldown() -> None:
    reports = {"r1": ["DE|toys"], "r2": ["DE|toys", "AT|wine"]}
    early = partitions_to_relabel(reports, {"DE|toys": "r1"}, NOW, DAY, {"DE|toys": NOW - timedelta(hours=3)})
    assert early.partitions == ("AT|wine",)
    assert early.skipped["DE|toys"] == "was re-labelled at 2026-11-22 09:00, waits until 2026-11-23 09:00"
    late = partitions_to_relabel(reports, {"DE|toys": "r1"}, NOW, DAY, {"DE|toys": NOW - DAY})
    assert late.partitions == ("AT|wine", "DE|toys")


def test_a_slice_that_is_no_partition_yet_waits() -> None:
    found = partitions_to_relabel({"r1": ["DE|new", "DE|toys"]}, {}, NOW, DAY, partitions={"DE|toys"})
    assert found.partitions == ("DE|toys",) and "not a partition yet" in found.skipped["DE|new"]


def test_without_drift_nothing_is_asked_for_in_words() -> None:
    for reports in ({}, {"r1": []}):
        found = partitions_to_relabel(reports, {}, NOW, DAY)
        assert found.partitions == () and found.why == "no partition has drifted"


def test_training_is_due_once_for_all_partitions_that_wait() -> None:
    due = retraining_due({"a": "2", "b": "2", "c": "1"}, {"a": "1", "b": "1", "c": "1"}, [], NOW, None, DAY)
    assert due.due and due.partitions == ("a", "b") and due.why == "new soft labels in 2 partitions: a, b"


def test_a_partition_that_the_student_never_saw_counts_as_new() -> None:
    assert retraining_due({"a": "1"}, {}, [], NOW, None, DAY).due


def test_training_waits_for_labelling_and_for_the_cooldown() -> None:
    labelling = retraining_due({"a": "2"}, {"a": "1"}, ["b"], NOW, None, DAY)
    assert not labelling.due and labelling.why == "b still being labelled"
    early = retraining_due({"a": "2"}, {"a": "1"}, [], NOW, NOW - timedelta(hours=1), DAY)
    assert not early.due and early.why == "the student was trained at 2026-11-22 11:00; next after 2026-11-23 11:00"
    assert retraining_due({"a": "2"}, {"a": "1"}, [], NOW, NOW - DAY, DAY).due


def test_a_student_that_has_seen_all_labels_is_not_trained() -> None:
    found = retraining_due({"a": "1"}, {"a": "1", "gone": "3"}, [], NOW, None, DAY)
    assert not found.due and found.why == "the student has seen all soft labels"
