"""The closed form of the fast student: classes in blocks get what they would have got together."""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random

from sortiment.errors import TrainingError
from sortiment.fast.features import Features, collect_features
from sortiment.fast.naming import fit_prior
from sortiment.fast.solving import NUMBERS_AT_MOST, Ridge, split_classes
from sortiment.progress import silent
from sortiment.teacher.names import NameTexts

CLASSES = 37
SOLVER: dict[str, Any] = {"tolerance": 0.01, "iterations": 100}


def draw(offers: int, classes: int, texts: list[str] | None = None) -> tuple[Features, csr_matrix, Any]:
    """Features of titles and, behind them, of some more texts; the titles' targets and weights."""
    chance = np.random.default_rng(0)
    words = [f"word{number}" for number in range(200)]
    titles = [" ".join(chance.choice(words, 5)) for _ in range(offers)]
    features = collect_features([*titles, *(texts or [])], 64, 1, 10_000)
    targets = random(offers, classes, 0.1, format="csr", dtype=np.float32, random_state=chance)
    return features, targets, chance.uniform(0.5, 2.0, offers).astype(np.float32)


def solve(features: Features, targets: csr_matrix, weights: Any, numbers_at_most: int) -> tuple[Any, float, int]:
    solved = np.zeros(targets.shape, np.float32)

    def keep(block: slice, solution: Any) -> None:
        solved[:, block] = solution

    ridge = Ridge(features, weights, 0.1, numbers_at_most)
    with silent("") as step:
        found = ridge.solve(lambda block: targets[:, block].toarray(), targets.shape[1], keep, **SOLVER, step=step)
    return solved, *found


def test_blocks_of_classes_get_what_all_classes_get_together() -> None:
    features, targets, weights = draw(400, CLASSES)
    targets = targets.multiply(np.geomspace(1e-3, 1, CLASSES)[None, :]).tocsr().astype(np.float32)
    whole, residual, iterations = solve(features, targets, weights, NUMBERS_AT_MOST)
    blocks = len(list(split_classes(CLASSES, features, 20_000)))
    assert blocks > 3
    in_blocks = solve(features, targets, weights, 20_000)
    np.testing.assert_array_equal(in_blocks[0], whole)
    assert in_blocks[1:] == (residual, iterations)
    alone = {solve(features, targets[:, [column]], weights, NUMBERS_AT_MOST)[2] for column in range(CLASSES)}
    assert min(alone) < iterations, "some classes alone would have ended sooner"


def test_classes_are_in_one_block_as_long_as_there_is_room() -> None:
    features, _, _ = draw(50, CLASSES)
    lines = max(*features.texts.shape, features.runs.size)
    assert list(split_classes(CLASSES, features, CLASSES * lines)) == [slice(0, CLASSES)]
    halves = list(split_classes(CLASSES, features, CLASSES * lines - 1))
    assert [(block.start, block.stop) for block in halves] == [(0, 18), (18, 37)]
    assert len(list(split_classes(CLASSES, features, 1))) == CLASSES


def test_solving_in_blocks_takes_the_memory_of_a_block() -> None:
    features, targets, weights = draw(2_000, 400)
    peaks = []
    for numbers_at_most in (NUMBERS_AT_MOST, 200_000):
        ridge = Ridge(features, weights, 0.1, numbers_at_most)
        tracemalloc.start()
        with silent("") as step:
            ridge.solve(lambda block: targets[:, block].toarray(), 400, lambda *_: None, **SOLVER, step=step)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] / 4


def test_names_say_the_same_in_blocks() -> None:
    texts = [f"word{number}" for number in range(CLASSES)]
    features, targets, weights = draw(400, CLASSES, texts)
    names = NameTexts(texts, np.arange(CLASSES), np.arange(CLASSES))
    settings: dict[str, Any] = {"regularization": 0.1, **SOLVER}
    with silent("") as step:
        whole = fit_prior(features, names, targets, weights, **settings, step=step)
        blocks = fit_prior(features, names, targets, weights, **settings, step=step, numbers_at_most=20_000)
    np.testing.assert_array_equal(blocks.solution, whole.solution)
    assert blocks.strength == pytest.approx(whole.strength, rel=1e-6)
    titles = features.texts[:400]
    every = whole.answer(titles, slice(0, CLASSES))
    np.testing.assert_allclose(blocks.answer(titles, slice(3, 9)), every[:, 3:9], atol=1e-6)
    np.testing.assert_allclose(titles @ whole.spread(slice(0, CLASSES))[0], every, atol=1e-5)


def test_equations_without_a_solution_are_told_with_what_to_do() -> None:
    features, targets, weights = draw(50, CLASSES)
    ridge = Ridge(replace(features, own=features.own * np.float32(np.nan)), weights, 0.1)
    with pytest.raises(TrainingError, match=r"could not be solved.*raise fast\.regularization"):
        ridge.spread(targets.toarray())
