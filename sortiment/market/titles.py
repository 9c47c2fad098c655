"""Titles: one product, as one shop writes it.

The parts (brand, line and model number, the word, what it fits, details) are drawn as columns; each row then joins
what it has in the shop's order, and the shop's habits and typing errors are laid over it.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortiment.market.lexicon import LINE_SUFFIXES, Lexicon, Numbers, Texts
from sortiment.market.noise import abbreviate_words, add_double_spaces, add_typos
from sortiment.market.products import MEASURES_PER_PRODUCT, Products, measure_texts
from sortiment.market.shops import ShopStyle
from sortiment.market.vocabulary import LANGUAGES, Vocabulary
from sortiment.settings import MarketSettings

LINE_SHARE = 0.8
CODE_SHARE = 0.8
FITS_SHARE = 0.6
SECOND_FEATURE_SHARE = 0.25
DOUBLE_SPACE_SHARE = 0.03
MAX_DETAILS = 3
OTHER_WORD_SHARE = 0.1

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Wording:
    """The words of one language, as arrays that a product's numbers index."""

    language: str
    lexicon: Lexicon
    measure: Texts
    measure_start: Numbers
    colour: Texts
    material: Texts
    feature: Texts
    target: Numbers
    joiner: Texts
    junk: Texts
    description: str


def gather_wording(vocabulary: Vocabulary, lexicon: Lexicon, language: str) -> Wording:
    """What titles of a language are made of. feature is (category, n); target is what k's products fit, or -1."""
    numbers = {category.id: k for k, category in enumerate(vocabulary.categories)}
    features = {department.id: department.features[language] for department in vocabulary.departments}
    measure, start = measure_texts(vocabulary, language)
    return Wording(
        language=language,
        lexicon=lexicon,
        measure=measure,
        measure_start=start,
        colour=_texts(vocabulary.colours[language]),
        material=_texts(vocabulary.materials[language]),
        feature=np.array([features[category.department] for category in vocabulary.categories], dtype=object),
        target=np.array([numbers[category.fits] if category.fits else -1 for category in vocabulary.categories]),
        joiner=_texts(vocabulary.joiners[language]),
        junk=_texts(vocabulary.junk[language]),
        description=vocabulary.descriptions[language],
    )


@dataclass(frozen=True)
class Written:
    """Per row: the title, the brand column ('' where the shop gives none), the description, the product's own word."""

    title: Texts
    brand: Texts
    description: Texts
    word: Texts


def write_offers(
    rng: np.random.Generator,
    products: Products,
    rows: Numbers,
    style: ShopStyle,
    wording: Wording,
    *,
    settings: MarketSettings,
) -> Written:
    """What one shop writes about the products at `rows`."""
    count = len(rows)
    category, slot = products.category[rows], products.slot[rows]
    lexicon = wording.lexicon
    brand = lexicon.brand[category, slot]
    line = lexicon.line[category, slot, products.line[rows]] + _texts(LINE_SUFFIXES)[products.suffix[rows]]
    code = _write_codes(lexicon.code_prefix[category, slot], products.code[rows], products.code_style[rows])
    word = _choose_words(rng, products, rows, style, wording)
    nameless = rng.random(count) < settings.nameless_share
    shows_brand = (rng.random(count) >= style.drops_brand) | nameless
    shows_line = (rng.random(count) < LINE_SHARE) | nameless
    shows_code = (rng.random(count) < CODE_SHARE) | nameless
    fits = _write_fits(rng, products, rows, wording)
    details = _write_details(rng, products, rows, style, wording)
    parts = {
        "brand": np.where(shows_brand, brand, ""),
        "line": np.where(shows_line, line, ""),
        "code": np.where(shows_code, code, ""),
        "word": np.where(nameless, "", _joined(" ", word, fits)),
        "/": np.full(count, "/", dtype=object),
    }
    columns = [parts[name].tolist() for name in style.order.split()]
    titles = [
        _assemble(head, more, style.separator)
        for head, more in zip(zip(*columns, strict=True), details.tolist(), strict=True)
    ]
    feature = wording.feature[category, products.feature[rows]]
    described = [
        wording.description.format(
            word=a.capitalize(), maker=f"{b} {c}".strip(), feature=d, detail=", ".join(filter(None, e))
        )
        for a, b, c, d, e in zip(word, brand, line, feature, details.tolist(), strict=True)
    ]
    return Written(
        title=_texts(_apply_habits(rng, titles, style, wording, settings)),
        brand=np.where(rng.random(count) < style.drops_brand, "", brand),
        description=_texts(described),
        word=word,
    )


def _choose_words(
    rng: np.random.Generator, products: Products, rows: Numbers, style: ShopStyle, wording: Wording
) -> Texts:
    """Mostly the product's favorite word; some shops say the category's first word for everything."""
    lexicon, language = wording.lexicon, LANGUAGES.index(wording.language)
    category = products.category[rows]
    available = lexicon.word_count[language, category]
    chosen = np.where(rng.random(len(rows)) < style.first_word, 0, products.word[rows])
    other = rng.integers(0, 1_000, size=len(rows))
    chosen = np.where(rng.random(len(rows)) < OTHER_WORD_SHARE, other, chosen)
    words: Texts = lexicon.word[language, category, chosen % available]
    return words


