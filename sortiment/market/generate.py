"""Writing a synthetic market to disk: taxonomy, feeds, truth and `market.yaml`; later a second day's feeds and truth.

OUT/market.yaml          what `resources` reads: name, synthetic: true, feeds, taxonomy, truth, settings
OUT/taxonomy.json        the tree in five languages, reserved categories included
OUT/feeds/day-1-de.yaml  one feed spec per country and day, its files in the folder of the same name
OUT/truth.parquet        what each offer really is; OUT/truth-day-2.parquet for the second day
"""

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from sortiment.blobs import write_atomically
from sortiment.market.day import Drift, Scenario, draw_day
from sortiment.market.feeds import FEEDS, SYNTHETIC_NOTE, WrittenFeed, write_feed
from sortiment.market.vocabulary import LANGUAGES, Vocabulary, load_vocabulary
from sortiment.progress import Progress, silent
from sortiment.settings import MarketSettings

NAME = "synthetic"
MARKET = "market.yaml"
TAXONOMY = "taxonomy.json"
TRUTH = "truth.parquet"
TRUTH_PATTERN = "truth*.parquet"
FEED_STREAM = 15


@dataclass(frozen=True)
class MarketReport:
    """What was written, counted. Nothing in it is from a real shop.

    specs: one feed spec per country. by_category holds every category of the tree that this market uses, reserved
    ones with 0. drifted_offers is 0 on the first day.
    """

    folder: Path
    day: int
    scenario: str | None
    specs: tuple[Path, ...]
    truth: Path
    offers: int
    products: int
    shops: int
    labelled: int
    wrong_labels: int
    broken_rows: int
    drifted_offers: int
    by_country: Mapping[str, int]
    by_department: Mapping[str, int]
    by_category: Mapping[str, int]


def generate_market(settings: MarketSettings, out: Path, progress: Progress = silent) -> MarketReport:
    """The market's first day under `out`. The same settings give the same bytes."""
    vocabulary = load_vocabulary()
    offers = draw_day(settings, 1, progress=progress)
    write_atomically(out / TAXONOMY, _taxonomy_json(settings, vocabulary))
    feeds = _write_feeds(settings, vocabulary, offers, 1, out, progress=progress)
    truth = _write_truth(offers, 1, out / TRUTH)
    market = {
        "name": NAME,
        "synthetic": True,
        "feeds": [f"{FEEDS}/*.yaml"],
        "taxonomy": TAXONOMY,
        "truth": TRUTH_PATTERN,
        "settings": {"market": settings.model_dump(mode="json", exclude_defaults=True)},
    }
    text = SYNTHETIC_NOTE + yaml.safe_dump(market, allow_unicode=True, sort_keys=False)
    write_atomically(out / MARKET, text.encode())
    return _report(settings, vocabulary, offers, 1, scenario=None, feeds=feeds, truth=truth, out=out)


def draw_second_day(settings: MarketSettings, scenario: Scenario, country: str, department: str) -> pa.Table:
    """The second day's offers (OFFER_SCHEMA) as `generate_second_day` writes them; `none` has the same products, shops
    and ids as `new_vocabulary`."""
    return draw_day(settings, 2, Drift(scenario, country, department))


def generate_second_day(
    settings: MarketSettings,
    scenario: Scenario,
    country: str,
    department: str,
    out: Path,
    *,
    progress: Progress = silent,
) -> MarketReport:
    """The second day: other offers everywhere, and more of them in one slice, which drifts as `scenario` says.

    none             the slice has more offers, and is as it was: what a drift is compared with
    new_vocabulary   new words, brands, product lines and model numbers replace those of nine in ten offers
    new_category     half of the slice is of a category that had no offers on the first day
    shop_style       nine in ten offers are from a new shop: article numbers, shortened words, capitals
    shifted_mix      the slice's smallest categories become its largest

    `out` may be the first day's folder, where `market.yaml` finds the new feeds and truth, or any other. Offers are
    labelled at the usual rate. Raises SettingsError where scenario, country or department is not the market's.
    """
    vocabulary = load_vocabulary()
    offers = draw_day(settings, 2, Drift(scenario, country, department), progress)
    feeds = _write_feeds(settings, vocabulary, offers, 2, out, progress=progress)
    truth = _write_truth(offers, 2, out / "truth-day-2.parquet")
    return _report(settings, vocabulary, offers, 2, scenario=scenario, feeds=feeds, truth=truth, out=out)


def _taxonomy_json(settings: MarketSettings, vocabulary: Vocabulary) -> bytes:
    categories = [
        {"id": each.id, "paths": {language: list(each.path[language]) for language in LANGUAGES}}
        for each in vocabulary.categories
        if _used(settings, each.department)
    ]
    content = {"languages": list(LANGUAGES), "synthetic": True, "categories": categories}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _write_feeds(
    settings: MarketSettings, vocabulary: Vocabulary, offers: pa.Table, day: int, out: Path, *, progress: Progress
) -> list[WrittenFeed]:
    feeds = []
    with progress(f"synthetic feeds, day {day}", total=len(offers)) as step:
        for country in settings.countries:
            own = offers.filter(pc.equal(offers["country"], country))
            if len(own):
                rng = np.random.default_rng([settings.seed, FEED_STREAM, day, *country.encode()])
                feeds.append(write_feed(own, day, vocabulary, settings.broken_row_share, rng=rng, out=out))
            step.advance(len(own), country)
    return feeds


def _write_truth(offers: pa.Table, day: int, path: Path) -> Path:
    """One row per offer, ordered by country, shop and offer id."""
    columns = ["country", "shop_id", "offer_id", "category_id", "product_id", "wrong_label", "scenario"]
    truth = offers.select(columns).append_column("day", pa.array([day] * len(offers), pa.int32()))
    truth = truth.sort_by([("country", "ascending"), ("shop_id", "ascending"), ("offer_id", "ascending")])
    buffer = io.BytesIO()
    pq.write_table(truth, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
    return path


def _report(
    settings: MarketSettings,
    vocabulary: Vocabulary,
    offers: pa.Table,
    day: int,
    *,
    scenario: str | None,
    feeds: list[WrittenFeed],
    truth: Path,
    out: Path,
) -> MarketReport:
    categories = Counter(offers["category_id"].to_pylist())
    department_of = {each.id: each.department for each in vocabulary.categories}
    departments: Counter[str] = Counter()
    for category, count in categories.items():
        departments[department_of[category]] += count
    return MarketReport(
        folder=out,
        day=day,
        scenario=scenario,
        specs=tuple(feed.spec for feed in feeds),
        truth=truth,
        offers=len(offers),
        products=_distinct(offers, "product_id"),
        shops=_distinct(offers, "shop_id"),
        labelled=len(offers) - offers["label_id"].null_count,
        wrong_labels=int(pc.sum(offers["wrong_label"]).as_py()),
        broken_rows=sum(feed.broken_rows for feed in feeds),
        drifted_offers=len(offers) - offers["scenario"].null_count,
        by_country=dict(sorted(Counter(offers["country"].to_pylist()).items())),
        by_department=dict(sorted(departments.items())),
        by_category={
            each.id: categories[each.id] for each in vocabulary.categories if _used(settings, each.department)
        },
    )


def _used(settings: MarketSettings, department: str) -> bool:
    return settings.departments is None or department in settings.departments


def _distinct(offers: pa.Table, column: str) -> int:
    return int(pc.count_distinct(offers[column]).as_py())
