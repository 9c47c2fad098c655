"""What products are called: words per language, and brands, product lines and model prefixes per category.

Arrays are indexed by category number `k` (the vocabulary's order) and brand slot `s`. Everything is drawn from the
seed over the whole vocabulary, so a market of two departments calls their products what a market of all does.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sortiment.market.coining import coin_words
from sortiment.market.vocabulary import LANGUAGES, Vocabulary

BRANDS_PER_CATEGORY = 12
KNOWN_BRANDS_PER_CATEGORY = 7
SMALL_BRANDS_PER_DEPARTMENT = 25
LINES_PER_BRAND = 3
WORDS_PER_CATEGORY = 4
LINE_SUFFIXES = (
    "",
    "",
    "",
    "",
    " Pro",
    " Plus",
    " Max",
    " Lite",
    " Mini",
    " XL",
    " Eco",
    " 2",
    " 3",
    " S",
    " Neo",
    " One",
)
CODE_LETTERS = "ABCDEFGHKLMNPRSTVWXZ"

Texts = NDArray[np.object_]
Numbers = NDArray[np.int64]

LEXICON_STREAM = 11


@dataclass(frozen=True)
class Lexicon:
    """brand (k, s), line (k, s, LINES_PER_BRAND), code_prefix (k, s): text; word (language, k, WORDS_PER_CATEGORY):
    text, of which the first `word_count[language, k]` are there."""

    brand: Texts
    line: Texts
    code_prefix: Texts
    word: Texts
    word_count: Numbers


def build_lexicon(vocabulary: Vocabulary, seed: int) -> Lexicon:
    """What the market calls its products on a usual day."""
    rng = np.random.default_rng([seed, LEXICON_STREAM])
    categories = vocabulary.categories
    shape = (len(categories), BRANDS_PER_CATEGORY)
    brand = np.empty(shape, dtype=object)
    for department in vocabulary.departments:
        small = np.array(coin_words(rng, SMALL_BRANDS_PER_DEPARTMENT), dtype=object)
        known = np.array(department.brands, dtype=object)
        for k, category in enumerate(categories):
            if category.department == department.id:
                first = rng.permutation(known)[:KNOWN_BRANDS_PER_CATEGORY]
                brand[k] = np.concatenate([first, rng.permutation(small)[: BRANDS_PER_CATEGORY - len(first)]])
    lines = coin_words(rng, len(categories) * BRANDS_PER_CATEGORY * LINES_PER_BRAND)
    word = np.full((len(LANGUAGES), len(categories), WORDS_PER_CATEGORY), "", dtype=object)
    word_count = np.zeros((len(LANGUAGES), len(categories)), dtype=np.int64)
    for language, name in enumerate(LANGUAGES):
        for k, category in enumerate(categories):
            words = category.words[name][:WORDS_PER_CATEGORY]
            word[language, k, : len(words)] = words
            word_count[language, k] = len(words)
    return Lexicon(
        brand=brand,
        line=np.array(lines, dtype=object).reshape(*shape, LINES_PER_BRAND),
        code_prefix=_draw_code_prefixes(rng, shape),
        word=word,
        word_count=word_count,
    )


def renew_lexicon(lexicon: Lexicon, categories: Numbers, language: str, seed: int) -> Lexicon:
    """The lexicon in which the given categories have new words (in one language), brands, lines and model prefixes."""
    rng = np.random.default_rng([seed, LEXICON_STREAM, 1])
    brand, line = lexicon.brand.copy(), lexicon.line.copy()
    code_prefix, word = lexicon.code_prefix.copy(), lexicon.word.copy()
    language_number = LANGUAGES.index(language)
    brands = np.array(coin_words(rng, 3 * BRANDS_PER_CATEGORY), dtype=object)
    shape = (len(categories), BRANDS_PER_CATEGORY)
    for k in categories:
        brand[k] = rng.permutation(brands)[:BRANDS_PER_CATEGORY]
        count = int(lexicon.word_count[language_number, k])
        word[language_number, k, :count] = [each.lower() for each in coin_words(rng, count, syllables=(3, 3))]
    line[categories] = np.array(coin_words(rng, shape[0] * shape[1] * LINES_PER_BRAND), dtype=object).reshape(
        *shape, LINES_PER_BRAND
    )
    code_prefix[categories] = _draw_code_prefixes(rng, shape)
    return replace(lexicon, brand=brand, line=line, code_prefix=code_prefix, word=word)


def _draw_code_prefixes(rng: np.random.Generator, shape: tuple[int, int]) -> Texts:
    """One to three letters, as makers put before a model number."""
    letters = rng.integers(0, len(CODE_LETTERS), size=(*shape, 3))
    lengths = rng.integers(1, 4, size=shape)
    prefixes = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        prefixes[at] = "".join(CODE_LETTERS[letter] for letter in letters[at][: lengths[at]])
    return prefixes
