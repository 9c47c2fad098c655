"""Fetching the chosen offers' texts from the parts, and keeping those in segments.

A segment is what a state wrote for the offers that it added, in the order in which they came: a Parquet file of their
texts, and 96 bytes an offer of keys of those texts (`text_keys.py`), so that no text is looked at twice.
When segments hold twice as many rows as the reserve has offers, the next state writes all of them anew, so their size
and number stay bounded, at a cost that is paid once per doubling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.codebook import Codes
from sortiment.progress import Progress
from sortiment.sampling.choosing import Chosen
from sortiment.sampling.ledger import Ledger, Positions
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import PRODUCT, TEXTS, PartReader, UnreadablePart, run_in_order
from sortiment.sampling.reserve import NUMBERS, Entries, Reserve, join_entries
from sortiment.sampling.row_files import RowReader
from sortiment.sampling.text_keys import SIGNATURE_VALUES, key_offers

SCHEMA = pa.schema(
    [
        ("country", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("description", pa.string()),
        ("shop_category", pa.string()),
        ("price", pa.float64()),
        ("feed", pa.string()),
    ]
)
TEXT_KEYS = np.dtype(
    [*((name, "<u8") for name in ("product", "gtin", "title", "group")), ("signature", "<u2", (SIGNATURE_VALUES,))]
)
TextKeyRows = npt.NDArray[np.void]
REPEATING = ["country", "brand", "shop_category", "feed"]
ROWS_PER_GROUP = 32_768
BYTES_PER_GROUP = 2**25
"""Of row groups of long texts. Several are in memory at once, also where little of each is wanted."""
KEYS_AT_ONCE = 8_192
SEGMENTS_KEPT = 32
TEXT_BYTES_AT_ONCE = 2**28
"""So much text of a country is in memory at once, about."""


@dataclass(frozen=True)
class Segment:
    """Where a segment is: the folder, or the version of the state artifact that wrote it, and the file there."""

    name: str
    folder: Path
    file: str
    rows: int


class SegmentWriter:
    """Collects entries and writes their texts and keys as they come; a context manager that finishes the files."""

    def __init__(self, folder: Path, file: str) -> None:
        self.folder, self.file = folder, file
        self._writer = pq.ParquetWriter(folder / file, SCHEMA, compression="lz4", use_dictionary=REPEATING)
        self._keys = _keys_file(folder / file).open("wb")
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._entries: list[Entries] = []
        self._rows = 0

    def append(self, entries: Entries, keys: TextKeyRows, texts: pa.Table) -> None:
        """Entries, their texts' keys and their texts, in the same order."""
        rows = np.arange(self._rows, self._rows + len(entries), dtype=np.uint32)
        self._entries.append(replace(entries, segment=np.zeros(len(entries), dtype=np.uint16), row=rows))
        self._rows += len(entries)
        self._keys.write(keys.tobytes())
        self._waiting.append(texts)
        self._waiting_rows += texts.num_rows
        self._waiting_bytes += texts.nbytes
        if self._waiting_rows >= ROWS_PER_GROUP or self._waiting_bytes >= BYTES_PER_GROUP:
            self._write()

    @property
    def segment(self) -> Segment:
        return Segment("", self.folder, self.file, self._rows)

    @property
    def entries(self) -> Entries:
        """All entries, pointing into this segment as segment 0."""
        return join_entries(self._entries)

    def _write(self) -> None:
        if self._waiting:
            fitting = BYTES_PER_GROUP * self._waiting_rows // max(self._waiting_bytes, 1)
            size = max(1, min(fitting, 2 * ROWS_PER_GROUP))
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=size)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._keys:
            if kind is None:
                self._write()
            self._writer.close()


