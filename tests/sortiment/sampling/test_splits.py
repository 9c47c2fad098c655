"""Splits: by product, stable, never empty where that can be helped, without near duplicates on both sides."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sortiment.sampling.near import find_near
from sortiment.sampling.reserve import Reserve
from sortiment.sampling.splits import SPLITS, TEST, TRAIN, VALIDATION, Split, side_of, split_offers
from sortiment.sampling.text_keys import key_offers, mix
from sortiment.sampling.verdicts import read_verdicts, write_verdicts
from sortiment.settings import SamplingSettings

SETTINGS = SamplingSettings()


def offers_of(titles: list[str], categories: list[int], products: list[str | None] | None = None) -> Reserve:
    count = len(titles)
    keys = key_offers(pa.array(titles), pa.array(products or [None] * count, pa.string()), pa.nulls(count, pa.string()))
    return Reserve(
        keys=np.arange(count, dtype=np.uint64),
        categories=np.array(categories, dtype=np.uint32),
        shops=np.ones(count, dtype=np.uint32),
        product=keys.product,
        gtin=keys.gtin,
        title=keys.title,
        group=keys.group,
        segment=np.zeros(count, dtype=np.uint16),
        row=np.arange(count, dtype=np.uint32),
        signature=keys.signature,
    )


def split(offers: Reserve, settings: SamplingSettings = SETTINGS) -> Split:
    return split_offers(offers, offers.categories != 0, settings)


def unlike_titles(count: int, salt: int = 0) -> list[str]:
    numbers = mix(np.arange(count * 3, dtype=np.uint64) + np.uint64(salt * 10_000_019))
    return [" ".join(f"{word:016x}" for word in numbers[3 * row : 3 * row + 3]) for row in range(count)]


def crowded_titles(count: int, generator: np.random.Generator) -> list[str]:
    """Titles of few words in any order, so that many nearly repeat many others."""
    words = [f"{word:08x}" for word in mix(np.arange(14, dtype=np.uint64)).tolist()]
    return [" ".join(generator.choice(words, 6)) if row % 2 else f"{words[row % 14]} case x" for row in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_verdicts_of_an_earlier_split_change_nothing(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    count, similarity = 3_000, SETTINGS.near_duplicate_similarity
    products = [f"P-{row}" if row < 40 else None for row in generator.integers(0, 400, count).tolist()]
    categories = generator.integers(0, 3, count).tolist()
    titles = crowded_titles(count, generator)
    earlier = offers_of(titles, categories, products)
    changed = [f"{title} new" if generator.random() < 0.05 else title for title in titles]
    now = offers_of(changed, categories, products).at(np.flatnonzero(generator.random(count) < 0.9))
    before = split(earlier.at(np.flatnonzero(generator.random(count) < 0.9)))
    write_verdicts(before.verdicts, similarity, tmp_path)
    read = read_verdicts(tmp_path, similarity)
    anew, carried = split(now), split_offers(now, now.categories != 0, SETTINGS, before=read)
    assert 0 < (~anew.kept).sum() < len(now)
    assert carried.kept.tolist() == anew.kept.tolist()
    for side in ("validation", "train"):
        assert carried.verdicts[side].near.tolist() == anew.verdicts[side].near.tolist()
    assert read_verdicts(tmp_path, similarity - 0.1) == {}


def test_shares_of_the_splits_are_those_asked_for() -> None:
    sides = split(offers_of(unlike_titles(20_000), [1] * 20_000)).sides
    shares = np.bincount(sides) / len(sides)
    assert SPLITS == ("train", "validation", "test")
    assert np.allclose(shares, [0.7, 0.1, 0.2], atol=0.015)


def test_an_offer_never_changes_sides_when_others_come_or_go() -> None:
    titles = unlike_titles(3_000)
    offers = offers_of(titles, [1] * 3_000)
    assert split(offers).sides[:1_000].tolist() == split(offers.at(np.arange(1_000))).sides.tolist()


def test_the_seed_does_not_move_an_offer() -> None:
    group = offers_of(unlike_titles(100), [1] * 100).group
    other = SETTINGS.model_copy(update={"seed": 9})
    assert side_of(group, SETTINGS).tolist() == side_of(group, other).tolist()


def test_offers_of_one_product_are_on_one_side() -> None:
    offers = offers_of(unlike_titles(3_000), [1] * 3_000, [f"P-{row // 3}" for row in range(3_000)])
    sides = split(offers).sides.reshape(-1, 3)
    assert (sides == sides[:, :1]).all()


def test_training_offers_that_nearly_repeat_a_test_offer_are_left_out_not_moved() -> None:
    base = [title[:30] for title in unlike_titles(400)]
    titles = [*base, *(f"{title} new" for title in base)]
    offers = offers_of(titles, [1] * 800)
    result = split(offers)
    assert result.sides.tolist() == side_of(offers.group, SETTINGS).tolist()
    first, second = result.sides[:400], result.sides[400:]
    straddling = (first != second) & result.kept[:400] & result.kept[400:]
    assert (first != second).any()
    assert not straddling.any()
    dropped = ~result.kept
    assert dropped.any()
    assert not (dropped & (result.sides == TEST)).any()


def test_near_duplicates_are_kept_when_asked() -> None:
    base = unlike_titles(400)
    offers = offers_of([*base, *(f"{title} new" for title in base)], [1] * 800)
    assert split(offers, SETTINGS.model_copy(update={"near_duplicates": "keep"})).kept.all()


def test_an_unlabelled_offer_is_training_and_left_out_when_it_repeats_a_test_offer() -> None:
    labelled = unlike_titles(500)
    offers = offers_of([*labelled, *labelled], [1] * 500 + [0] * 500)
    result = split(offers)
    assert (result.sides[500:] == TRAIN).all()
    assert (result.kept[500:] == (result.sides[:500] == TRAIN)).all()


def test_a_category_without_a_training_offer_lends_them_all_to_training() -> None:
    offers = offers_of(unlike_titles(300), list(range(1, 301)))
    result = split(offers)
    assert (result.sides == TRAIN).all()
    assert result.lent > 0


def test_where_every_training_offer_repeats_a_test_offer_the_test_offer_yields() -> None:
    base = [f"{title} mirrorless camera body kit" for title in unlike_titles(200)]
    offers = offers_of([*base, *(f"{title} x" for title in base)], [*range(1, 201), *range(1, 201)])
    result = split(offers)
    training = set(offers.categories[result.kept & (result.sides == TRAIN)].tolist())
    assert training == set(range(1, 201))


def test_a_category_whose_titles_are_all_alike_is_learned_not_tested() -> None:
    """Phone cases: many models and colours in one template, so that nearly every title is near one of another side."""
    parts = [(model, brand, colour) for model in range(30) for brand in range(6) for colour in range(12)]
    cases = [
        f"Protective silicone case for phone model X{one} by brand {two} colour {three}" for one, two, three in parts
    ]
    others = [f"{title[:40]} camera" for title in unlike_titles(400)]
    categories = [1] * len(cases) + [2] * len(others)
    result = split(offers_of([*cases, *others], categories))
    training = np.array(result.sides) == TRAIN
    mine = np.array(categories) == 1
    drawn, kept = (training & mine).sum(), (training & mine & result.kept).sum()
    assert (kept, result.alike) == (drawn, drawn)
    assert 0.5 < drawn / mine.sum() < 0.9
    held_out = offers_of([*cases, *others], categories).at(np.flatnonzero(~training & result.kept))
    learned = offers_of([*cases, *others], categories).at(np.flatnonzero(training & mine))
    assert not find_near(held_out, learned, SETTINGS.near_duplicate_similarity, 1).near.any()
    assert (~training & ~mine & result.kept).sum() > 80, "the other category is tested as before"


def test_what_is_lent_leaves_no_split_empty_where_others_can_fill_it() -> None:
    """The only offers that fall to test and validation are their categories' only ones."""
    titles = unlike_titles(400)
    sides = split(offers_of(titles, [1] * 400)).sides
    training = [title for title, side in zip(titles, sides, strict=True) if side == TRAIN][:40]
    rare = [titles[np.flatnonzero(sides == side)[0]] for side in (TEST, VALIDATION)]
    result = split(offers_of([*training, *rare], [1] * 40 + [2, 3]))
    assert (result.lent, result.moved) == (2, 2)
    assert np.bincount(result.sides).tolist() == [40, 1, 1]
    assert (result.sides[-2:] == TRAIN).all()


def test_a_small_country_has_all_three_splits_where_it_can() -> None:
    for salt in range(20):
        offers = offers_of(unlike_titles(6, salt), [1] * 6)
        assert set(split(offers).sides.tolist()) == {TRAIN, VALIDATION, TEST}


def test_a_country_with_one_offer_trains_on_it() -> None:
    result = split(offers_of(["a mug"], [1]))
    assert result.sides.tolist() == [TRAIN]
    assert result.kept.all()


def test_shares_of_zero_leave_a_split_empty() -> None:
    everything = SETTINGS.model_copy(update={"test_share": 0.0, "validation_share": 0.0})
    assert (split(offers_of(unlike_titles(500), [1] * 500), everything).sides == TRAIN).all()


def test_no_offers_at_all_can_be_split() -> None:
    empty = offers_of(["x"], [1]).at(np.empty(0, dtype=np.int64))
    assert len(split(empty).sides) == 0
