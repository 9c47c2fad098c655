"""Titles made up of training offers' words."""

import numpy as np
import pytest

from sortiment.teacher.offers import Offers
from sortiment.teacher.transfer import draw_sources, make_transfer_titles, weigh_sources

TRAINED = [
    ("brass desk lamp with shade", "lamps", "GB"),
    ("small reading lamp", "lamps", "GB"),
    ("grüner tee lose 100 g", "tea", "DE"),
    ("matcha", "tea", "DE"),
    ("oolong blend gift box", None, "GB"),
]
HELD_OUT = [("zeppelin lamp", "lamps", "validation"), ("yacht tea", "tea", "test")]


def offers() -> Offers:
    count = len(TRAINED) + len(HELD_OUT)
    return Offers(
        keys=np.arange(count, dtype=np.uint64),
        texts=[text for text, _, _ in (*TRAINED, *HELD_OUT)],
        countries=[country for _, _, country in TRAINED] + ["GB"] * len(HELD_OUT),
        labels=[label for _, label, _ in (*TRAINED, *HELD_OUT)],
        split=np.array(["train"] * len(TRAINED) + [split for _, _, split in HELD_OUT], object),
        training_weight=np.ones(count, np.float32),
    )


def test_titles_are_made_of_training_offers_words_and_are_nobodys() -> None:
    made = make_transfer_titles(offers(), per_offer=20, seed=0)
    written = {text for text, _, _ in TRAINED}
    words = {word for text in written for word in text.split()}
    assert 40 < len(made) <= 20 * len(TRAINED)
    assert len(set(zip(made.texts, made.countries, strict=True))) == len(made)
    for text in made.texts:
        assert text
        assert text not in written
        assert set(text.split()) <= words
    assert {"GB", "DE"} == set(made.countries)


def test_a_title_names_the_offers_that_it_was_made_from() -> None:
    made = make_transfer_titles(offers(), per_offer=20, seed=0)
    assert len(made.sources) == len(made)
    for text, (first, second) in zip(made.texts, made.sources, strict=True):
        assert set(text.split()) <= set(f"{TRAINED[first][0]} {TRAINED[second][0]}".split())
    assert any(first != second for first, second in made.sources)


def test_a_title_may_hold_words_of_two_offers_and_its_words_may_stand_in_another_order() -> None:
    made = [text.split() for text in make_transfer_titles(offers(), per_offer=100, seed=0).texts]
    assert any({"brass", "desk"} & set(words) and "reading" in words for words in made)
    assert any({"brass", "desk"} & set(words) and {"tee", "g", "matcha", "box"} & set(words) for words in made)
    assert any(sorted(words) == ["lamp", "reading", "small"] for words in made)


def test_the_seed_decides_which_titles_are_made() -> None:
    first, again, other = (make_transfer_titles(offers(), 5, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.texts != other.texts


def test_nothing_is_made_where_nothing_is_asked_for_or_no_offer_is_for_training() -> None:
    assert len(make_transfer_titles(offers(), 0.0, 0)) == 0
    held_out = offers().take(np.arange(len(TRAINED), len(TRAINED) + len(HELD_OUT)))
    assert len(make_transfer_titles(held_out, 9.0, 0)) == 0


def test_small_categories_lend_more_titles_and_no_offer_more_than_most() -> None:
    count = 200
    texts = [f"{'rare' if row < 4 else 'common'}{row} alpha beta gamma delta epsilon zeta eta" for row in range(count)]
    labels = ["small" if row < 4 else "large" for row in range(count - 50)] + [None] * 50
    many = Offers(
        keys=np.arange(count, dtype=np.uint64),
        texts=texts,
        countries=["GB"] * count,
        labels=labels,
        split=np.array(["train"] * count, object),
        training_weight=np.ones(count, np.float32),
    )

    def shares(balance: float, most: int) -> tuple[float, float, int]:
        places = draw_sources(weigh_sources(labels, balance), 2_000, most, np.random.default_rng(0))
        times = np.bincount(places, minlength=count)
        return times[:4].mean(), times[4:150].mean(), int(times.max())

    assert shares(0.0, 1_000) == pytest.approx((10, 10, 10), abs=1)
    small, large, _ = shares(0.5, 1_000)
    assert small / large == pytest.approx((146 / 4) ** 0.5, rel=0.1)
    assert shares(0.5, 20)[2] == 20
    assert len(draw_sources(weigh_sources(labels, 0.5), 2_000, 10, np.random.default_rng(0))) == pytest.approx(
        2_000, abs=1
    )
    made = make_transfer_titles(many, 10, 0, balance=0.5)
    assert sum("rare" in text for text in made.texts) > 2 * 4 * 10


def test_without_a_label_all_offers_lend_alike() -> None:
    assert weigh_sources([None, None], 0.5).tolist() == [1, 1]
    assert draw_sources(np.zeros(0), 0, None, np.random.default_rng(0)) == []
