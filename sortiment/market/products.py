"""Products: what several shops sell under one product id, before any shop has named it.

A product is a row of small numbers: brand slot, line, model number, colour, measures. Titles turn them into text in
the language of whoever sells it, so one product looks alike, and never the same, in twenty shops and five languages.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortiment.market.lexicon import (
    BRANDS_PER_CATEGORY,
    LINE_SUFFIXES,
    LINES_PER_BRAND,
    Lexicon,
    Numbers,
    Texts,
)
from sortiment.market.vocabulary import Vocabulary

MEASURES_PER_PRODUCT = 3
FEATURES = 8
GTIN_SHARE = 0.85
IN_STORE_PREFIX = 2  # GTIN-13 numbers that start with 2 are for in-store use: no real product has one
FAVORITE_WORD = (0.55, 0.25, 0.15, 0.05)


@dataclass(frozen=True)
class Products:
    """One entry per product. -1 means that the product has no such property.

    category, slot, line, suffix, code (digits of the model number), code_style, word (its favorite word), colour,
    material, feature, second_feature, measure (n, MEASURES_PER_PRODUCT: the value's place in the measure's list),
    target (n, 3: brand slot, line, code of the product that it fits), price_eur; id and gtin are text, '' = none.
    """

    category: Numbers
    slot: Numbers
    line: Numbers
    suffix: Numbers
    code: Numbers
    code_style: Numbers
    word: Numbers
    colour: Numbers
    material: Numbers
    feature: Numbers
    second_feature: Numbers
    measure: Numbers
    target: Numbers
    price_eur: NDArray[np.float64]
    id: Texts
    gtin: Texts


def draw_products(
    rng: np.random.Generator, category: Numbers, vocabulary: Vocabulary, lexicon: Lexicon, first_id: int
) -> Products:
    """One product per entry of `category`; ids count up from `first_id`."""
    count = len(category)
    categories = vocabulary.categories
    colours, materials = len(vocabulary.colours["en"]), len(vocabulary.materials["en"])
    has_colour = np.array([each.has_colour for each in categories])[category]
    has_material = np.array([each.has_material for each in categories])[category]
    code_share = np.array([vocabulary.department_of(each).code_share for each in categories])[category]
    low, high = np.array([each.price for each in categories])[category].T
    position = rng.beta(1.3, 2.2, size=count)
    word = rng.choice(len(FAVORITE_WORD), size=count, p=FAVORITE_WORD) % lexicon.word_count[0, category]
    number = np.arange(first_id, first_id + count)
    return Products(
        category=category,
        slot=_zipf_slots(rng, count),
        line=rng.integers(0, LINES_PER_BRAND, size=count),
        suffix=rng.integers(0, len(LINE_SUFFIXES), size=count),
        code=np.where(rng.random(count) < code_share, rng.integers(10, 10_000, size=count), -1),
        code_style=rng.integers(0, 3, size=count),
        word=word,
        colour=np.where(has_colour, rng.integers(0, colours, size=count), -1),
        material=np.where(has_material, rng.integers(0, materials, size=count), -1),
        feature=rng.integers(0, FEATURES, size=count),
        second_feature=rng.integers(0, FEATURES, size=count),
        measure=_draw_measures(rng, category, vocabulary),
        target=np.column_stack(
            [
                _zipf_slots(rng, count),
                rng.integers(0, LINES_PER_BRAND, size=count),
                rng.integers(10, 10_000, size=count),
            ]
        ),
        price_eur=np.exp(np.log(low) + position * (np.log(high) - np.log(low))),
        id=np.array([f"synthetic-{each:08d}" for each in number], dtype=object),
        gtin=_gtins(rng, number),
    )


def measure_texts(vocabulary: Vocabulary, language: str) -> tuple[Texts, Numbers]:
    """Every measure's values in one language after another, and where each category's measures begin.

    Returns (texts, start): `texts[start[k, place] + value]`; start is -1 where a category has fewer measures.
    """
    texts: list[str] = []
    begin: dict[str, int] = {}
    for name, values in vocabulary.measures.items():
        begin[name] = len(texts)
        texts.extend(values[language])
    start = np.full((len(vocabulary.categories), MEASURES_PER_PRODUCT), -1, dtype=np.int64)
    for k, category in enumerate(vocabulary.categories):
        for place, name in enumerate(category.measures[:MEASURES_PER_PRODUCT]):
            start[k, place] = begin[name]
    return np.array(texts, dtype=object), start


def _draw_measures(rng: np.random.Generator, category: Numbers, vocabulary: Vocabulary) -> Numbers:
    sizes = np.zeros((len(vocabulary.categories), MEASURES_PER_PRODUCT), dtype=np.int64)
    for k, each in enumerate(vocabulary.categories):
        for place, name in enumerate(each.measures[:MEASURES_PER_PRODUCT]):
            sizes[k, place] = len(vocabulary.measures[name]["en"])
    size = sizes[category]
    drawn = (rng.random((len(category), MEASURES_PER_PRODUCT)) * size).astype(np.int64)
    return np.where(size > 0, drawn, -1)


def _zipf_slots(rng: np.random.Generator, count: int) -> Numbers:
    """Brand slots: the first brand of a category sells most."""
    weight = 1 / (np.arange(BRANDS_PER_CATEGORY) + 1.5)
    edges = np.cumsum(weight / weight.sum())
    return np.minimum(np.searchsorted(edges, rng.random(count)), BRANDS_PER_CATEGORY - 1)


def _gtins(rng: np.random.Generator, number: Numbers) -> Texts:
    """A GTIN-13 with its check digit for most products, '' for the others."""
    digits = np.empty((len(number), 13), dtype=np.int64)
    digits[:, 0] = IN_STORE_PREFIX
    spread = (number * 7_919 + 104_729) % 10**11  # one to one: 7,919 has no factor of 10
    for place in range(11):
        digits[:, 11 - place] = spread // 10**place % 10
    weights = np.array([1, 3] * 6)
    digits[:, 12] = -(digits[:, :12] @ weights) % 10
    has = rng.random(len(number)) < GTIN_SHARE
    return np.array(
        ["".join(map(str, row)) if there else "" for row, there in zip(digits.tolist(), has, strict=True)], dtype=object
    )
