"""The closed form is what it claims: the solution, and what it would have been without an offer."""

import numpy as np
import pytest

from sortiment.errors import TrainingError
from sortiment.teacher.combining import fit_link, rows_to_fit
from sortiment.teacher.encoder_expert import EncoderExpert, fit_encoder_expert, gaussian_kernel, split_offers
from sortiment.teacher.fitting import Fitted, fit_experts_link
from sortiment.teacher.ngram_expert import NgramExpert, fit_ngram_expert
from sortiment.teacher.offers import VALIDATION, Offers
from sortiment.teacher.ridge import class_weights, fit_exact, fit_on_landmarks, group_landmarks, leave_one_out
from sortiment.teacher.teacher import TrainingOffers

CLASSES = 4


def draw(offers: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, offers)
    centers = np.random.default_rng(99).normal(size=(CLASSES, 6))
    return (centers[labels] + rng.normal(size=(offers, 6))).astype(np.float32), labels


def ngram_expert(texts: list[str], labels: np.ndarray) -> NgramExpert:
    """Solved exactly, every offer of weight one."""
    weights = np.ones(len(texts), np.float32)
    expert, _, _ = fit_ngram_expert(
        texts,
        labels,
        int(labels.max()) + 1,
        weights,
        regularization=0.3,
        name_regularization=0.1,
        exact_offers=1_000,
        landmarks=10,
        seed=0,
    )
    return expert


def test_leaving_one_out_equals_training_without_it() -> None:
    points, labels = draw(40)
    weights = class_weights(labels, CLASSES, 0.5)
    kernel = gaussian_kernel(points, points, 2.0)
    fit = fit_exact(kernel.copy(), labels, CLASSES, weights, 0.3)
    answers = leave_one_out(kernel @ fit.coefficients, labels, fit.leverage)
    for row in range(0, 40, 7):
        rest = np.delete(np.arange(40), row)
        without = fit_exact(kernel[np.ix_(rest, rest)], labels[rest], CLASSES, weights[rest], 0.3)
        np.testing.assert_allclose(answers[row], kernel[row, rest] @ without.coefficients, atol=2e-4)


def test_leaving_one_out_of_a_fit_with_a_prior_equals_training_without_it() -> None:
    points, labels = draw(40)
    weights = class_weights(labels, CLASSES, 0.5)
    kernel = gaussian_kernel(points, points, 2.0)
    prior = np.random.default_rng(5).normal(size=(40, CLASSES)).astype(np.float32)
    fit = fit_exact(kernel.copy(), labels, CLASSES, weights, 0.3, prior)
    assert fit.smoothing is not None
    answers = leave_one_out(prior + kernel @ (fit.coefficients - fit.smoothing), labels, fit.leverage)
    for row in range(0, 40, 7):
        rest = np.delete(np.arange(40), row)
        own = (kernel[np.ix_(rest, rest)], labels[rest], CLASSES, weights[rest], 0.3, prior[rest])
        without = fit_exact(*own)
        assert without.smoothing is not None
        expected = prior[row] + kernel[row, rest] @ (without.coefficients - without.smoothing)
        np.testing.assert_allclose(answers[row], expected, atol=5e-4)
    blocks = (lambda start, stop: kernel[start:stop], kernel, labels, CLASSES, weights, 0.3)
    landmarks = fit_on_landmarks(*blocks, lambda start, stop: prior[start:stop])
    assert landmarks.smoothing is not None
    np.testing.assert_allclose(kernel @ landmarks.smoothing, kernel @ fit.smoothing, atol=5e-3)


def test_landmarks_that_are_all_offers_give_the_exact_solution() -> None:
    points, labels = draw(60)
    weights = class_weights(labels, CLASSES, 0.5)
    kernel = gaussian_kernel(points, points, 1.0)
    exact = fit_exact(kernel.copy(), labels, CLASSES, weights, 0.5)
    landmarks = fit_on_landmarks(lambda start, stop: kernel[start:stop], kernel, labels, CLASSES, weights, 0.5)
    np.testing.assert_allclose(kernel @ landmarks.coefficients, kernel @ exact.coefficients, atol=5e-3)
    np.testing.assert_allclose(landmarks.leverage, exact.leverage, atol=5e-3)


def test_landmarks_are_of_one_class_and_as_many_as_asked() -> None:
    labels = np.random.default_rng(1).zipf(1.5, 2_000) % 50
    groups = group_landmarks(labels, 300, seed=0)
    assert 250 <= groups.max() + 1 <= 360
    assert all(len(set(labels[groups == group])) == 1 for group in range(groups.max() + 1))


