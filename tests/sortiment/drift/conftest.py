"""A simulated market of slices: words that tell categories apart, a model of known quality, day after day."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.drift import DriftSide

COUNTRIES = ("AT", "DE", "ES", "FR", "GB", "IT")
DEPARTMENTS = tuple(f"department-{number:02d}" for number in range(12))
CATEGORIES = 8
OFFERS = pa.schema(
    [
        ("offer_key", pa.uint64()),
        *((name, pa.string()) for name in ("country", "title", "category_id", "department")),
    ]
)
PREDICTIONS = pa.schema(
    [
        ("offer_key", pa.uint64()),
        *((name, pa.string()) for name in ("country", "category_id", "predicted_id", "predicted_department")),
        ("confidence", pa.float32()),
        ("top_margin", pa.float32()),
    ]
)


@dataclass
class Day:
    """How one day's slices look. Whatever is in `changed` (by slice) replaces the defaults of all."""

    offers: int = 200
    accuracy: float = 0.85
    new_words: float = 0.0
    confidence: float = 0.8
    labelled: float = 1.0
    mix: float = 0.7
    unknown_category: float = 0.0
    title_words: int = 5
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)


Make = Callable[..., DriftSide]


@pytest.fixture
def make_day(tmp_path: Path) -> Make:
    """Writes a day's offers and predictions from a seed; `how` are fields of Day."""

    def make(name: str, seed: int, countries: tuple[str, ...] = COUNTRIES, **how: Any) -> DriftSide:
        return _write_day(tmp_path, f"{name}-{seed}", Day(**how), seed, countries)

    return make


@pytest.fixture(scope="session")
def known_categories() -> list[str]:
    return [f"{department}/{number}" for department in DEPARTMENTS for number in range(CATEGORIES)]


def _write_day(folder: Path, name: str, day: Day, seed: int, countries: tuple[str, ...]) -> DriftSide:
    tables = [
        _slice(np.random.default_rng([seed, place, number]), day, country, department)
        for place, country in enumerate(countries)
        for number, department in enumerate(DEPARTMENTS)
    ]
    files = []
    for kind, schema in (("offers", OFFERS), ("predictions", PREDICTIONS)):
        columns = {column: np.concatenate([table[column] for table in tables]) for column in schema.names}
        typed = {
            column: pa.array(values, schema.field(column).type, from_pandas=True) for column, values in columns.items()
        }
        file = folder / f"{name}-{kind}.parquet"
        pq.write_table(pa.table(typed, schema=schema), file)
        files.append(str(file))
    return DriftSide(predictions=[files[1]], offers=[files[0]])


def _slice(random: np.random.Generator, day: Day, country: str, department: str) -> dict[str, Any]:
    here = Day(
        **{**{k: v for k, v in vars(day).items() if k != "changed"}, **day.changed.get(f"{country}|{department}", {})}
    )
    count = here.offers
    mix = here.mix ** np.arange(CATEGORIES)
    category = random.choice(CATEGORIES, count, p=mix / mix.sum())
    names = np.array([f"{department}/{number}" for number in range(CATEGORIES)], dtype=object)
    new = random.random(count) < here.unknown_category
    label = np.where(new, f"{department}/new", names[category])
    right = (random.random(count) < here.accuracy) & ~new
    predicted = np.where(right, names[category], names[(category + 1) % CATEGORIES])
    labelled = random.random(count) < here.labelled
    confidence = np.clip(random.normal(here.confidence, 0.15, count), 0.05, 1.0)
    titles = []
    for number in range(count):
        words = [f"w{chr(97 + category[number])}{_letters(random.integers(60))}" for _ in range(here.title_words)]
        words = [f"new{_letters(random.integers(200))}" if random.random() < here.new_words else word for word in words]
        titles.append(" ".join(words) + f" {random.integers(1000)}")
    return {
        "offer_key": random.integers(0, 2**63, count).astype(np.uint64),
        "country": np.full(count, country, dtype=object),
        "title": np.array(titles, dtype=object),
        "category_id": np.where(labelled, label, None),
        "department": np.where(labelled, department, None),
        "predicted_id": predicted,
        "predicted_department": np.full(count, department, dtype=object),
        "confidence": confidence,
        "top_margin": confidence / 2,
    }


def _letters(number: int) -> str:
    return chr(97 + number // 26) + chr(97 + number % 26) + "x"
