"""One day's offers in every country and department, and the drift of one slice.

Every slice is drawn from its own seed. So a drift changes no byte of another slice, and the same day with and without
it can be compared.
"""

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sortiment.errors import SettingsError
from sortiment.market.amounts import active_categories, allocate, category_shares, first_day_amounts
from sortiment.market.lexicon import Lexicon, Numbers, build_lexicon, renew_lexicon
from sortiment.market.products import Products, draw_products
from sortiment.market.shops import Shop, draw_shops, shop_with_own_style
from sortiment.market.slices import OFFER_SCHEMA, Slice, SliceRows, draw_rows, write_rows
from sortiment.market.titles import Wording, gather_wording
from sortiment.market.vocabulary import LANGUAGE_OF, Vocabulary, load_vocabulary
from sortiment.progress import Progress, silent
from sortiment.settings import MarketSettings

Scenario = Literal["none", "new_vocabulary", "new_category", "shop_style", "shifted_mix"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

DAY_STREAM = 14
DRIFTED_SHARE = 0.9  # of the slice's offers; a drift rarely takes everything
NEW_CATEGORY_SHARE = 0.5
SHIFTED_MIX_EXPONENT = 1.5  # the smallest category becomes the largest, by far
IDS_PER_DAY = 100_000_000


@dataclass(frozen=True)
class Drift:
    """What changes, and in which slice alone. 'none' gives the slice its second-day volume and changes nothing."""

    scenario: Scenario
    country: str
    department: str

    def hits(self, country: str, department: str) -> bool:
        return (self.country, self.department) == (country, department)


@dataclass(frozen=True)
class _Day:
    """What the slices of a day share. departments: ids of the market, in the vocabulary's order."""

    settings: MarketSettings
    vocabulary: Vocabulary
    lexicon: Lexicon
    departments: tuple[str, ...]
    shops: tuple[Shop, ...]
    number: int
    drift: Drift | None

    def rng(self, *purpose: str | int) -> np.random.Generator:
        words = "\x1f".join(str(each) for each in purpose)
        return np.random.default_rng([self.settings.seed, DAY_STREAM, self.number, *words.encode()])

    def within(self, department: str) -> NDArray[np.bool_]:
        return np.array([each.department == department for each in self.vocabulary.categories])

    def place(self, department: str) -> int:
        return [each.id for each in self.vocabulary.departments].index(department)


def draw_day(settings: MarketSettings, day: int, drift: Drift | None = None, progress: Progress = silent) -> pa.Table:
    """A day's offers (OFFER_SCHEMA), country by country, in the shuffled order of its feed.

    label_id is what the shop says (NULL = not labelled), category_id the truth; scenario is set where the drift
    changed the offer. Raises SettingsError for a slice or a scenario that the market does not have.
    """
    vocabulary = load_vocabulary()
    check_drift(drift, settings, vocabulary)
    departments = tuple(each.id for each in vocabulary.departments if each.id in (settings.departments or [each.id]))
    lexicon = build_lexicon(vocabulary, settings.seed)
    this = _Day(settings, vocabulary, lexicon, departments, draw_shops(settings, departments), day, drift)
    amounts = _draw_amounts(this)
    pools = {department: _draw_pool(this, department, amounts) for department in departments}
    countries = []
    with progress(f"synthetic offers, day {day}", total=int(amounts.sum())) as step:
        for row, country in enumerate(settings.countries):
            wording = gather_wording(vocabulary, lexicon, LANGUAGE_OF[country])
            slices = [OFFER_SCHEMA.empty_table()]
            for department in departments:
                slices.append(
                    _draw_slice(this, country, department, amounts[row], products=pools[department], wording=wording)
                )
                step.advance(len(slices[-1]), country)
            offers = pa.concat_tables(slices)
            countries.append(offers.take(this.rng(country, "order").permutation(len(offers))))
    return pa.concat_tables(countries).combine_chunks()


def check_drift(drift: Drift | None, settings: MarketSettings, vocabulary: Vocabulary) -> None:
    """Raises SettingsError where the drift's scenario, country or department is not one of this market."""
    if drift is None:
        return
    departments = settings.departments or tuple(each.id for each in vocabulary.departments)
    for what, value, allowed in (
        ("there is no such drift scenario", drift.scenario, SCENARIOS),
        ("the synthetic market has no such country", drift.country, settings.countries),
        ("the synthetic market has no such department", drift.department, departments),
    ):
        if value not in allowed:
            raise SettingsError(what, value=value, allowed=", ".join(allowed))


def _draw_amounts(this: _Day) -> Numbers:
    """(countries, categories). On the second day the drifting slice has more offers, in the drift's mix."""
    settings, drift = this.settings, this.drift
    if this.number == 1:
        return first_day_amounts(settings, this.vocabulary)
    shares = category_shares(settings, this.vocabulary)
    amounts = allocate(shares, settings.second_day_offers)
    if drift is None:
        return amounts
    row, inside = settings.countries.index(drift.country), this.within(drift.department)
    mix = np.where(inside, shares[row], 0.0)
    if drift.scenario == "shifted_mix":
        here = np.intersect1d(active_categories(settings, this.vocabulary), np.flatnonzero(inside))
        smallest_first = here[np.argsort(mix[here], kind="stable")]
        mix[smallest_first] = 1 / (np.arange(len(here)) + 1.0) ** SHIFTED_MIX_EXPONENT
    elif drift.scenario == "new_category":
        reserved = inside & np.array([each.reserved for each in this.vocabulary.categories])
        mix = (1 - NEW_CATEGORY_SHARE) * mix / mix.sum() + NEW_CATEGORY_SHARE * reserved / reserved.sum()
    total = int(amounts[row][inside].sum()) + settings.drifted_offers
    amounts[row] = np.where(inside, allocate(mix, total), amounts[row])
    return amounts


def _draw_pool(this: _Day, department: str, amounts: Numbers) -> Products:
    """The department's products, which all countries' shops sell; a slice that drifts has products of its own."""
    totals = amounts.sum(axis=0)
    if this.drift is not None and this.drift.department == department:
        totals = totals - amounts[this.settings.countries.index(this.drift.country)]
    return _draw_products(this, department, totals, "products", IDS_PER_DAY * this.number)


def _draw_products(this: _Day, department: str, amounts: Numbers, purpose: str, first_id: int) -> Products:
    """Enough products for `amounts` offers of each category, ordered by category."""
    inside = np.flatnonzero(this.within(department) & (amounts > 0))
    counts = np.ceil(amounts[inside] / this.settings.offers_per_product).astype(np.int64)
    first_id += this.place(department) * (IDS_PER_DAY // 2 // len(this.vocabulary.departments))
    rng = this.rng(department, purpose)
    return draw_products(rng, np.repeat(inside, counts), this.vocabulary, this.lexicon, first_id)


def _draw_slice(
    this: _Day, country: str, department: str, amounts: Numbers, *, products: Products, wording: Wording
) -> pa.Table:
    """The slice's offers as OFFER_SCHEMA, shop by shop."""
    drift = this.drift if this.drift is not None and this.drift.hits(country, department) else None
    if drift is not None:
        first_id = IDS_PER_DAY * this.number + IDS_PER_DAY // 2
        products = _draw_products(this, department, amounts, f"products of {country}", first_id)
    here = Slice(
        settings=this.settings,
        vocabulary=this.vocabulary,
        department=department,
        products=products,
        active=active_categories(this.settings, this.vocabulary),
        scenario=drift.scenario if drift is not None else None,
        id_prefix=f"{this.number}{this.place(department):02d}",
        midnight=datetime.combine(this.settings.first_day + timedelta(days=this.number - 1), time()),
    )
    inside = np.flatnonzero(this.within(department))
    shops = [each for each in this.shops if each.country == country]
    rng = this.rng(country, department)
    rows = draw_rows(rng, here, np.repeat(inside, amounts[inside]), shops)
    new_wording = wording
    if drift is not None:
        rows = _apply_drift(rng, rows, drift, this.vocabulary, len(shops))
        shops.append(shop_with_own_style(country, frozenset([department])))
        if drift.scenario == "new_vocabulary":
            renewed = renew_lexicon(this.lexicon, inside, wording.language, this.settings.seed)
            new_wording = gather_wording(this.vocabulary, renewed, wording.language)
    tables = [OFFER_SCHEMA.empty_table()]
    for place, shop in enumerate(shops):
        for drifted, words in ((False, wording), (True, new_wording)):
            chosen = rows.take((rows.shop == place) & (rows.drifted == drifted))
            if len(chosen.product):
                tables.append(
                    write_rows(this.rng(country, department, shop.id, int(drifted)), here, chosen, shop, words)
                )
    return pa.concat_tables(tables)


def _apply_drift(
    rng: np.random.Generator, rows: SliceRows, drift: Drift, vocabulary: Vocabulary, own_style_shop: int
) -> SliceRows:
    """Which rows drift; with shop_style they also move to the shop that has its own."""
    chosen = rng.random(len(rows.category)) < DRIFTED_SHARE
    if drift.scenario == "new_category":
        chosen = np.array([each.reserved for each in vocabulary.categories])[rows.category]
    elif drift.scenario == "shifted_mix":
        chosen = np.ones_like(chosen)
    elif drift.scenario == "none":
        chosen = np.zeros_like(chosen)
    if drift.scenario == "shop_style":
        return replace(rows, shop=np.where(chosen, own_style_shop, rows.shop), drifted=chosen)
    return replace(rows, drifted=chosen)
