"""Offer parts made from plain rows, and the draw done naively: the specification that the fast one must equal."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.feeds.offer_index import counts_address, rows_address, write_index
from sortiment.sampling import OfferPart

SCHEMA = pa.schema(
    [
        ("offer_key", pa.uint64()),
        ("country", pa.string()),
        ("shop_id", pa.string()),
        ("offer_id", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("description", pa.string()),
        ("gtin", pa.string()),
        ("shop_category", pa.string()),
        ("price", pa.float64()),
        ("category_id", pa.string()),
        ("department", pa.string()),
        ("product_id", pa.string()),
        ("withdrawn", pa.bool_()),
        ("feed", pa.string()),
    ]
)


@dataclass(frozen=True)
class Offer:
    """One row of a part."""

    offer_key: int
    category_id: str | None = "mugs"
    shop_id: str | None = "shop-1"
    title: str = ""
    department: str | None = "kitchen"
    product_id: str | None = None
    gtin: str | None = None
    withdrawn: bool = False
    country: str = "DE"

    def row(self) -> dict[str, object]:
        labelled = self.category_id is not None
        return {
            **vars(self),
            "title": self.title or f"offer {self.offer_key:x} of {self.shop_id}",
            "department": self.department if labelled else None,
            "offer_id": str(self.offer_key),
            "price": 1.0,
            "feed": "test",
        }


WritePart = Callable[..., OfferPart]


@pytest.fixture
def write_part(tmp_path: Path) -> WritePart:
    """Writes offers as a part: `write_part(offers, row_group_rows=...)`."""
    written: list[Path] = []

    def write(offers: Sequence[Offer], row_group_rows: int = 1000) -> OfferPart:
        path = tmp_path / f"part-{len(written)}.parquet"
        written.append(path)
        table = pa.Table.from_pylist([offer.row() for offer in offers], schema=SCHEMA)
        pq.write_table(table, path, row_group_size=row_group_rows)
        write_index(path)
        return OfferPart(str(path))

    return write


def copy_part(part: OfferPart, to: Path) -> OfferPart:
    """The part and its index under another name."""
    for address in (str, counts_address, rows_address):
        shutil.copyfile(address(part.uri), address(str(to)))
    return OfferPart(str(to))


def living_offers(parts: Sequence[Sequence[Offer]]) -> list[Offer]:
    """What is left after all parts: the last row of each key, unless it is a withdrawal."""
    latest: dict[int, Offer] = {}
    for part in parts:
        for offer in part:
            latest[offer.offer_key] = replace(offer, title=offer.row()["title"])  # type: ignore[arg-type]
    return [offer for offer in latest.values() if not offer.withdrawn]


def draw_naively(
    offers: Sequence[Offer], mask: int, targets: dict[str | None, int], caps: dict[str | None, int]
) -> set[int]:
    """The keys of the draw, straight from its definition."""
    taken: dict[str | None, int] = {}
    by_shop: dict[tuple[str | None, str | None], int] = {}
    drawn = set()
    for offer in sorted(offers, key=lambda offer: offer.offer_key ^ mask):
        category, pair = offer.category_id, (offer.category_id, offer.shop_id)
        capped = offer.shop_id is not None or category is None
        if capped and by_shop.get(pair, 0) >= caps[category]:
            continue
        by_shop[pair] = by_shop.get(pair, 0) + 1
        if taken.get(category, 0) < targets[category]:
            taken[category] = taken.get(category, 0) + 1
            drawn.add(offer.offer_key)
    return drawn
