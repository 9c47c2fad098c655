"""Keys from names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortiment.taxonomy import SLUG_MAX_CHARS, UNLABELLED, slugify


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Home & Garden", "home-garden"),
        ("Möbel", "moebel"),
        ("Mo\u0308bel", "moebel"),
        ("Électroménager", "electromenager"),
        ("Straße", "strasse"),
        ("Toys | Games / Fun > All", "toys-games-fun-all"),
        ("a" * 60, "a" * 60),
    ],
)
def test_readable_names_stay_readable(name: str, slug: str) -> None:
    assert slugify(name) == slug


@pytest.mark.parametrize("name", ["Книги PS5", "книги", "---", "", "Unlabelled", "x" * 200, "日本 10"])
def test_what_gets_lost_is_kept_apart_by_a_hash(name: str) -> None:
    assert re.search(r"-[0-9a-f]{8}$", slugify(name))


def test_names_in_other_scripts_do_not_collide() -> None:
    names = ["Книги PS5", "Игры PS5", "книги", "игры", "日本", "x" * 200, "x" * 201]
    assert len({slugify(name) for name in names}) == len(names)


@given(st.text(max_size=250))
def test_a_slug_is_a_partition_key(name: str) -> None:
    slug = slugify(name)
    assert re.fullmatch(r"[a-z0-9-]+", slug)
    assert len(slug) <= SLUG_MAX_CHARS
    assert slug != UNLABELLED
    assert slugify(name) == slug
