"""Feeds of one run have names of their own, and two days."""

from pathlib import Path

import pytest

from demo.market import name_apart, split_days
from sortiment.errors import FeedError
from sortiment.feeds import FeedSpec, parse_spec


def spec(folder: str, name: str) -> FeedSpec:
    content = {"path": "o.csv", "constants": {"country": "GB"}, "columns": {"title": "t"}}
    return parse_spec(content, name, Path("/feeds") / folder)


def test_specs_of_one_name_are_told_apart_by_their_folders() -> None:
    named = name_apart([spec("Läden Süd", "shop"), spec("north", "shop"), spec("north", "other")])
    assert [each.name for each in named] == ["laeden-sued-shop", "north-shop", "other"]


def test_a_spec_that_is_called_like_the_second_day_is_not_mistaken_for_it() -> None:
    assert [each.name for each in name_apart([spec("shop", "day-2-new")])] == ["shop-day-2-new"]


def test_a_spec_that_is_given_twice_is_an_error_that_names_it() -> None:
    with pytest.raises(FeedError, match=r"two feed specs have the same name.*north-shop"):
        name_apart([spec("north", "shop"), spec("north", "shop")])


@pytest.mark.parametrize("share", [(0.0, 1.0), (0.2, 0.7)])
def test_two_days_are_together_what_the_spec_asks_for(share: tuple[float, float]) -> None:
    first, second = split_days(spec("shop", "offers").model_copy(update={"key_share": share}))
    assert (first[0], second[1]) == share and first[1] == second[0]
    assert first[1] - first[0] == pytest.approx(0.85 * (share[1] - share[0]))