def fetch_offers(
    ledger: Ledger,
    chosen: Chosen,
    writer: SegmentWriter,
    *,
    reader: RowReader,
    threads: int,
    progress: Progress,
) -> None:
    """Append the chosen rows with their texts. Opens only row groups that hold one.

    Raises UnreadablePart where a part's rows are not those that were counted.
    """
    parts = PartReader([rows.part for rows in ledger.parts], reader.addresses)
    with progress("fetch chosen offers", total=len(chosen.positions)) as step:

        def fetch(group: _Wanted) -> tuple[Entries, TextKeyRows, pa.Table]:
            columns = (*TEXTS, *PRODUCT, "offer_key") if group.first_of_part else (*TEXTS, *PRODUCT)
            table = parts.read(group.part, group.index, columns).take(pa.array(group.rows))
            keys = chosen.keys[group.place]
            if group.first_of_part and not np.array_equal(table["offer_key"].to_numpy(), keys):
                raise UnreadablePart(parts.parts[group.part], "it has changed since it was counted")
            return _describe(table, keys, chosen.categories[group.place], chosen.shops[group.place])

        for entries, text_keys, texts in run_in_order(
            fetch, _wanted_groups(parts, ledger, chosen.positions, reader), threads
        ):
            writer.append(entries, text_keys, texts)
            step.advance(len(entries))


@dataclass(frozen=True)
class Texts:
    """Texts as they lie in their segments, repeating ones by number, and the row of each entry among them.

    Columns are 64-bit strings, since those of many offers may be longer than 2 GiB.
    """

    table: pa.Table
    rows: Positions

    def at(self, entries: slice | Positions) -> pa.Table:
        """The texts of these entries, so few that they are shorter than 2 GiB, in the entries' order."""
        taken = self.table.take(pa.array(self.rows[entries]))
        return taken.cast(pa.schema([SCHEMA.field(name) for name in taken.column_names]))


def open_texts(segments: Sequence[Segment], entries: Entries, columns: Sequence[str] = (), threads: int = 2) -> Texts:
    """The texts of the entries; of all columns by default. Opens only row groups that hold one."""
    names = list(columns or SCHEMA.names)
    held = pa.schema([(name, _held_type(name)) for name in names])
    tables = [held.empty_table()]
    rows, first = np.zeros(len(entries), dtype=np.int64), 0
    for index, segment in enumerate(segments):
        mine = np.flatnonzero(entries.segment == index)
        if len(mine):
            mine = mine[np.argsort(entries.row[mine])]
            for count, (table, place) in zip(*_read_segment(segment, entries.row[mine], names, threads), strict=True):
                here, mine = mine[:count], mine[count:]
                tables.append(table.cast(held))
                rows[here] = place + first
                first += table.num_rows
    return Texts(_combine(tables), rows)


def _held_type(name: str) -> pa.DataType:
    if name in REPEATING:
        return pa.dictionary(pa.int32(), pa.string())
    kind = SCHEMA.field(name).type
    return pa.large_string() if kind == pa.string() else kind


def entries_at_once(segments: Sequence[Segment], entries: Entries, text_bytes: int = TEXT_BYTES_AT_ONCE) -> int:
    """How many of the entries' texts fit into so many bytes, at the mean length of their segments' texts."""
    total = 0.0
    for segment, count in zip(segments, np.bincount(entries.segment, minlength=len(segments)).tolist(), strict=True):
        if count:
            metadata = pq.read_metadata(segment.folder / segment.file)
            size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
            total += size / max(metadata.num_rows, 1) * count
    return max(1, int(text_bytes / max(total, 1.0) * len(entries)))


def _combine(tables: list[pa.Table]) -> pa.Table:
    """The tables as one of unbroken columns. Takes a column at a time, so that no more than one is held twice."""
    names, waiting, columns = tables[0].column_names, pa.concat_tables(tables), []
    tables.clear()
    for name in names:
        columns.append(waiting[name].combine_chunks())
        waiting = waiting.drop_columns([name])
    return pa.table(columns, names=names)


def read_texts(
    segments: Sequence[Segment], entries: Entries, columns: Sequence[str] = (), threads: int = 2
) -> pa.Table:
    """The texts of the entries, in their order."""
    return open_texts(segments, entries, columns, threads).at(slice(None))


def read_text_keys(segments: Sequence[Segment], entries: Entries) -> TextKeyRows:
    """The keys of the entries' texts, in their order."""
    keys = np.empty(len(entries), dtype=TEXT_KEYS)
    for places, found in _text_key_blocks(segments, entries):
        keys[places] = found
    return keys


def describe_entries(segments: Sequence[Segment], entries: Entries) -> Reserve:
    """The entries with the keys of their texts, as columns."""
    empty = np.empty(0, dtype=TEXT_KEYS)
    of_keys = {name: empty[name] for name in TEXT_KEYS.names or ()}
    columns = {name: np.empty((len(entries), *of.shape[1:]), of.dtype) for name, of in of_keys.items()}
    for places, found in _text_key_blocks(segments, entries):
        for name, column in columns.items():
            column[places] = found[name]
    numbers = {name: getattr(entries, name) for name in NUMBERS}
    return Reserve(**numbers, **columns)


