"""The second day's offers as they would have been without the drift: what "before" is measured on.

What a drift costs, and what of it is won back, can be told only on the same offers: another day's have other rare
categories, and macro-F1 counts each as much as a large one. The demo makes its drift itself, so it has them: injected
drift alters offers that are at hand, and a synthetic day is drawn again with the same products and shops.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.blobs import write_atomically
from sortiment.cleaning import clean_column
from sortiment.market import draw_second_day
from sortiment.settings import MarketSettings

FILE = "undrifted-day-2.parquet"
IDENTITY = ("country", "offer_id")
"""What tells offers apart within the second day's feed of a country."""
INPUTS = ("title", "brand", "shop_category", "description")
TRUTH = "category_id"
"""The true category, which a synthetic market knows; of anybody's offers the label."""


def draw_undrifted(settings: MarketSettings, country: str, department: str) -> pa.Table:
    """A synthetic second day without its drift, texts cleaned as the loader cleans them."""
    offers = draw_second_day(settings, "none", country, department)
    cleaned = {name: clean_column(offers[name].combine_chunks()) for name in INPUTS}
    return pa.table({name: offers[name] for name in (*IDENTITY, TRUTH)} | cleaned)


def keep_undrifted(folder: Path, offers: pa.Table, country: str) -> None:
    """Write one country's offers into the market's folder."""
    own = offers.filter(pc.equal(offers["country"], country)).select([*IDENTITY, TRUTH, *INPUTS])
    sink = pa.BufferOutputStream()
    pq.write_table(own, sink, compression="zstd")
    write_atomically(folder / FILE, bytes(sink.getvalue()))


def read_undrifted(folder: Path, offers: pa.Table) -> pa.Table:
    """The same offers in their order, without the drift: their texts and TRUTH. offers: with IDENTITY, texts and label.

    An offer that is not there keeps what it has.
    """
    kept = pq.read_table(folder / FILE).to_pylist()
    texts = {tuple(row[name] for name in IDENTITY): row for row in kept}
    rows = offers.to_pylist()
    found = [texts.get(tuple(row[name] for name in IDENTITY), row) for row in rows]
    names = [name for name in (TRUTH, *INPUTS) if name in offers.column_names]
    return pa.table({name: pa.array([row[name] for row in found], pa.string()) for name in names})
