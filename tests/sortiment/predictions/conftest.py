"""Offers, a tree, and an engine that answers by the first word of a title: quick, honest, and the same every time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.taxonomy import make_taxonomy, write_taxonomy


@dataclass(frozen=True)
class FirstWordAnswers:
    index: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]


@dataclass
class FirstWordEngine:
    """Class = the first word, if it is a class; else class 0 with a low confidence. Remembers what it was asked."""

    classes: tuple[str, ...] = ("phones", "toys", "wine")
    inputs: tuple[str, ...] = ("title",)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    fail_after: int | None = None

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> FirstWordAnswers:
        self.asked += zip(texts, countries or [None] * len(texts), strict=True)
        if self.fail_after is not None and len(self.asked) > self.fail_after:
            raise KeyboardInterrupt
        words = [text.split()[0] for text in texts]
        known = np.array([word in self.classes for word in words])
        index = np.array([self.classes.index(word) if word in self.classes else 0 for word in words], np.int32)
        confidence = np.where(known, 0.9, 0.2).astype(np.float32)
        return FirstWordAnswers(index, confidence, confidence / 2)


@pytest.fixture
def engine() -> FirstWordEngine:
    return FirstWordEngine()


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    folder = tmp_path / "taxonomy"
    folder.mkdir()
    tree = make_taxonomy(
        [
            ("phones", {"en": ("Electronics", "Phones")}),
            ("toys", {"en": ("Play & Games", "Toys")}),
            ("wine", {"en": ("Food", "Drinks", "Wine")}),
        ],
        ("en",),
        "test",
    )
    write_taxonomy(tree, folder)
    return folder


OFFERS = pa.schema(
    [
        ("offer_key", pa.uint64()),
        *((name, pa.string()) for name in ("country", "shop_id", "offer_id", "title", "brand", "description")),
        *((name, pa.string()) for name in ("shop_category", "category_id", "feed")),
        ("withdrawn", pa.bool_()),
        ("source_row", pa.int64()),
    ]
)


@pytest.fixture
def write_part(tmp_path: Path) -> Callable[..., str]:
    """Writes a part of offers, given as (key, title, changes), and returns its path."""

    def write(name: str, *offers: tuple[int, str | None] | tuple[int, str | None, dict[str, Any]]) -> str:
        rows = []
        for offer in offers:
            changes = offer[2] if len(offer) == 3 else {}
            row = {"offer_key": offer[0], "country": "DE", "title": offer[1]}
            rows.append(row | {"brand": None, "category_id": None, "withdrawn": False} | changes)
        file = str(tmp_path / f"{name}.parquet")
        columns = {name: [row.get(name) for row in rows] for name in OFFERS.names}
        columns |= {
            "offer_id": [str(row["offer_key"]) for row in rows],
            "shop_id": ["s1"] * len(rows),
            "feed": ["feed"] * len(rows),
            "source_row": list(range(1, len(rows) + 1)),
        }
        pq.write_table(pa.table(columns, schema=OFFERS), file)
        return file

    return write
