"""A new country without labels: labelled offers in some languages, only unlabelled ones in another.

Two kinds of offers: a synthetic market of which one country's labels are hidden (no other country speaks its language),
and a taxonomy's category names in several languages (leaf name -> top level), labelled in the first language only. A
category's names stand on one side of a split in all languages, so no test name was seen translated. Test offers are the
hidden country's alone; its training offers are there without labels, its validation offers not at all.

A market's taxonomy comes with its names in each language, and the platform's models learn them. So they do here: the
market's categories, and of a taxonomy the top levels. What is below these is the test, and a category that is called
like a top level is no question any more: it is left out.
"""

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from sortiment.artifacts import ArtifactStore, Recipe, content_version
from sortiment.errors import TaxonomyError
from sortiment.feeds import load_spec
from sortiment.market import generate_market
from sortiment.progress import Progress
from sortiment.quality import CODE_VERSION
from sortiment.quality.offers import FeedOffers, load_offers
from sortiment.sampling.order import rank_keys
from sortiment.settings import FeedSettings, MarketSettings
from sortiment.taxonomy import Category, Taxonomy, read_taxonomy
from sortiment.teacher import CategoryNames

MARKET_ASSET = "bench_market"
HIDDEN_COUNTRY = "FR"
COUNTRY_OF_LANGUAGE = {"en": "GB"}
NAMES = 2_500
UNLABELLED_NAMES = 5_000
MARKET_OFFERS = 8_000


@dataclass(frozen=True)
class NewCountry:
    """offers: of the labelled countries and of the hidden one."""

    offers: FeedOffers
    hidden: str


def synthetic_market(store: ArtifactStore, progress: Progress, offers: int = MARKET_OFFERS) -> FeedOffers:
    """The offers of a synthetic market, found or generated; about as many as asked for."""
    settings = MarketSettings(offers=offers)

    def write(out: Path) -> None:
        generate_market(settings, out, progress)

    market = store.build(MARKET_ASSET, Recipe({}, settings, CODE_VERSION), write).path
    specs = [load_spec(path) for path in sorted((market / "feeds").glob("*.yaml"))]
    taxonomy = read_taxonomy(market / "taxonomy.json")
    return load_offers(specs, store, FeedSettings(), progress, name="synthetic market", taxonomy=taxonomy)


def synthetic_country(store: ArtifactStore, progress: Progress, hidden: str = HIDDEN_COUNTRY) -> NewCountry:
    """The synthetic market, with one country to hide."""
    loaded = synthetic_market(store, progress)
    return NewCountry(replace(loaded, name=f"synthetic market, {hidden} hidden"), hidden)


def taxonomy_countries(path: Path, names: int = NAMES, unlabelled: int = UNLABELLED_NAMES) -> list[NewCountry]:
    """A taxonomy's names, labelled in its first language; one entry for each other language.

    names: at most so many categories, drawn by a hash of their ids. unlabelled: at most so many further ones, of which
    only the hidden country has the names, to learn from without a label: offers are what a new country has plenty of.
    Raises TaxonomyError for a single language.
    """
    taxonomy = read_taxonomy(path)
    first, *others = taxonomy.languages
    if not others:
        raise TaxonomyError(
            "a new language needs names in two languages or more",
            value=taxonomy.languages,
            allowed="a taxonomy file or folder with several languages (docs/contracts.md)",
        )
    tops = _top_levels(taxonomy)
    told = {name.casefold() for paths in tops.values() for path in paths for name in path}
    chosen = [each for each in taxonomy.categories if len(each.path) > 1 and not _is_called(each, told)]
    keys = np.array([_key(category.category_id) for category in chosen], np.uint64)
    order = np.argsort(rank_keys(keys, 0), kind="stable")[: names + unlabelled]
    ids = [chosen[index].category_id for index in order.tolist()]
    both = (sorted(ids[:names]), sorted(ids[names:]))
    return [_name_offers(taxonomy, *both, (first, other), tops, path.name) for other in others]


def _top_levels(taxonomy: Taxonomy) -> dict[str, list[tuple[str, ...]]]:
    """Each department's top levels as paths of one name, in all languages, by the department's key."""
    names: dict[str, dict[tuple[str, ...], None]] = {}
    for category in taxonomy.categories:
        names.setdefault(category.department, {}).update(dict.fromkeys(path[:1] for path in category.paths.values()))
    return {department: list(paths) for department, paths in names.items()}


def _is_called(category: Category, names: Set[str]) -> bool:
    """Whether it has one of the names (in lower case) in any language."""
    return any(path[-1].casefold() in names for path in category.paths.values())


def _name_offers(
    taxonomy: Taxonomy,
    ids: Sequence[str],
    unlabelled: Sequence[str],
    languages: tuple[str, str],
    top_names: CategoryNames,
    source: str,
) -> NewCountry:
    """One offer per category and language, and one of each unlabelled category in the second; the label is the top
    level, of which the models know the names."""
    rows: list[dict[str, object]] = []
    wanted = [(language, each, True) for language in languages for each in ids]
    for language, category_id, labelled in wanted + [(languages[1], each, False) for each in unlabelled]:
        country, category = country_of(language), taxonomy.by_id[category_id]
        names = category.paths.get(language)
        if names is None:
            continue
        label = category.department if labelled else None
        rows.append(
            {
                "offer_key": _key(f"{country} {category_id}"),
                "country": country,
                "title": names[-1],
                "category_id": label,
                "department": label,
                "feed": source,
                "product_id": category_id,
            }
        )
    texts = ("shop_id", "brand", "description", "shop_category", "gtin")
    table = pa.Table.from_pylist(rows, _schema()).sort_by("offer_key")
    for name in texts:
        table = table.append_column(name, pa.nulls(len(rows), pa.string()))
    table = table.append_column("price", pa.nulls(len(rows), pa.float64()))
    hidden = country_of(languages[1])
    version = content_version([taxonomy.version, list(ids), list(unlabelled), list(languages), top_names])
    return NewCountry(FeedOffers(f"{source}, {hidden} hidden", table.combine_chunks(), version, top_names), hidden)


def country_of(language: str) -> str:
    """A country that speaks it, for prompts and temperatures per country."""
    return COUNTRY_OF_LANGUAGE.get(language, language.upper())


def _schema() -> pa.Schema:
    names = ("country", "title", "category_id", "department", "feed", "product_id")
    return pa.schema([("offer_key", pa.uint64()), *((name, pa.string()) for name in names)])


def _key(text: str) -> int:
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big")
