"""Scores are the field's standard ones, with intervals that hold what they promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sortiment.errors import SettingsError
from sortiment.evaluation import find_worst_confusions, macro_f1, score
from sortiment.settings import EvaluationSettings

PLAIN = EvaluationSettings(bootstrap_rounds=0)


def draw(offers: int, right: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.choice(list("abcdefgh"), offers, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02])
    guess = np.where(rng.random(offers) < right, true, rng.choice(list("abcdefgh"), offers))
    return true, guess


def test_macro_f1_is_the_mean_over_the_categories_that_occur() -> None:
    true, guess = draw(500, 0.7)
    assert macro_f1(true, guess) == pytest.approx(f1_score(true, guess, labels=np.unique(true), average="macro"))
    assert macro_f1(["a", "a", "b"], ["a", "x", "b"]) == pytest.approx((2 / 3 + 1) / 2)


def test_weights_stand_for_repeated_offers() -> None:
    once = score(["a", "a", "b"], ["a", "b", "b"], {}, PLAIN, np.array([2.0, 1.0, 3.0]))
    repeated = score(list("aaabbb"), list("aabbbb"), {}, PLAIN)
    assert once["overall"]["macro_f1"] == pytest.approx(repeated["overall"]["macro_f1"])
    assert once["overall"]["accuracy"] == pytest.approx(repeated["overall"]["accuracy"])


def test_every_key_of_every_dimension_has_its_leaf() -> None:
    scores = score(
        ["a", "b", "a"], ["a", "b", "b"], {"country": ["DE", "DE", "AT"], "slice": ["head", None, "tail"]}, PLAIN
    )
    assert scores["overall"]["offers"] == 3
    assert scores["by_country"]["DE"] == {"offers": 2, "accuracy": 1.0, "macro_f1": 1.0, "low": None, "high": None}
    assert sorted(scores["by_slice"]) == ["head", "tail"]


def test_the_interval_covers_the_score_of_the_whole_population() -> None:
    population = draw(100_000, 0.8, seed=1)
    whole = macro_f1(*population)
    inside = 0
    for seed in range(40):
        chosen = np.random.default_rng(seed).choice(100_000, 800, replace=False)
        leaf = score(population[0][chosen], population[1][chosen], {}, EvaluationSettings(seed=seed))["overall"]
        inside += leaf["low"] <= whole <= leaf["high"]
    assert inside >= 34


def test_the_same_seed_gives_the_same_interval() -> None:
    true, guess = draw(300, 0.7)
    assert score(true, guess, {}, EvaluationSettings()) == score(true, guess, {}, EvaluationSettings())


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(SettingsError, match="one answer per offer"):
        score(["a"], ["a", "b"], {}, PLAIN)
    with pytest.raises(SettingsError, match="one answer per offer"):
        score([], [], {}, PLAIN)


def test_the_worst_confusion_comes_first_with_titles() -> None:
    (first, second) = find_worst_confusions(list("aabba"), list("bbaaa"), ["t1", "t2", "t3", "t4", "t5"])
    assert (first.actual_id, first.predicted_id, first.offers, first.examples) == ("a", "b", 2, ("t1", "t2"))
    assert first.share == pytest.approx(2 / 3)
    assert second.share == 1.0
