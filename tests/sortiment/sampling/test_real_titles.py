"""35,311 real titles with known products, which the splitter is not told: do near duplicates straddle the split?"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sortiment.sampling.near_quality import KeyQuality, measure_groups
from sortiment.sampling.reserve import Reserve
from sortiment.sampling.splits import Split, split_offers
from sortiment.sampling.text_keys import key_offers
from sortiment.settings import SamplingSettings


@pytest.fixture(scope="module")
def titles_and_clusters(shared_data: Path) -> tuple[list[str], list[str], list[str]]:
    path = shared_data / "pricerunner_uk" / "pricerunner_aggregate.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [{name.strip(): value for name, value in row.items()} for row in csv.DictReader(stream)]
    return (
        [row["Product Title"] for row in rows],
        [row["Cluster ID"] for row in rows],
        [row["Category ID"] for row in rows],
    )


@pytest.fixture(scope="module")
def offers(titles_and_clusters: tuple[list[str], list[str], list[str]]) -> Reserve:
    titles, _, categories = titles_and_clusters
    nothing = pa.nulls(len(titles), pa.string())
    keys = key_offers(pa.array(titles), nothing, nothing)
    digests = [hashlib.md5(str(row).encode(), usedforsecurity=False).digest()[:8] for row in range(len(titles))]
    return Reserve(
        keys=np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64),
        categories=np.array([int(category) for category in categories], dtype=np.uint32),
        shops=np.ones(len(titles), dtype=np.uint32),
        product=keys.product,
        gtin=keys.gtin,
        title=keys.title,
        group=keys.group,
        segment=np.zeros(len(titles), dtype=np.uint16),
        row=np.zeros(len(titles), dtype=np.uint32),
        signature=keys.signature,
    )


def words(title: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


def grams(title: str) -> frozenset[str]:
    text = words(title)
    return frozenset(text[start : start + 4] for start in range(max(1, len(text) - 3)))


def jaccard(mine: frozenset[str], theirs: frozenset[str]) -> float:
    return len(mine & theirs) / max(1, len(mine | theirs))


def by_grams(mine: str, theirs: str, least: float) -> bool:
    return jaccard(grams(mine), grams(theirs)) >= least


def by_words(mine: str, theirs: str, least: float) -> bool:
    return jaccard(frozenset(words(mine).split()), frozenset(words(theirs).split())) >= least


def by_blocks(mine: str, theirs: str, least: float) -> bool:
    matcher = SequenceMatcher(None, mine.lower(), theirs.lower(), False)
    return matcher.quick_ratio() >= least and matcher.ratio() >= least


def by_sorted_words(mine: str, theirs: str, least: float) -> bool:
    return by_blocks(*(" ".join(sorted(set(words(title).split()))) for title in (mine, theirs)), least)


def straddling_share(
    titles: list[str], clusters: list[str], sides: list[int], alike: Callable[[str, str, float], bool], least: float
) -> float:
    """Clusters with titles that are so much alike on two sides, as a share of all clusters. Side -1: left out."""
    members = defaultdict(list)
    for row, cluster in enumerate(clusters):
        members[cluster].append(row)
    straddling = 0
    for rows in members.values():
        pairs = [(a, b) for a, b in combinations(rows, 2) if min(sides[a], sides[b]) >= 0 and sides[a] != sides[b]]
        straddling += any(alike(titles[a], titles[b], least) for a, b in pairs)
    return straddling / len(members)


@pytest.fixture(scope="module")
def split(offers: Reserve) -> Split:
    return split_offers(offers, np.ones(len(offers), dtype=np.bool_), SamplingSettings())


@pytest.mark.parametrize(
    ("alike", "least", "share"),
    [
        (by_grams, 0.9, 0.0),
        (by_grams, 0.8, 0.0005),
        (by_words, 0.9, 0.001),
        (by_words, 0.8, 0.005),
        (by_blocks, 0.9, 0.002),
        (by_sorted_words, 0.9, 0.006),
    ],
)
def test_hardly_a_product_has_nearly_identical_titles_on_two_sides(
    alike: Callable[[str, str, float], bool],
    least: float,
    share: float,
    titles_and_clusters: tuple[list[str], list[str], list[str]],
    split: Split,
) -> None:
    titles, clusters, _ = titles_and_clusters
    sides = np.where(split.kept, split.sides, -1).tolist()
    assert straddling_share(titles, clusters, sides, alike, least) <= share


def test_few_offers_are_left_out_for_it(
    titles_and_clusters: tuple[list[str], list[str], list[str]], split: Split
) -> None:
    titles, clusters, _ = titles_and_clusters
    assert straddling_share(titles, clusters, split.sides.tolist(), by_grams, 0.8) <= 0.005
    assert split.kept.mean() > 0.9
    shares = np.bincount(split.sides[split.kept]) / split.kept.sum()
    assert np.allclose(shares, [0.7, 0.1, 0.2], atol=0.03)


def test_the_key_finds_nearly_identical_titles_and_is_measured_against_the_products(
    titles_and_clusters: tuple[list[str], list[str], list[str]], offers: Reserve
) -> None:
    _, clusters, _ = titles_and_clusters
    truth = np.unique(clusters, return_inverse=True)[1]
    key: KeyQuality = measure_groups(offers.group, truth)
    words = measure_groups(offers.title, truth)
    assert 0.15 < key.recall < 0.3
    assert words.precision > 0.25
    assert words.recall < key.recall
