"""Shops: how big, what they sell, and how each writes its titles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortiment.settings import MarketSettings

SHOPS_STREAM = 12
GENERALISTS = 2  # per country; they sell everything, so every department has a shop
SPECIALIST_SHARE = 0.7
ORDERS = (
    "brand line code word",
    "brand word line code",
    "word brand line code",
    "word / brand line code",
    "line code word / brand",
)
SEPARATORS = (" ", " ", ", ", " - ", " | ", " / ")
CASES = ("as is", "as is", "sentence", "sentence", "title", "upper")
OWN_STYLE_NUMBER = 900


@dataclass(frozen=True)
class ShopStyle:
    """How a shop writes. Shares are probabilities per title.

    order: the parts before the details; ' / ' marks where the shop puts its separator. case: as is | sentence |
    title | upper. max_chars: cuts longer titles. escapes: writes HTML entities. abbreviates: shortens words and puts
    an article number first.
    """

    order: str
    separator: str
    case: str
    drops_brand: float
    first_word: float
    junk: float
    detail: float
    max_chars: int | None
    escapes: bool
    abbreviates: bool = False


@dataclass(frozen=True)
class Shop:
    """departments: ids that it sells. category_words: what is in `shop_category` (own | department | bucket | none)."""

    id: str
    country: str
    weight: float
    departments: frozenset[str]
    category_words: str
    describes: bool
    style: ShopStyle


def draw_shops(settings: MarketSettings, departments: Sequence[str]) -> tuple[Shop, ...]:
    """Every shop of the market. A country's shops do not depend on which other countries are there."""
    shops = []
    for country in ("DE", "AT", "ES", "IT", "FR", "GB"):
        if country not in settings.countries:
            continue
        rng = np.random.default_rng([settings.seed, SHOPS_STREAM, *country.encode()])
        for number in range(settings.shops_per_country):
            everything = number < GENERALISTS or rng.random() > SPECIALIST_SHARE
            chosen = rng.random(len(departments)) < 0.3
            sells = [each for each, picked in zip(departments, chosen, strict=True) if everything or picked]
            shops.append(
                Shop(
                    id=f"synthetic-shop-{country.lower()}-{number + 1:03d}",
                    country=country,
                    weight=1 / (number + 1.5),
                    departments=frozenset(sells or departments),
                    category_words=str(rng.choice(["none", "own", "own", "department", "bucket"])),
                    describes=bool(rng.random() < 0.6),
                    style=_draw_style(rng, settings),
                )
            )
    return tuple(shops)


def shop_with_own_style(country: str, departments: frozenset[str]) -> Shop:
    """The shop of the drift scenario `shop_style`: article numbers, shortened words, capitals, the maker last."""
    style = ShopStyle(
        order="word / line code / brand",
        separator=" ",
        case="upper",
        drops_brand=0.6,
        first_word=0.0,
        junk=0.0,
        detail=0.5,
        max_chars=44,
        escapes=False,
        abbreviates=True,
    )
    return Shop(
        id=f"synthetic-shop-{country.lower()}-{OWN_STYLE_NUMBER}",
        country=country,
        weight=1.0,
        departments=departments,
        category_words="none",
        describes=False,
        style=style,
    )


def _draw_style(rng: np.random.Generator, settings: MarketSettings) -> ShopStyle:
    cut = rng.random() < 0.15
    return ShopStyle(
        order=str(rng.choice(ORDERS)),
        separator=str(rng.choice(SEPARATORS)),
        case=str(rng.choice(CASES)),
        drops_brand=float(np.clip(settings.missing_brand_share * rng.gamma(1.5, 1 / 1.5), 0, 0.9)),
        first_word=float(rng.uniform(0, 0.4)),
        junk=float(rng.choice([0.0, 0.0, 0.1, 0.3])),
        detail=float(rng.uniform(0.35, 0.85)),
        max_chars=int(rng.integers(42, 70)) if cut else None,
        escapes=bool(rng.random() < 0.25),
    )


def shop_weights(shops: Sequence[Shop], departments: Sequence[str]) -> NDArray[np.float64]:
    """(departments, shops): probability that an offer of a department is from the shop."""
    weights = np.array([[shop.weight * (each in shop.departments) for shop in shops] for each in departments])
    probabilities: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return probabilities
