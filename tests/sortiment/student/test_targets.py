"""Which of two witnesses is believed: the shop's label or the teacher."""

from dataclasses import replace

import numpy as np
import pytest

from sortiment.student.corpus import NO_CLASS, Corpus
from sortiment.student.targets import weigh_targets

CLASSES = tuple(f"class-{index}" for index in range(12))


def test_an_offer_without_a_label_is_taught_the_teachers_opinion() -> None:
    corpus = _corpus(labels=[NO_CLASS], opinions=[(3, 0.8)])
    targets = weigh_targets(corpus, label_noise=0.04, label_share=0.5)
    assert _taught(targets.index[0], targets.probability[0], 3) == pytest.approx(0.8, abs=1e-5)
    assert np.isnan(targets.label_kept[0])


def test_a_wrong_label_loses_against_a_sure_teacher() -> None:
    labels, opinions = [0] * 50, [(0, 0.99)] * 49 + [(5, 0.9999)]
    targets = weigh_targets(_corpus(labels, opinions), label_noise=0.04, label_share=0.5)
    assert targets.label_kept[-1] < 0.1
    assert _taught(targets.index[-1], targets.probability[-1], 5) > 0.85
    assert targets.label_kept[:-1].min() > 0.99


def test_labels_win_where_the_teacher_disagrees_with_most_of_a_category() -> None:
    labels, opinions = [0] * 20 + [1] * 20, [(5, 0.999)] * 18 + [(0, 0.9)] * 2 + [(1, 0.9)] * 20
    targets = weigh_targets(_corpus(labels, opinions), label_noise=0.04, label_share=0.5)
    assert targets.label_kept[:20].mean() >= 0.95
    assert _taught(targets.index[0], targets.probability[0], 0) > 0.9


def test_a_category_that_the_teacher_does_not_know_is_taught_by_its_labels() -> None:
    corpus = _corpus([11, 11], [(5, 0.999), (6, 0.999)])
    known = np.array([True] * 11 + [False])
    targets = weigh_targets(replace(corpus, known=known), label_noise=0.04, label_share=0.5)
    assert [_taught(targets.index[row], targets.probability[row], 11) for row in (0, 1)] == pytest.approx([1.0, 1.0])


def test_a_suspect_label_weighs_less_than_another() -> None:
    corpus = _corpus([0, 0], [(5, 0.7), (5, 0.7)])
    suspect = np.array([True, False])
    kept = weigh_targets(replace(corpus, suspect=suspect), label_noise=0.04, label_share=0.5).label_kept
    assert kept[0] < 0.1
    assert kept[1] > 0.9


def test_where_both_agree_the_target_keeps_what_the_teacher_finds_similar() -> None:
    corpus = _corpus([0], [(0, 0.8)])
    mixed = weigh_targets(corpus, label_noise=0.04, label_share=0.5)
    label_only = weigh_targets(corpus, label_noise=0.04, label_share=1.0)
    assert 0.85 < _taught(mixed.index[0], mixed.probability[0], 0) < 0.95
    assert _taught(label_only.index[0], label_only.probability[0], 0) > 0.98


def test_every_target_is_a_distribution() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(-1, 12, 300).tolist()
    opinions = list(zip(draw.integers(0, 12, 300).tolist(), draw.uniform(0.1, 1.0, 300).tolist(), strict=True))
    targets = weigh_targets(_corpus(labels, opinions), label_noise=0.1, label_share=0.3)
    np.testing.assert_allclose(targets.probability.sum(1) + targets.rest, 1, atol=1e-5)
    assert targets.probability.min() >= 0
    assert targets.rest.min() >= 0


def _corpus(labels: list[int], opinions: list[tuple[int, float]]) -> Corpus:
    """The teacher gives each opinion its probability, a fifth of what is left to the next class, the rest to others."""
    count = len(labels)
    best = np.array([index for index, _ in opinions], np.int32)
    sure = np.array([probability for _, probability in opinions], np.float32)
    second = (1 - sure) / 5
    zeros = np.zeros(count, np.int32)
    return Corpus(
        classes=CLASSES,
        partitions=("DE|food",),
        countries=("DE",),
        texts=["an offer"] * count,
        labels=np.array(labels, np.int32),
        partition=zeros,
        country=zeros,
        split=zeros,
        suspect=np.zeros(count, np.bool_),
        made_up=np.zeros(count, np.bool_),
        product=np.arange(1, count + 1, dtype=np.uint64),
        top_index=np.stack([best, (best + 1) % len(CLASSES)], 1).astype(np.int32),
        top_probability=np.stack([sure, second], 1),
        rest=1 - sure - second,
        known=np.ones(len(CLASSES), np.bool_),
    )


def _taught(index: np.ndarray, probability: np.ndarray, category: int) -> float:
    return float(probability[index == category].sum())
