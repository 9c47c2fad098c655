"""How many offers of each category each country has: Zipf-like, with a rare tail and reserved categories at zero."""

import numpy as np
from numpy.typing import NDArray

from sortiment.market.lexicon import Numbers
from sortiment.market.vocabulary import Vocabulary
from sortiment.settings import MarketSettings

AMOUNTS_STREAM = 13
COUNTRY_SIZE = {"DE": 0.28, "AT": 0.08, "ES": 0.12, "IT": 0.14, "FR": 0.18, "GB": 0.20}
COUNTRY_TASTE = 0.5  # standard deviation of a country's log preference for a category
RARE_MOST = 5
LARGEST_RARE_SHARE = 0.25  # of the categories that have offers
ZIPF_SHIFT = 3.0  # flattens the head: the largest category is not a fifth of the market

Shares = NDArray[np.float64]


def active_categories(settings: MarketSettings, vocabulary: Vocabulary) -> Numbers:
    """Numbers of the categories that have offers on the first day."""
    for department in settings.departments or ():
        vocabulary.check_department(department)
    chosen = set(settings.departments or [department.id for department in vocabulary.departments])
    categories = enumerate(vocabulary.categories)
    return np.array([k for k, each in categories if each.department in chosen and not each.reserved])


def rare_categories(settings: MarketSettings, vocabulary: Vocabulary) -> Numbers:
    """Numbers of the categories with 1 to 5 offers in all, spread over the departments."""
    rng = np.random.default_rng([settings.seed, AMOUNTS_STREAM, 1])
    active = active_categories(settings, vocabulary)
    taken: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for k in rng.permutation(active).tolist():
        department = vocabulary.categories[k].department
        turns.append((taken.get(department, 0), len(turns), k))
        taken[department] = taken.get(department, 0) + 1
    count = min(settings.rare_categories, int(len(active) * LARGEST_RARE_SHARE))
    return np.array(sorted(k for _, _, k in sorted(turns)[:count]), dtype=np.int64)


def category_shares(settings: MarketSettings, vocabulary: Vocabulary) -> Shares:
    """(countries, categories), summing to 1: the usual mix; rare and reserved categories have 0."""
    rng = np.random.default_rng([settings.seed, AMOUNTS_STREAM])
    active = np.setdiff1d(active_categories(settings, vocabulary), rare_categories(settings, vocabulary))
    size = 1 / (rng.permutation(len(active)) + ZIPF_SHIFT) ** settings.zipf_exponent
    shares = np.zeros((len(settings.countries), len(vocabulary.categories)))
    for row, country in enumerate(settings.countries):
        taste = np.random.default_rng([settings.seed, AMOUNTS_STREAM, *country.encode()])
        liking = np.exp(taste.normal(0, COUNTRY_TASTE, size=len(active)))
        shares[row, active] = COUNTRY_SIZE[country] * size * liking / (size * liking).sum()
    normalized: Shares = shares / shares.sum()
    return normalized


def first_day_amounts(settings: MarketSettings, vocabulary: Vocabulary) -> Numbers:
    """(countries, categories): whole offers, `settings.offers` in all."""
    rng = np.random.default_rng([settings.seed, AMOUNTS_STREAM, 2])
    amounts = np.zeros((len(settings.countries), len(vocabulary.categories)), dtype=np.int64)
    for k in rare_categories(settings, vocabulary):
        total = int(rng.integers(1, RARE_MOST + 1))
        np.add.at(amounts[:, k], rng.integers(0, len(settings.countries), size=total), 1)
    return amounts + allocate(category_shares(settings, vocabulary), settings.offers - int(amounts.sum()))


def allocate(shares: Shares, total: int) -> Numbers:
    """Whole numbers in proportion to `shares` that sum to `total` (largest remainders first)."""
    exact = shares / shares.sum() * total
    amounts: Numbers = np.floor(exact).astype(np.int64)
    missing = total - int(amounts.sum())
    flat = amounts.reshape(-1)
    flat[np.argsort(-(exact - amounts).reshape(-1), kind="stable")[:missing]] += 1
    return amounts
