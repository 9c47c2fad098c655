"""Titles made up of training offers' words."""

import numpy as np

from sortiment.teacher.offers import Offers
from sortiment.teacher.transfer import make_transfer_titles

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
