"""The index of an offer file, which the loader writes beside it: what sampling asks of rows, without their texts.

- `offers-DE.counts.arrow`, one row: the file's categories, departments and shops in the order in which they are met,
  living offers per (category, shop), and where runs of ascending keys start. A census adds such files up.
- `offers-DE.rows`: for each row of the file, in its order, its offer_key (8 bytes), its category (4 bytes) and its shop
  (4 bytes), column after column, little-endian. Category and shop are places in the lists of the counts; a withdrawn
  row has WITHDRAWN for its category. So an offer is found by bisection, without Parquet. After the columns comes a
  filter of the keys, 2 bytes a row, which says of most other keys that they are not there.

The filter is a Bloom filter of one memory access (Putze, Sanders and Singler 2007, "Cache-, hash- and space-efficient
Bloom filters"): a 64-bit word per ROWS_PER_WORD rows, which the key's upper half selects, and one of 4,096 patterns of
at most PATTERN_BITS bits, which its lowest 12 bits select; a key may be there if its word has its pattern's bits. Keys
are uniform, so nothing is hashed. Of keys that are not there it lets .7 % pass (measured).

Both files follow from the Parquet file alone, of which the four narrow columns are read once more when it is finished.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.codebook import CodeBook, Codes, code_column

WITHDRAWN = np.uint32(2**32 - 1)
ROW_BYTES = 16
WORD_BYTES = 8
ROWS_PER_WORD = 4
PATTERN_BITS = 4
KEYS_AT_ONCE = 1 << 16
FILTER_BYTES_AT_ONCE = 1 << 20
MOST_RUNS = 10_000
"""In a file with more runs of ascending keys, rows are taken to be in no order."""
ROWS_AT_ONCE = 1 << 20
ROWS_PER_READ = 1 << 17
DENSE_CELLS = 1 << 22
COLUMNS = ("offer_key", "category_id", "shop_id", "department", "withdrawn")
COUNTS_SCHEMA = pa.schema(
    [
        ("rows", pa.int64()),
        ("categories", pa.list_(pa.string())),  # the first is NULL: no label
        ("departments", pa.list_(pa.string())),
        ("shops", pa.list_(pa.string())),  # the first is NULL: no shop given
        ("rows_of_shop", pa.list_(pa.int64())),  # withdrawn rows included
        ("runs", pa.list_(pa.int64())),
        ("pair_category", pa.list_(pa.uint32())),
        ("pair_shop", pa.list_(pa.uint32())),
        ("pair_offers", pa.list_(pa.int64())),
    ]
)

Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class IndexCounts:
    """The counts of an offer file. pair_*: one entry per (category, shop) that has a living offer, ascending.

    runs: rows at which runs of ascending keys start; empty where those are too many to be of use.
    """

    rows: int
    categories: tuple[str | None, ...]
    departments: tuple[str | None, ...]
    shops: tuple[str | None, ...]
    rows_of_shop: Numbers
    runs: tuple[int, ...]
    pair_category: Codes
    pair_shop: Codes
    pair_offers: Numbers


def counts_address(offers: str) -> str:
    """Where the counts of an offer file are: a path or URI, like the file's own."""
    return f"{offers.removesuffix('.parquet')}.counts.arrow"


def rows_address(offers: str) -> str:
    """Where the rows of an offer file's index are."""
    return f"{offers.removesuffix('.parquet')}.rows"