def test_few_landmarks_answer_nearly_as_well_as_all_offers() -> None:
    points, labels = draw(600)
    probes, truth = draw(400, seed=1)
    shared = {"regularization": 0.1, "name_regularization": 0.1, "width": 1.0, "seed": 0}
    weights = class_weights(labels, CLASSES, 0.0)
    every, _, _ = fit_encoder_expert(points, labels, CLASSES, weights, exact_offers=1_000, landmarks=10, **shared)
    few, _, _ = fit_encoder_expert(points, labels, CLASSES, weights, exact_offers=10, landmarks=100, **shared)
    right = [(expert.scores(probes).argmax(1) == truth).mean() for expert in (every, few)]
    assert right[0] > 0.6
    assert right[1] > right[0] - 0.05


def test_scores_in_parts_are_those_of_the_whole_to_the_last_bit() -> None:
    points, labels = draw(3_000)
    shared = {"regularization": 0.1, "name_regularization": 0.1, "width": 1.0, "seed": 0}
    weights = class_weights(labels, CLASSES, 0.0)
    expert, _, _ = fit_encoder_expert(points, labels, CLASSES, weights, exact_offers=10, landmarks=100, **shared)
    parts = list(split_offers(3_000, CLASSES, 5_000))
    assert [(part.start, part.stop) for part in parts] == [(0, 1024), (1024, 2048), (2048, 3000)]
    assert list(split_offers(3_000, CLASSES)) == [slice(0, 3_000)]
    in_parts = np.concatenate([expert.scores(points[part]) for part in parts])
    np.testing.assert_array_equal(in_parts, expert.scores(points))


def test_the_link_asks_for_no_more_scores_than_it_is_fitted_on() -> None:
    class Counting(EncoderExpert):
        asked = 0

        def scores(self, features: np.ndarray) -> np.ndarray:
            self.asked += len(features)
            return super().scores(features)

    offers, classes = 700, 8_000
    rng = np.random.default_rng(0)
    features, landmarks = rng.normal(size=(offers, 2)), rng.normal(size=(3, 2))
    coefficients = rng.random((3, classes))
    expert = Counting(*(np.float32(part) for part in (np.zeros(2), np.ones(2), landmarks, coefficients)), width=1.0)
    held_out = Offers(
        keys=np.arange(offers, dtype=np.uint64),
        texts=[""] * offers,
        countries=["DE"] * offers,
        labels=["a"] * offers,
        split=np.array([VALIDATION] * offers, object),
        training_weight=np.ones(offers, np.float32),
    )
    fitted = Fitted({"encoder": expert}, {}, {}, None)
    none = np.zeros(0, np.int64)
    training = TrainingOffers(none.astype(np.uint64), none, {})
    labels, lift = rng.integers(0, classes, offers), np.zeros(classes, np.float32)
    fit_experts_link(fitted, training, held_out, features.astype(np.float32), labels, none, lift)
    assert expert.asked == len(rows_to_fit(offers, classes)) == 500


def test_balance_gives_rare_classes_more_weight() -> None:
    labels = np.array([0] * 16 + [1])
    assert class_weights(labels, 2, 0.0).tolist() == [1.0] * 17
    half = class_weights(labels, 2, 0.5)
    assert half[-1] / half[0] == pytest.approx(4.0)
    assert half.mean() == pytest.approx(1.0)


def test_equations_without_a_solution_are_an_error() -> None:
    kernel = np.full((5, 5), np.nan, np.float32)
    with pytest.raises(TrainingError, match="could not be solved"):
        fit_exact(kernel, np.zeros(5, np.int64), 2, np.ones(5, np.float32), 0.1)


def test_a_text_of_unknown_words_scores_nothing() -> None:
    texts = ["red lamp", "green lamp", "phone case", "phone cover"]
    labels = np.array([0, 0, 1, 1])
    expert = ngram_expert(texts, labels)
    scores = expert.scores(["lamp", "qqq www", ""])
    assert scores[0].argmax() == 0
    assert not scores[1:].any()


def test_many_classes_are_scored_in_blocks_with_the_same_answer() -> None:
    texts = [f"word{number} thing{number}" for number in range(600)]
    expert = ngram_expert(texts, np.arange(600))
    assert (expert.scores(texts).argmax(1) == np.arange(600)).mean() > 0.99


def test_the_link_makes_timid_scores_calibrated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.full(CLASSES, 0.5), 20_000)
    labels = (truth.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    timid = (truth**0.4 / 3).astype(np.float32)
    link = fit_link({"encoder": timid}, labels)
    probabilities = np.exp(link.log_probabilities({"encoder": timid}))
    best = probabilities.max(1)
    assert abs(best.mean() - (probabilities.argmax(1) == labels).mean()) < 0.02
    assert link.sharpness == pytest.approx(2.5, rel=0.3)


def test_the_link_trusts_the_expert_that_knows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 500)
    knows = (np.eye(CLASSES)[labels] * 0.6 + rng.random((500, CLASSES)) * 0.3).astype(np.float32)
    link = fit_link({"encoder": knows, "ngrams": rng.random((500, CLASSES)).astype(np.float32)}, labels)
    assert link.shares["encoder"] > 0.8
