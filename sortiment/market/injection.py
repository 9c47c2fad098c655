"""Drift injected into real offers: one country and department's titles are altered, everything else stays.

This is not drift that happened. It is made, from a seed, so that the loop (drift report, sensor, relabelling,
retraining) can be shown on anybody's offers and measured there: the labels stay as they were.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from sortiment.blobs import write_atomically
from sortiment.errors import DriftError
from sortiment.market.coining import replacement_words, uniform_numbers
from sortiment.market.noise import abbreviate_words

InjectedScenario = Literal["new_vocabulary", "shop_style"]
INJECTED_SCENARIOS: tuple[InjectedScenario, ...] = ("new_vocabulary", "shop_style")

WORD = re.compile(r"[^\W\d_]{3,}")
NEEDED = ("country", "shop_id", "offer_id", "title", "category_id", "department")
REWORDED = ("title", "brand", "description", "shop_category")
FEED_COLUMNS = (
    *("offer_id", "country", "shop_id", "title", "brand", "description", "gtin"),
    *("shop_category", "price", "currency", "product_id", "observed_at"),
)
OF_EVERY_OFFER = ("offer_id", "country", "title")
INJECTED_NOTE = "# Injected drift: real offers whose titles were altered on purpose by sortiment.market.\n"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class InjectedDrift:
    """offers: the table with altered titles, same rows and columns in the same order.

    altered: one boolean per row. words: lower-case word to the coined word that replaced it (new_vocabulary only).
    """

    offers: pa.Table
    altered: Mask
    words: Mapping[str, str]


def inject_drift(
    offers: pa.Table,
    scenario: InjectedScenario,
    country: str,
    department: str,
    seed: int,
    *,
    share: float = 0.9,
    word_coverage: float = 0.75,
) -> InjectedDrift:
    """Alter the titles of `share` of one slice's labelled offers.

    offers: one row per offer with the contract's columns (docs/contracts.md); at least NEEDED. Only rows whose
    `department` is the slice's are touched: offers without a label stay as they are.
    new_vocabulary: the words that tell categories apart best (`rank_telling_words`) are replaced one to one by coined
    words, until `word_coverage` of the slice's words are new; brand, description and shop category change with the
    title.
    shop_style: titles get an article number, shortened words in reverse order and capitals; the brand column is
    emptied.
    Which rows and which words depend on the seed and the offers' ids, not on the rows' order.
    Raises DriftError for a missing column, an unknown scenario, or a slice without offers.
    """
    missing = [name for name in NEEDED if name not in offers.column_names]
    if missing:
        raise DriftError("offers lack columns that a drift needs", value=missing, allowed=", ".join(NEEDED))
    if scenario not in INJECTED_SCENARIOS:
        raise DriftError(
            "no such drift can be injected into real offers", value=scenario, allowed=", ".join(INJECTED_SCENARIOS)
        )
    rows = offers.select(list(NEEDED)).to_pylist()
    inside = np.array([(row["country"], row["department"]) == (country, department) for row in rows], dtype=bool)
    if not inside.any():
        known = sorted({f"{row['country']}|{row['department']}" for row in rows if row["department"]})
        raise DriftError(
            "there are no labelled offers in the slice", value=f"{country}|{department}", allowed=", ".join(known[:20])
        )
    keys = [f"{row['country']}\x1f{row['shop_id']}\x1f{row['offer_id']}" for row in rows]
    altered = inside & (uniform_numbers(keys, seed) < share)
    if scenario == "shop_style":
        return InjectedDrift(_restyle_titles(offers, altered, keys), altered, {})
    labelled = [
        (row["title"], row["category_id"])
        for row in rows
        if row["country"] == country and row["category_id"] is not None
    ]
    in_slice = [row["title"] for row, hit in zip(rows, inside, strict=True) if hit]
    taken = {word for row in rows for word in _words(row["title"])}
    words = replacement_words(rank_telling_words(in_slice, labelled, word_coverage), seed, taken)
    return InjectedDrift(_reword_offers(offers, altered, words), altered, words)


def rank_telling_words(titles: Iterable[str], labelled: Iterable[tuple[str, str]], coverage: float) -> list[str]:
    """The words of `titles` that say most about the category, best first, until they cover `coverage` of all words.

    labelled: (title, category id) of everything to compare with. A word's weight is its count in `titles` times the
    divergence of its categories from all (Kullback-Leibler, add-half smoothed towards all).
    """
    used = Counter(word for title in titles for word in _words(title))
    by_category: Counter[str] = Counter()
    by_word: dict[str, Counter[str]] = defaultdict(Counter)
    for title, category in labelled:
        by_category[category] += 1
        for word in set(_words(title)):
            if word in used:
                by_word[word][category] += 1
    total = sum(by_category.values())
    weights = {}
    for word, count in used.items():
        seen = sum(by_word[word].values())
        divergence = 0.0
        for category, hits in by_word[word].items():
            prior = by_category[category] / total
            posterior = (hits + 0.5 * prior) / (seen + 0.5)
            divergence += posterior * math.log(posterior / prior)
        weights[word] = count * divergence
    ranked = sorted(used, key=lambda word: (-weights[word], word))
    covered, enough = 0, coverage * sum(used.values())
    chosen = []
    for word in ranked:
        if covered >= enough:
            break
        chosen.append(word)
        covered += used[word]
    return chosen


def write_drifted_feed(offers: pa.Table, folder: Path, name: str) -> Path:
    """The offers as a feed: `folder/<name>.yaml` and the Parquet file that it names. Returns the spec.

    offers: the contract's columns; `category_path` becomes one column per level, and what no offer has is left out.
    The same rows give the same bytes.
    """
    paths = [path or [] for path in offers["category_path"].to_pylist()]
    levels = max((len(path) for path in paths), default=0)
    given = [name for name in FEED_COLUMNS if name in offers.column_names]
    columns: dict[str, Any] = {
        name: offers[name] for name in given if name in OF_EVERY_OFFER or offers[name].null_count < offers.num_rows
    }
    spec_columns: dict[str, str | list[str]] = {name: name for name in columns}
    if levels:
        spec_columns["category"] = [f"category_{level + 1}" for level in range(levels)]
        for level, column in enumerate(spec_columns["category"]):
            columns[column] = pa.array([path[level] if level < len(path) else None for path in paths], pa.string())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_atomically(folder / name / "offers.parquet", bytes(sink.getvalue()))
    spec = {"path": f"{name}/*.parquet", "format": "parquet", "columns": spec_columns}
    text = INJECTED_NOTE + yaml.safe_dump(spec, allow_unicode=True, sort_keys=False)
    write_atomically(folder / f"{name}.yaml", text.encode())
    return folder / f"{name}.yaml"


def _reword_offers(offers: pa.Table, altered: Mask, words: Mapping[str, str]) -> pa.Table:
    for name in REWORDED:
        if name in offers.column_names:
            texts = offers[name].to_pylist()
            texts = [_reword(text, words) if hit and text else text for text, hit in zip(texts, altered, strict=True)]
            offers = _replace(offers, name, texts)
    return offers


def _restyle_titles(offers: pa.Table, altered: Mask, keys: list[str]) -> pa.Table:
    titles = zip(offers["title"].to_pylist(), keys, altered, strict=True)
    offers = _replace(offers, "title", [_restyle(title, key) if hit else title for title, key, hit in titles])
    if "brand" in offers.column_names:
        brands = zip(offers["brand"].to_pylist(), altered, strict=True)
        offers = _replace(offers, "brand", [None if hit else brand for brand, hit in brands])
    return offers


def _words(title: str) -> list[str]:
    return [word.lower() for word in WORD.findall(title)]


def _reword(text: str, words: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        word = match.group()
        coined = words.get(word.lower())
        if coined is None:
            return word
        if word.isupper():
            return coined.upper()
        return coined.capitalize() if word[0].isupper() else coined

    return WORD.sub(replace, text)


def _restyle(title: str, key: str) -> str:
    number = 1_000 + int(uniform_numbers([key], 0)[0] * 9_000)
    shortened = abbreviate_words(title).split(" ")
    return f"ART.{number} {' '.join(reversed(shortened))}".upper()


def _replace(offers: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = offers.column_names.index(name)
    return offers.set_column(place, offers.schema.field(name), pa.array(values, offers.schema.field(name).type))