def filter_bytes(rows: int) -> slice:
    """Where the filter is in the file of so many rows, which it ends: 64-bit words."""
    start = ROW_BYTES * rows
    return slice(start, start + WORD_BYTES * -(-rows // ROWS_PER_WORD))


def may_hold(words: Keys, keys: Keys) -> Mask:
    """False for keys that are surely not in the file whose filter this is."""
    patterns = PATTERNS[(keys & _PATTERN_MASK).view(np.int64)]
    held: Mask = (words[_word_of(keys, len(words))] & patterns) == patterns
    return held


def map_filter(stream: BinaryIO, rows: int) -> Keys:
    """An empty filter at its place in a new file of so many rows, written where it is changed.

    Raises OSError where the disk has no room for it: a page that is mapped before there is one ends the process.
    """
    place = filter_bytes(rows)
    stream.seek(place.start)
    for start in range(place.start, place.stop, FILTER_BYTES_AT_ONCE):
        stream.write(bytes(min(FILTER_BYTES_AT_ONCE, place.stop - start)))
    stream.flush()
    words = (place.stop - place.start) // WORD_BYTES
    return np.memmap(stream, "<u8", "r+", place.start, (words,)) if words else np.empty(0, np.uint64)


def write_index(offers: Path) -> None:
    """Write the index of a finished offer file beside it.

    Memory is bounded by ROWS_AT_ONCE, besides the filter's pages, which the system writes out as it needs to.
    """
    dictionaries = ["category_id", "shop_id", "department"]
    rows_file = Path(rows_address(str(offers)))
    with pq.ParquetFile(offers, read_dictionary=dictionaries) as file, rows_file.open("w+b") as to:
        counter = _IndexWriter(to, file.metadata.num_rows)
        for batch in _batches(file):
            counter.add(batch)
    counts = pa.Table.from_pylist([counter.counts()], COUNTS_SCHEMA)
    with pa.ipc.new_file(counts_address(str(offers)), COUNTS_SCHEMA) as writer:
        writer.write_table(counts)


def read_counts(source: Any) -> IndexCounts:
    """From an open file or a buffer. Raises pyarrow.ArrowException where it is not such a file."""
    row = _read_row(source, COUNTS_SCHEMA.names)
    columns = {name: row[name][0] for name in COUNTS_SCHEMA.names}
    numbers = {name: columns[name].values.to_numpy(zero_copy_only=False) for name in COUNTS_SCHEMA.names[4:]}
    return IndexCounts(
        rows=columns["rows"].as_py(),
        categories=tuple(columns["categories"].as_py()),
        departments=tuple(columns["departments"].as_py()),
        shops=tuple(columns["shops"].as_py()),
        rows_of_shop=numbers["rows_of_shop"],
        runs=tuple(numbers["runs"].tolist()),
        pair_category=numbers["pair_category"],
        pair_shop=numbers["pair_shop"],
        pair_offers=numbers["pair_offers"],
    )


def read_names(source: Any) -> tuple[list[str | None], list[str | None]]:
    """Categories and shops alone. source, errors: as of `read_counts`."""
    row = _read_row(source, ["categories", "shops"])
    return row["categories"][0].as_py(), row["shops"][0].as_py()


def _read_row(source: Any, names: list[str]) -> pa.Table:
    schema = pa.schema([COUNTS_SCHEMA.field(name) for name in names])
    options = pa.ipc.IpcReadOptions(included_fields=[COUNTS_SCHEMA.get_field_index(name) for name in names])
    row = pa.ipc.open_file(source, options=options).read_all()
    if row.schema != schema or row.num_rows != 1:
        raise pa.ArrowInvalid("not the counts of an offer file")
    return row


class _IndexWriter:
    """Writes rows at their places and counts them."""

    def __init__(self, stream: BinaryIO, rows: int) -> None:
        self._stream, self._rows, self._done = stream, rows, 0
        self._words = map_filter(stream, rows)
        self._categories, self._shops = CodeBook([None]), CodeBook([None])
        self._departments: list[str | None] = [None]
        self._rows_of_shop = np.zeros(1, dtype=np.int64)
        self._runs: list[Numbers] = []
        self._last: Any = None
        self._uncounted: list[tuple[Codes, Codes]] = []
        self._pairs: list[npt.NDArray[np.uint64]] = []
        self._offers: list[Numbers] = []

    def add(self, batch: pa.Table) -> None:
        keys = batch["offer_key"].to_numpy()
        categories, shops = (
            self._code(book, batch[name])
            for book, name in ((self._categories, "category_id"), (self._shops, "shop_id"))
        )
        self._name_departments(categories, batch["department"])
        self._rows_of_shop = _sum(self._rows_of_shop, np.bincount(shops))
        self._find_runs(keys)
        _add_to_filter(self._words, keys)
        withdrawn = batch["withdrawn"].fill_null(False).to_numpy()
        self._uncounted.append((categories[~withdrawn], shops[~withdrawn]))
        if sum(len(shops) for _, shops in self._uncounted) >= ROWS_AT_ONCE:
            self._count()
        categories[withdrawn] = WITHDRAWN
        first = 0
        for values in (keys, categories, shops):
            self._stream.seek(first * self._rows + self._done * values.itemsize)
            self._stream.write(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).data)
            first += values.itemsize
        self._done += len(keys)

    def counts(self) -> dict[str, Any]:
        """As COUNTS_SCHEMA has it."""
        if self._uncounted:
            self._count()
        pairs = np.concatenate([np.empty(0, np.uint64), *self._pairs])
        offers = np.concatenate([np.empty(0, np.int64), *self._offers])
        if len(self._pairs) > 1:
            pairs, place = np.unique(pairs, return_inverse=True)
            offers = np.bincount(place, weights=offers, minlength=len(pairs)).astype(np.int64)
        runs = np.concatenate([np.empty(0, np.int64), *self._runs])
        return {
            "rows": self._rows,
            "categories": self._categories.values,
            "departments": self._departments,
            "shops": self._shops.values,
            "rows_of_shop": _sum(self._rows_of_shop, np.zeros(len(self._shops.values), dtype=np.int64)),
            "runs": runs if len(runs) <= MOST_RUNS else runs[:0],
            "pair_category": (pairs >> np.uint64(32)).astype(np.uint32),
            "pair_shop": pairs.astype(np.uint32),
            "pair_offers": offers,
        }

    def _code(self, book: CodeBook, column: pa.ChunkedArray) -> Codes:
        coded = code_column(column)
        return book.register(coded)[coded.places]

    def _name_departments(self, categories: Codes, departments: pa.ChunkedArray) -> None:
        """A category's department is the one that its first row names."""
        known = len(self._departments)
        if known == len(self._categories.values):
            return
        first = np.zeros(len(self._categories.values), dtype=np.int64)
        first[categories[::-1]] = np.arange(len(categories))[::-1]
        self._departments += departments.take(pa.array(first[known:])).to_pylist()

    def _find_runs(self, keys: npt.NDArray[np.uint64]) -> None:
        breaks = np.flatnonzero(keys[1:] <= keys[:-1]) + 1
        if len(keys) and (self._last is None or keys[0] <= self._last):
            breaks = np.append(0, breaks)
        if sum(map(len, self._runs)) <= MOST_RUNS:
            self._runs.append(breaks + self._done)
        self._last = keys[-1] if len(keys) else self._last

    def _count(self) -> None:
        """Add up what waits: living offers of each pair, by one number that stands for it, ascending."""
        categories, shops = (np.concatenate(codes) for codes in zip(*self._uncounted, strict=True))
        self._uncounted = []
        width = len(self._shops.values)
        size = len(self._categories.values) * width
        if size <= DENSE_CELLS:
            counted = np.bincount(categories * np.int64(width) + shops)
            cells = np.flatnonzero(counted).view(np.uint64)
            offers = counted[cells.view(np.int64)]
        else:
            cells = categories * np.uint64(width) + shops
            if size <= 2**32:
                cells = cells.astype(np.uint32)  # sorts in two thirds of the time
            cells.sort()
            starts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1])) if len(cells) else np.empty(0, np.int64)
            cells, offers = cells[starts].astype(np.uint64), np.diff(np.append(starts, len(cells)))
        self._pairs.append(((cells // np.uint64(width)) << np.uint64(32)) | (cells % np.uint64(width)))
        self._offers.append(offers)


def _add_to_filter(words: Keys, keys: Keys) -> None:
    for first in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[first : first + KEYS_AT_ONCE]
        np.bitwise_or.at(words, _word_of(some, len(words)), PATTERNS[(some & _PATTERN_MASK).view(np.int64)])


def _word_of(keys: Keys, words: int) -> Numbers:
    half = np.uint64(32)
    return (((keys >> half) * np.uint64(words)) >> half).view(np.int64)


def _make_patterns() -> Keys:
    """A word for each value of the lowest 12 bits of a key, with up to PATTERN_BITS bits that look drawn."""
    mixed = np.arange(1, 4_097, dtype=np.uint64)
    for factor in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93):
        mixed = mixed * np.uint64(factor)
        mixed ^= mixed >> np.uint64(32)
    places = (mixed[:, None] >> np.arange(0, 16 * PATTERN_BITS, 16, dtype=np.uint64)) & np.uint64(63)
    patterns: Keys = np.bitwise_or.reduce(np.uint64(1) << places, axis=1)
    return patterns


_PATTERN_MASK = np.uint64(4_095)
PATTERNS = _make_patterns()


def _batches(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """The narrow columns, about ROWS_PER_READ rows at once; the next rows are read while these are looked at."""
    groups: list[list[int]] = [[]]
    rows = 0
    for group in range(file.num_row_groups):
        groups[-1].append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= ROWS_PER_READ:
            groups.append([])
            rows = 0

    def read(some: list[int]) -> pa.Table:
        return file.read_row_groups(some, columns=list(COLUMNS), use_threads=False)

    with ThreadPoolExecutor(1) as pool:
        ahead: list[Future[pa.Table]] = []
        for some in filter(None, groups):
            ahead.append(pool.submit(read, some))
            if len(ahead) > 1:
                yield ahead.pop(0).result()
        yield from (batch.result() for batch in ahead)


def _sum(first: Numbers, second: Numbers) -> Numbers:
    """Entry by entry, the shorter one filled up with zeros."""
    total = np.zeros(max(len(first), len(second)), dtype=np.int64)
    total[: len(first)] += first
    total[: len(second)] += second
    return total