def _write_codes(prefix: Texts, digits: Numbers, code_style: Numbers) -> Texts:
    number = digits.astype(str).astype(object)
    written = np.where(
        code_style == 0, prefix + number, np.where(code_style == 1, prefix + "-" + number, number + prefix)
    )
    return np.where(digits < 0, "", written)


def _write_fits(rng: np.random.Generator, products: Products, rows: Numbers, wording: Wording) -> Texts:
    """'for Velora Tarmo Pro', or with the word of what it fits: what makes an accessory look like its neighbor."""
    count = len(rows)
    target = wording.target[products.category[rows]]
    has = (target >= 0) & (rng.random(count) < FITS_SHARE)
    joiner = wording.joiner[(rng.random(count) < 0.2).astype(np.int64)]
    lexicon, language = wording.lexicon, LANGUAGES.index(wording.language)
    slot, line, digits = products.target[rows].T
    brand, name = lexicon.brand[target, slot], lexicon.line[target, slot, line]
    code = lexicon.code_prefix[target, slot] + digits.astype(str).astype(object)
    word = lexicon.word[language, target, 0]
    kind = rng.integers(0, 4, size=count)
    model = np.where(kind == 0, brand + " " + name, np.where(kind == 1, brand + " " + code, name))
    written = joiner + " " + np.where(kind == 3, word, np.where(kind == 2, brand + " " + word, model))
    return np.where(has, written, "")


def _write_details(
    rng: np.random.Generator, products: Products, rows: Numbers, style: ShopStyle, wording: Wording
) -> Texts:
    """(rows, parts): '' where a part is not shown; the parts' order changes from row to row."""
    count = len(rows)
    category = products.category[rows]
    parts = []
    for place in range(MEASURES_PER_PRODUCT):
        value, start = products.measure[rows, place], wording.measure_start[category, place]
        parts.append(np.where(value >= 0, wording.measure[np.maximum(start + value, 0)], ""))
    parts.append(np.where(products.colour[rows] >= 0, wording.colour[products.colour[rows]], ""))
    parts.append(np.where(products.material[rows] >= 0, wording.material[products.material[rows]], ""))
    parts.append(wording.feature[category, products.feature[rows]])
    second = wording.feature[category, products.second_feature[rows]]
    keep_second = (products.second_feature[rows] != products.feature[rows]) & (rng.random(count) < SECOND_FEATURE_SHARE)
    parts.append(np.where(keep_second, second, ""))
    details = np.column_stack(parts)
    shown = rng.random(details.shape) < style.detail
    details = np.where(shown, details, "")
    order = np.argsort(rng.random(details.shape), axis=1)
    shuffled: Texts = np.take_along_axis(details, order, axis=1)
    return shuffled


def _assemble(head: Sequence[str], details: Sequence[str], separator: str) -> str:
    """'Brand Line X-12 word, detail, detail': a '/' in the head is the shop's separator."""
    blocks = [" ".join(part for part in block if part) for block in _split(head)]
    extra = [part for part in details if part][:MAX_DETAILS]
    return separator.join([block for block in blocks if block] + extra)


def _split(head: Sequence[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for part in head:
        if part == "/":
            blocks.append([])
        else:
            blocks[-1].append(part)
    return blocks


def _apply_habits(
    rng: np.random.Generator, titles: list[str], style: ShopStyle, wording: Wording, settings: MarketSettings
) -> list[str]:
    count = len(titles)
    if style.abbreviates:
        numbers = rng.integers(1_000, 9_999, size=count)
        titles = [f"ART.{number} {abbreviate_words(title)}" for number, title in zip(numbers, titles, strict=True)]
    titles = [_change_case(title, style.case) for title in titles]
    titles = add_typos(rng, titles, settings.typo_share)
    if style.max_chars is not None:
        titles = [_cut(title, style.max_chars) for title in titles]
    junk = wording.junk[rng.integers(0, len(wording.junk), size=count)]
    chance = rng.random(count)
    titles = [
        title
        if at >= style.junk
        else f"{extra} {title}"
        if at < style.junk / 4 and extra[0].isalpha()
        else f"{title} {extra}"
        for title, extra, at in zip(titles, junk, chance, strict=True)
    ]
    titles = add_double_spaces(rng, titles, DOUBLE_SPACE_SHARE)
    if style.escapes:
        titles = [html.escape(title).replace("  ", "&nbsp; ") for title in titles]
    return titles


def _change_case(title: str, case: str) -> str:
    if case == "upper":
        return title.upper()
    if case == "title":
        return " ".join(word[:1].upper() + word[1:] for word in title.split(" "))
    if case == "sentence":
        return title[:1].upper() + title[1:]
    return title


def _cut(title: str, max_chars: int) -> str:
    return title if len(title) <= max_chars else title[: max_chars - 3].rstrip() + "..."


def _joined(separator: str, first: Texts, second: Texts) -> Texts:
    return np.where(second == "", first, first + separator + second)


def _texts(values: Sequence[str]) -> Texts:
    texts = np.empty(len(values), dtype=object)
    texts[:] = values
    return texts
