"""Offers for the scale bench: parts as the loader writes them, of any size, the same bytes for the same arguments.

Feeds are per shop: a part holds the offers of its own shops, ordered as the loader orders them. Categories follow a
Zipf law over the whole market and each shop sells some of them. Titles have the length of real ones (mean 53 characters
in 35,311 offers of a UK price comparison); six of ten offers have a description. Keys are a bijection of the offer's
number that scatters like md5. All of it is invented.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from sortiment.feeds import FeedSpec, parse_spec
from sortiment.feeds.offer_files import OFFER_SCHEMA, RUN_ROWS, cut_run, open_writer
from sortiment.feeds.offer_index import write_index
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import OfferPart, run_in_order
from sortiment.sampling.text_keys import mix

VOCABULARY = 60_000
WORDS_PER_CATEGORY = 60
BRANDS = 4_000
UNLABELLED_SHARE = 0.1
DESCRIBED_SHARE = 0.6
CATEGORIES_PER_SHOP = 120
FEED_COLUMNS = ["shop_id", "offer_id", "title", "brand", "description", "price", "currency"]
FEED_ROWS_AT_ONCE = 100_000
SYLLABLES = (
    "ka lo mi ra ten sor vel bra du pe xi no gar fil mon tra se ber lin do sta pol ert ung holz rad matt glas plex tor"
)

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BenchMarket:
    """What the offers are drawn from."""

    categories: int
    zipf: float
    shops_per_part: int
    seed: int


def write_parts(
    folder: Path,
    market: BenchMarket,
    rows: int,
    *,
    parts: int,
    threads: int = 1,
    first_number: int = 0,
    first_shop: int = 0,
    spread: bool = False,
    name: str = "part",
) -> Iterator[OfferPart]:
    """Write `rows` new offers into so many parts, as the loader does. Numbers and shops start where they are told to.

    spread: the offers belong to shops of the whole market (of `first_shop` shops), not to the part's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = _words(market.seed)

    def write(index: int) -> OfferPart:
        path = folder / f"{name}-{index:05d}.parquet"
        numbers = _numbers_of(index, rows, parts, first_number)
        with open_writer(path) as writer:
            for first in range(0, len(numbers), RUN_ROWS):
                run = numbers[first : first + RUN_ROWS]
                shops = _shops(market, run, index, first_shop, spread)
                categories = pa.array(_categories(market, run, shops), mask=_share(run, 2) < UNLABELLED_SHARE)
                for group in cut_run(keys_of(run), categories):
                    writer.write_table(_offers(market, words, run[group], shops[group]))
        write_index(path)
        return OfferPart(str(path))

    return run_in_order(write, range(parts), threads)


def write_feeds(
    folder: Path,
    market: BenchMarket,
    rows: int,
    *,
    files: int,
    threads: int = 1,
    first_number: int = 0,
    first_shop: int = 0,
    spread: bool = False,
) -> Iterator[int]:
    """The same offers as CSV, in the order of their numbers, as shops send them; the rows of each file as it is
    written. `spec_of_feeds` says how they are read."""
    folder.mkdir(parents=True, exist_ok=True)
    words = _words(market.seed)

    def write(index: int) -> int:
        numbers = _numbers_of(index, rows, files, first_number)
        schema = pa.schema([OFFER_SCHEMA.field(name) for name in FEED_COLUMNS] + [("category", pa.string())])
        with arrow_csv.CSVWriter(folder / f"feed-{index:05d}.csv", schema) as writer:
            for first in range(0, len(numbers), FEED_ROWS_AT_ONCE):
                some = numbers[first : first + FEED_ROWS_AT_ONCE]
                offers = _offers(market, words, some, _shops(market, some, index, first_shop, spread))
                label = pc.binary_join_element_wise(offers["department"], offers["category_id"], " > ")
                writer.write_table(offers.select(FEED_COLUMNS).append_column("category", label))
        return len(numbers)

    return run_in_order(write, range(files), threads)


def spec_of_feeds(folder: Path) -> FeedSpec:
    """How the files that `write_feeds` wrote into a folder are read."""
    columns = {name: name for name in (*FEED_COLUMNS, "category")}
    content = {"path": "feed-*.csv", "columns": columns, "constants": {"country": "DE"}}
    return parse_spec(content, "bench", folder)


def _numbers_of(index: int, rows: int, files: int, first_number: int) -> Numbers:
    """The numbers of the offers in one of so many files."""
    start, stop = np.linspace(0, rows, files + 1).astype(np.int64)[index : index + 2]
    return np.arange(first_number + start, first_number + stop)


def _shops(market: BenchMarket, numbers: Numbers, index: int, first_shop: int, spread: bool) -> Numbers:
    """The shop of each offer of a part: one of the part's own, or any of the `first_shop` shops of the market."""
    if spread:
        return _scatter(numbers, 1) % first_shop
    return first_shop + index * market.shops_per_part + _scatter(numbers, 1) % market.shops_per_part


def keys_of(numbers: Numbers) -> Keys:
    """The offer key of each offer number."""
    return mix(numbers.astype(np.uint64) + np.uint64(1))


