"""Targets, caps and slices follow the census."""

import numpy as np
import pytest

from sortiment.sampling.counts import PairCounts, pair_codes, sum_pairs
from sortiment.sampling.horizons import demand_of, fair_cap, set_horizons, shop_cap
from sortiment.sampling.policy import SLICES, ask_of, slice_categories
from sortiment.settings import SamplingSettings


def counts_of(entries: list[tuple[int, int, int]]) -> PairCounts:
    """From (category code, shop code, offers)."""
    category, shop, offers = (np.array(column) for column in zip(*entries, strict=True))
    return sum_pairs(pair_codes(category.astype(np.uint32), shop.astype(np.uint32)), offers.astype(np.int64))


SIZES = counts_of([(1, 1, 10_000), (2, 1, 2_500), (3, 1, 100), (4, 2, 1), (0, 1, 50), (0, 2, 3)])


@pytest.mark.parametrize(
    ("policy", "targets"),
    [("cap", [200, 200, 200, 200]), ("sqrt", [200, 100, 20, 20]), ("temperature", [200, 132, 51, 20])],
)
def test_targets_follow_the_policy(policy: str, targets: list[int]) -> None:
    settings = SamplingSettings.model_validate({"policy": policy})
    assert ask_of(SIZES, 5, settings).targets[1:].tolist() == targets


def test_the_shop_cap_is_the_share_of_the_target_rounded_up() -> None:
    assert [shop_cap(target, 0.5) for target in (1, 2, 3, 200)] == [1, 1, 2, 100]
    assert shop_cap(200, 0.001) == 1
    assert shop_cap(100, 0.07) == 7
    assert shop_cap(200, 1.0) == 200


def test_the_pool_without_a_label_is_spread_evenly_over_its_shops() -> None:
    assert fair_cap(np.array([50, 3]), 20) == 17
    assert fair_cap(np.array([50, 3]), 1_000) == 50
    assert fair_cap(np.array([1] * 100), 20) == 1
    assert fair_cap(np.array([], dtype=np.int64), 20) == 1


def test_slices_go_by_size_and_equal_sizes_share_one() -> None:
    offers = np.array([500, 50, 30, 10, 5, 5], dtype=np.int64)
    named = [SLICES[index] for index in slice_categories(offers, SamplingSettings())]
    assert named[1:] == ["head", "torso", "torso", "tail", "tail"]


def test_one_category_is_head_and_many_equal_ones_too() -> None:
    assert slice_categories(np.array([0, 7]), SamplingSettings())[1] == 0
    assert set(slice_categories(np.array([0, *[7] * 30]), SamplingSettings())[1:].tolist()) == {0}


def test_a_horizon_holds_more_than_any_draw_needs_and_not_much_more() -> None:
    settings = SamplingSettings()
    counts = counts_of([(1, shop, 10_000) for shop in range(1, 101)])
    horizons = set_horizons(counts, demand_of(counts, 2, settings), settings)
    expected = float(horizons.categories[1]) / 2**64 * 1_000_000
    assert 1.25 * 200 < expected < 2 * 200
    assert not len(horizons.pairs) or float(horizons.shops.min()) >= float(horizons.categories[1])


def test_a_shop_that_has_nearly_all_of_a_category_does_not_crowd_the_others_out() -> None:
    settings = SamplingSettings()
    counts = counts_of([(1, 1, 1_000_000), *((1, shop, 100) for shop in range(2, 12))])
    horizons = set_horizons(counts, demand_of(counts, 2, settings), settings)
    others = float(horizons.categories[1]) / 2**64 * 1_000
    largest = float(horizons.of_pairs(counts.pairs[:1])[0]) / 2**64 * 1_000_000
    assert others > 100
    assert 100 < largest < 250


@pytest.mark.parametrize(
    "knobs",
    [
        {"test_share": 0.8, "validation_share": 0.3},
        {"per_category": 0},
        {"per_shop_share": 0.0},
        {"policy": "all"},
        {"head_share": 0.7, "tail_share": 0.6},
        {"reserve_slack": 0.9},
    ],
)
def test_a_knob_out_of_bounds_is_refused(knobs: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        SamplingSettings.model_validate(knobs)