def _text_key_blocks(segments: Sequence[Segment], entries: Entries) -> Iterator[tuple[Positions, TextKeyRows]]:
    """Places of entries and the keys of their texts, so few at once that they stay in the processor's cache."""
    for index, segment in enumerate(segments):
        mine = np.flatnonzero(entries.segment == index)
        if len(mine):
            written = np.memmap(_keys_file(segment.folder / segment.file), dtype=TEXT_KEYS, mode="r").view(np.ndarray)
            for first in range(0, len(mine), KEYS_AT_ONCE):
                some = mine[first : first + KEYS_AT_ONCE]
                yield some, written[entries.row[some]]


def _read_segment(
    segment: Segment, wanted: npt.NDArray[np.uint32], names: list[str], threads: int
) -> tuple[list[int], Iterator[tuple[pa.Table, Positions]]]:
    """For each row group that holds wanted rows (given ascending): how many, and its texts with the rows' places there.

    A row group of which little is wanted is cut down to that at once, so that memory follows what is wanted.
    """
    path = segment.folder / segment.file
    metadata = pq.read_metadata(path)
    edges = np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])
    cuts = np.searchsorted(wanted, edges)
    repeating = [name for name in REPEATING if name in names]

    def read(group: int) -> tuple[pa.Table, Positions]:
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=repeating) as file:
            table = file.read_row_group(group, columns=names, use_threads=False)
        rows = wanted[cuts[group] : cuts[group + 1]].astype(np.int64) - edges[group]
        if 2 * len(rows) > table.num_rows:
            return table, rows
        return table.take(pa.array(rows)), np.arange(len(rows))

    held = np.flatnonzero(np.diff(cuts))
    return np.diff(cuts)[held].tolist(), run_in_order(read, held.tolist(), threads)


def too_many(segments: Sequence[Segment], reserve: Entries) -> bool:
    """Whether the segments hold too much that the reserve no longer needs, or are too many."""
    return (
        len(segments) > SEGMENTS_KEPT or sum(segment.rows for segment in segments) > 2 * len(reserve) + ROWS_PER_GROUP
    )


@dataclass(frozen=True)
class _Wanted:
    """A row group that holds chosen rows: which of its rows, and where they are among the chosen."""

    part: int
    index: int
    rows: npt.NDArray[np.int64]
    place: slice
    first_of_part: bool


def _wanted_groups(parts: PartReader, ledger: Ledger, positions: Positions, reader: RowReader) -> Iterator[_Wanted]:
    for index, rows, chosen in ledger.by_part(positions):
        row = reader.numbers(ledger.parts[index], rows)
        edges = np.cumsum([0, *parts.row_groups(index)])
        if row[-1] >= edges[-1]:
            raise UnreadablePart(parts.parts[index], "it has changed since it was counted")
        cuts = np.searchsorted(row, edges)
        held = np.flatnonzero(cuts[:-1] < cuts[1:])
        for group in held.tolist():
            mine = slice(int(cuts[group]), int(cuts[group + 1]))
            place = slice(chosen.start + mine.start, chosen.start + mine.stop)
            yield _Wanted(index, group, row[mine] - edges[group], place, first_of_part=group == held[0])


def _describe(table: pa.Table, keys: Keys, categories: Codes, shops: Codes) -> tuple[Entries, TextKeyRows, pa.Table]:
    columns = {name: _plain(table[name]) for name in (*TEXTS, *PRODUCT)}
    found = key_offers(columns["title"], columns["product_id"], columns["gtin"])
    text_keys = np.empty(len(keys), dtype=TEXT_KEYS)
    for name in TEXT_KEYS.names or ():
        text_keys[name] = getattr(found, name)
    nowhere = np.zeros(len(keys), dtype=np.uint16), np.zeros(len(keys), dtype=np.uint32)
    texts = pa.table([columns[field.name].cast(field.type) for field in SCHEMA], schema=SCHEMA)
    return Entries(keys, categories, shops, *nowhere), text_keys, texts


def _keys_file(texts: Path) -> Path:
    return texts.with_suffix(".keys")


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