def _offers(market: BenchMarket, words: pa.Array, numbers: Numbers, shops: Numbers) -> pa.Table:
    count = len(numbers)
    categories = _categories(market, numbers, shops)
    labelled = _share(numbers, 2) >= UNLABELLED_SHARE
    described = _share(numbers, 3) < DESCRIBED_SHARE
    brand = words.take(pa.array(_scatter(shops * 31 + _scatter(numbers, 4) % 40, 5) % BRANDS))
    columns = {
        "offer_key": pa.array(keys_of(numbers)),
        "country": _repeat("DE", count),
        "shop_id": pc.binary_join_element_wise("shop-", pa.array(shops).cast(pa.string()), ""),
        "offer_id": pa.array(numbers).cast(pa.string()),
        "title": _title(words, brand, numbers, categories),
        "brand": brand,
        "description": _description(words, numbers, categories, described),
        "price": pa.array((_scatter(numbers, 6) % 100_000) / 100),
        "currency": _repeat("EUR", count),
        "category_id": pa.array(_category_ids(market)[categories], pa.string(), mask=~labelled),
        "department": pa.array(_departments(market)[categories], pa.string(), mask=~labelled),
        "withdrawn": pa.array(np.zeros(count, dtype=np.bool_)),
        "feed": _repeat("bench", count),
        "source_file": _repeat("bench", count),
        "source_row": pa.array(numbers),
    }
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in OFFER_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=OFFER_SCHEMA)


def _title(words: pa.Array, brand: pa.Array, numbers: Numbers, categories: Numbers) -> pa.Array:
    model = pc.binary_join_element_wise(
        pc.utf8_upper(pc.utf8_slice_codeunits(words.take(pa.array(_scatter(numbers, 7) % 500)), 0, 2)),
        pa.array(_scatter(numbers, 8) % 9_000 + 100).cast(pa.string()),
        "",
    )
    kind = [_category_word(words, numbers, categories, place) for place in range(10, 14)]
    detail = words.take(pa.array(_scatter(numbers, 9) % VOCABULARY))
    long = pa.array(_share(numbers, 14) < 0.5)
    color = words.take(pa.array(_scatter(numbers, 15) % 300))
    return pc.binary_join_element_wise(brand, *kind[:3], model, pc.if_else(long, kind[3], color), detail, color, " ")


def _description(words: pa.Array, numbers: Numbers, categories: Numbers, described: npt.NDArray[np.bool_]) -> pa.Array:
    rows = np.flatnonzero(described)
    inner = [
        _category_word(words, numbers[rows], categories[rows], place)
        if place % 2
        else words.take(pa.array(_scatter(numbers[rows], place) % VOCABULARY))
        for place in range(20, 36)
    ]
    texts = pc.binary_join_element_wise(*inner, " ")
    places = np.cumsum(described) - 1
    return texts.take(pa.array(places, mask=~described))


def _category_word(words: pa.Array, numbers: Numbers, categories: Numbers, place: int) -> pa.Array:
    own = _scatter(numbers, place) % WORDS_PER_CATEGORY
    return words.take(pa.array(_scatter(categories * WORDS_PER_CATEGORY + own, 40) % VOCABULARY))


def _categories(market: BenchMarket, numbers: Numbers, shops: Numbers) -> Numbers:
    """Zipf over the market, through the few that the shop sells: two Zipf draws, the first fixed by the shop."""
    place = _scatter(numbers, 50) % CATEGORIES_PER_SHOP
    return _zipf(market, _share(shops * CATEGORIES_PER_SHOP + place, 51))


def _zipf(market: BenchMarket, uniform: npt.NDArray[np.float64]) -> Numbers:
    weights = np.arange(1, market.categories + 1, dtype=np.float64) ** -market.zipf
    edges = np.cumsum(weights)
    return np.minimum(np.searchsorted(edges / edges[-1], uniform), market.categories - 1)


def _category_ids(market: BenchMarket) -> npt.NDArray[np.object_]:
    return np.array([f"{mix(np.array([code], dtype=np.uint64))[0]:016x}"[:12] for code in range(market.categories)])


def _departments(market: BenchMarket) -> npt.NDArray[np.object_]:
    return np.array([f"department-{code % 20:02d}" for code in range(market.categories)])


def _words(seed: int) -> pa.Array:
    syllables = np.array(SYLLABLES.split())
    picks = np.random.default_rng(seed).integers(0, len(syllables), (VOCABULARY, 4))
    lengths = picks[:, 3] % 3 + 1
    return pa.array(["".join(syllables[row[:length]]) for row, length in zip(picks, lengths, strict=True)])


def _scatter(numbers: Numbers, salt: int) -> Numbers:
    """A non-negative pseudo-random number for each number."""
    mixed = mix(numbers.astype(np.uint64) ^ mix(np.array([salt + 1_000_003], dtype=np.uint64)))
    return (mixed >> np.uint64(2)).astype(np.int64)


def _share(numbers: Numbers, salt: int) -> npt.NDArray[np.float64]:
    return _scatter(numbers, salt) / 2.0**62


def _repeat(value: str, count: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(count, dtype=np.int64)))
