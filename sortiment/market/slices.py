"""One country and department of one day: products spread over shops, labels with their errors, prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sortiment.market.lexicon import Numbers, Texts
from sortiment.market.products import Products
from sortiment.market.shops import Shop, shop_weights
from sortiment.market.titles import Wording, Written, write_offers
from sortiment.market.vocabulary import Vocabulary
from sortiment.settings import MarketSettings

NEIGHBOR_SHARE = 0.7  # of wrong labels that stay within the category's group
CURRENCIES = {"GB": ("GBP", 0.86)}  # and its units per euro; every other country pays in EUR
PRICE_ENDINGS = np.array([0.99, 0.95, 0.9, 0.0, 0.49])
FEED_HOURS = 4
SAYS_CATEGORY_SHARE = 0.7
VAGUE_SHARE = 0.25  # of shops' own categories that name only the department, or nothing

OFFER_SCHEMA = pa.schema(
    [
        ("country", pa.string()),
        ("shop_id", pa.string()),
        ("offer_id", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("description", pa.string()),
        ("gtin", pa.string()),
        ("shop_category", pa.string()),
        ("price", pa.float64()),
        ("currency", pa.string()),
        ("label_id", pa.string()),
        ("category_id", pa.string()),
        ("product_id", pa.string()),
        ("observed_at", pa.timestamp("s")),
        ("wrong_label", pa.bool_()),
        ("scenario", pa.string()),
    ]
)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """What the offers of one country, department and day share.

    active: numbers of the categories that a wrong label may name. scenario: the drift's name, NULL in the offers that
    it left alone.
    """

    settings: MarketSettings
    vocabulary: Vocabulary
    department: str
    products: Products
    active: Numbers
    scenario: str | None
    id_prefix: str
    midnight: datetime


@dataclass(frozen=True)
class SliceRows:
    """One entry per offer of the slice.

    category: the truth. product: row of the products. shop: place in the slice's shops. label: the shop's category,
    -1 = none. number: for the offer id. drifted: whether the slice's drift changed it.
    """

    category: Numbers
    product: Numbers
    shop: Numbers
    label: Numbers
    number: Numbers
    drifted: Mask

    def take(self, rows: Mask) -> "SliceRows":
        return SliceRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def draw_rows(rng: np.random.Generator, here: Slice, category: Numbers, shops: Sequence[Shop]) -> SliceRows:
    """Offers of the given categories: which product, which shop, which label. No row has drifted yet."""
    settings = here.settings
    count = len(category)
    first = np.searchsorted(here.products.category, category, side="left")
    pool = np.searchsorted(here.products.category, category, side="right") - first
    product = first + (rng.random(count) * pool).astype(np.int64)
    shop = rng.choice(len(shops), size=count, p=shop_weights(shops, [here.department])[0])
    label = np.where(rng.random(count) < settings.unlabelled_share, -1, category)
    wrong = (label >= 0) & (rng.random(count) < settings.wrong_label_share)
    label[wrong] = _mistake(rng, category[wrong], here.vocabulary, here.active)
    return SliceRows(category, product, shop, label, np.arange(count), np.zeros(count, dtype=bool))


def write_rows(rng: np.random.Generator, here: Slice, rows: SliceRows, shop: Shop, wording: Wording) -> pa.Table:
    """One shop's offers of a slice as OFFER_SCHEMA."""
    vocabulary, products = here.vocabulary, here.products
    written = write_offers(rng, products, rows.product, shop.style, wording, settings=here.settings)
    currency, rate = CURRENCIES.get(shop.country, ("EUR", 1.0))
    ids = [each.id for each in vocabulary.categories]
    department = vocabulary.categories[rows.category[0]].path[wording.language][0]
    seconds = rng.integers(0, FEED_HOURS * 3600, size=len(rows.product))
    columns: dict[str, object] = {
        "country": [shop.country] * len(seconds),
        "shop_id": [shop.id] * len(seconds),
        "offer_id": [f"{here.id_prefix}{number:07d}" for number in rows.number],
        "title": written.title,
        "brand": _or_null(written.brand),
        "description": written.description if shop.describes else [None] * len(seconds),
        "gtin": _or_null(products.gtin[rows.product]),
        "shop_category": _shop_categories(rng, shop, written, department, vocabulary.buckets[wording.language]),
        "price": _prices(rng, products.price_eur[rows.product] * rate),
        "currency": [currency] * len(seconds),
        "label_id": [ids[label] if label >= 0 else None for label in rows.label.tolist()],
        "category_id": [ids[category] for category in rows.category.tolist()],
        "product_id": products.id[rows.product],
        "observed_at": np.datetime64(here.midnight, "s") + seconds.astype("timedelta64[s]"),
        "wrong_label": (rows.label >= 0) & (rows.label != rows.category),
        "scenario": [here.scenario if drifted else None for drifted in rows.drifted.tolist()],
    }
    return pa.table([pa.array(columns[field.name], type=field.type) for field in OFFER_SCHEMA], schema=OFFER_SCHEMA)


def _mistake(rng: np.random.Generator, category: Numbers, vocabulary: Vocabulary, active: Numbers) -> Numbers:
    """Another category for each: mostly a neighbor of its group, else any that the market uses."""
    groups = np.array([f"{each.department}/{each.group}" for each in vocabulary.categories])
    mistakes = np.empty_like(category)
    for at, k in enumerate(category):
        others = active[active != k]
        neighbors = others[groups[others] == groups[k]]
        near = len(neighbors) > 0 and rng.random() < NEIGHBOR_SHARE
        mistakes[at] = rng.choice(neighbors if near else others)
    return mistakes


def _shop_categories(
    rng: np.random.Generator, shop: Shop, written: Written, department: str, buckets: Sequence[str]
) -> list[str | None]:
    """The shop's own words for its shelf: the product's word, only the department, a bucket, or nothing."""
    count = len(written.word)
    bucket = [buckets[at] for at in rng.integers(0, len(buckets), size=count)]
    own = [word[:1].upper() + word[1:] for word in written.word]
    vague = rng.random(count) < VAGUE_SHARE
    said = {
        "own": np.where(vague, department, own),
        "department": np.where(vague, bucket, department),
        "bucket": np.array(bucket, dtype=object),
        "none": np.full(count, None, dtype=object),
    }[shop.category_words]
    says = rng.random(count) < SAYS_CATEGORY_SHARE
    return [text if there else None for text, there in zip(said.tolist(), says, strict=True)]


def _prices(rng: np.random.Generator, amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shops differ by a tenth or so, and like their endings."""
    whole = np.floor(amounts * np.exp(rng.normal(0, 0.1, size=len(amounts))))
    prices: NDArray[np.float64] = np.round(np.maximum(whole, 0) + rng.choice(PRICE_ENDINGS, size=len(amounts)), 2)
    return np.maximum(prices, 0.49)


def _or_null(texts: Texts) -> list[str | None]:
    return [text or None for text in texts.tolist()]
