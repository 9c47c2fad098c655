"""The ledger: for every row ever read, in order, its offer key, category and shop, 16 bytes a row.

It is what makes a day cost a day. A repeated key (an update, another label, a withdrawal) is found in the ledgers of
the parts that share a shop with the new ones, which is a scan of 8 bytes a row and no Parquet at all; a category whose
reserve ran out is refilled from the ledger, and only the row groups that hold the missing offers are opened.

On disk: `keys.u64`, `categories.u32`, `shops.u32`, little-endian, row for row. Ledgers are never changed: which rows
are dead (a later row has the same key) is a bit per row that the state keeps. When more than half of all rows are dead,
the next state writes the living ones into a new, sparse ledger, which also has `rows.u32`: their numbers in the part.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sortiment.sampling.codes import Codes
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import OfferPart, run_in_order

WITHDRAWN = np.uint32(2**32 - 1)
UNLABELLED = 0
BLOCK_ROWS = 1 << 17
ROWS_AT_ONCE = 1 << 20
KEYS_AT_ONCE = 1 << 22
SHOPS_TOLD_APART = 1_000
FEW = 16
"""Bisection is for parts with so many times more rows than keys are looked for in them."""
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")
KEYS, CATEGORIES, SHOPS, ROWS = "keys.u64", "categories.u32", "shops.u32", "rows.u32"

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PartRows:
    """Where a part's rows are in a ledger, and which shops they name (codes of the state).

    runs: rows of the part at which runs of ascending keys start; none where they are not known or are too many.
    """

    part: OfferPart
    first_row: int
    rows: int
    shops: tuple[int, ...]
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """A folder of rows. The maps turn its codes into the state's; None where they are the same.

    sparse: it holds some of its parts' rows, and their numbers.
    """

    folder: Path
    parts: tuple[PartRows, ...]
    dead: npt.NDArray[np.uint8] = field(repr=False)
    category_map: Codes | None = field(default=None, repr=False)
    shop_map: Codes | None = field(default=None, repr=False)
    sparse: bool = False

    @property
    def dead_count(self) -> int:
        return int(np.bitwise_count(self.dead).sum())

    @property
    def rows(self) -> int:
        return self.parts[-1].first_row + self.parts[-1].rows if self.parts else 0

    def keys(self, start: int, stop: int) -> Keys:
        keys: Keys = np.fromfile(self.folder / KEYS, dtype="<u8", count=stop - start, offset=8 * start)
        return keys

    def mapped_keys(self) -> Keys:
        """All keys, read where they are looked at."""
        return np.memmap(self.folder / KEYS, dtype="<u8", mode="r")

    def categories(self, start: int, stop: int) -> Codes:
        return self._map_categories(_read_codes(self.folder / CATEGORIES, start, stop))

    def _map_categories(self, codes: Codes) -> Codes:
        if self.category_map is None:
            return codes
        known: Codes = np.append(self.category_map, WITHDRAWN)
        return known[np.minimum(codes, np.uint32(len(self.category_map)))]

    def shops(self, start: int, stop: int) -> Codes:
        codes = _read_codes(self.folder / SHOPS, start, stop)
        return codes if self.shop_map is None else self.shop_map[codes]

    def at(self, positions: Positions) -> tuple[Keys, Codes, Codes]:
        """Keys, categories and shops of some rows, given ascending. Reads only blocks that hold one."""
        if not len(positions):
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.uint32)
        found = []
        for start, stop in self.blocks():
            low, high = np.searchsorted(positions, [start, stop])
            if low < high:
                rows = positions[low:high] - start
                found.append(tuple(read(start, stop)[rows] for read in (self.keys, self.categories, self.shops)))
        keys, categories, shops = (np.concatenate(column) for column in zip(*found, strict=True))
        return keys, categories, shops

    def dead_rows(self, start: int, stop: int) -> Mask:
        """True where a later row has the same key. `start` is a multiple of 8."""
        bits = np.unpackbits(self.dead[start // 8 : -(-stop // 8)], bitorder="little")
        mask: Mask = bits[: stop - start].view(np.bool_)
        return mask

    def dead_at(self, positions: Positions) -> Mask:
        """True where a later row has the same key."""
        bits = self.dead[positions >> 3] >> (positions & 7).astype(np.uint8)
        mask: Mask = (bits & 1).astype(np.bool_)
        return mask

    def with_dead(self, positions: Positions) -> "Ledger":
        """The same rows, these dead as well."""
        if not len(positions):
            return self
        dead = self.dead.copy()
        np.bitwise_or.at(dead, positions >> 3, (1 << (positions & 7)).astype(np.uint8))
        return replace(self, dead=dead)

    def move_parts(self, here: Mapping[str, OfferPart]) -> "Ledger":
        """The same rows; each part at the address that `here` has for its identity, where it has one."""
        return replace(
            self, parts=tuple(replace(rows, part=here.get(rows.part.identity, rows.part)) for rows in self.parts)
        )

    def blocks(self, only: Sequence[PartRows] | None = None) -> Iterator[tuple[int, int]]:
        """Row ranges that cover the given parts (all by default), each starting at a multiple of 8."""
        start = stop = 0
        for part in self.parts if only is None else only:
            first = max(part.first_row & ~7, stop & ~7)
            if first > stop:
                yield from cut_rows(start, stop)
                start = first
            stop = part.first_row + part.rows
        yield from cut_rows(start, stop)

    def locate(self, positions: Positions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Index into `parts` and row within that part, for each position."""
        firsts = np.array([part.first_row for part in self.parts], dtype=np.int64)
        part = np.searchsorted(firsts, positions, side="right") - 1
        if self.sparse:
            return part, np.memmap(self.folder / ROWS, dtype="<u4", mode="r")[positions].astype(np.int64)
        return part, positions - firsts[part]


class LedgerWriter:
    """Writes rows at their place, from any thread; a context manager that closes the files."""

    def __init__(self, folder: Path, sparse: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = (KEYS, CATEGORIES, SHOPS, ROWS) if sparse else (KEYS, CATEGORIES, SHOPS)
        self._streams = [(folder / name).open("wb", buffering=0) for name in names]

    def write(self, first_row: int, *columns: npt.NDArray[Any]) -> None:
        """Rows from `first_row` on: keys, categories, shops, and in a sparse ledger their numbers."""
        for stream, values in zip(self._streams, columns, strict=True):
            data = np.ascontiguousarray(values).view(np.uint8).data
            offset = first_row * values.dtype.itemsize
            while data:
                done = os.pwrite(stream.fileno(), data, offset)
                data, offset = data[done:], offset + done

    def __enter__(self) -> "LedgerWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.close()


def remove_ledger(folder: Path) -> None:
    """Delete a ledger that nothing refers to."""
    for name in (KEYS, CATEGORIES, SHOPS):
        (folder / name).unlink(missing_ok=True)


def alive(rows: int) -> npt.NDArray[np.uint8]:
    """The bits of a ledger none of whose rows is dead."""
    return np.zeros(-(-rows // 8), dtype=np.uint8)


@dataclass(frozen=True)
class WantedKeys:
    """Keys to be found, ordered by the code of their shop, then by key; each once."""

    keys: Keys
    shops: Codes

    def of(self, shops: tuple[int, ...]) -> Keys:
        """The keys of these shops (of all, where these are many), ascending."""
        if len(shops) > SHOPS_TOLD_APART:
            return np.sort(self.keys)
        first, last = (np.searchsorted(self.shops, np.array(shops, dtype=np.uint32), side) for side in SIDES)
        return np.sort(np.concatenate([self.keys[:0], *(self.keys[a:b] for a, b in zip(first, last, strict=True))]))


def want_keys(keys: Keys, shops: Codes) -> WantedKeys:
    """Keys, with the shop of each, in any order."""
    order = np.lexsort((keys, shops))
    keys, shops = keys[order], shops[order]
    first = np.append(True, (keys[1:] != keys[:-1]) | (shops[1:] != shops[:-1]))[: len(keys)]
    return WantedKeys(keys[first], shops[first])


def find_keys(ledger: Ledger, wanted: WantedKeys, parts: Sequence[PartRows], threads: int) -> Positions:
    """Positions, within the given parts, of living rows whose key is wanted.

    A key's shop never changes, so a part is searched for its own shops' keys: in runs by bisection, else row by row.
    """
    if not len(wanted.keys) or not any(part.rows for part in parts):
        return np.empty(0, dtype=np.int64)
    bisected = [part for part in parts if part.runs and FEW * len(wanted.keys) < part.rows * len(parts)]
    scanned = [part for part in parts if part not in bisected] if len(bisected) < len(parts) else []

    def bisect(part: PartRows) -> Positions:
        own, found = wanted.of(part.shops), [np.empty(0, dtype=np.int64)]
        for start, stop in zip(part.runs, [*part.runs[1:], part.rows], strict=True):
            for first in range(part.first_row + start, part.first_row + stop, ROWS_AT_ONCE):
                run = ledger.keys(first, min(first + ROWS_AT_ONCE, part.first_row + stop))
                place = np.minimum(np.searchsorted(run, own), len(run) - 1)
                found.append(place[run[place] == own] + first)
        return np.concatenate(found)

    found = _concatenate(run_in_order(bisect, bisected, threads))
    found = found[~ledger.dead_at(found)]
    return np.concatenate([found, _scan(ledger, np.unique(wanted.keys), scanned, threads)]) if scanned else found


def _scan(ledger: Ledger, wanted: Keys, parts: Sequence[PartRows], threads: int) -> Positions:
    bits = int(np.clip(np.ceil(np.log2(len(wanted) * 16)), 12, 26))
    shift = np.uint64(64 - bits)
    seen = np.zeros(1 << bits, dtype=np.bool_)
    seen[(wanted >> shift).view(np.int64)] = True

    def search(block: tuple[int, int]) -> Positions:
        keys = ledger.keys(*block)
        rows = np.flatnonzero(seen[(keys >> shift).view(np.int64)])
        keys = keys[rows]
        nearest = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
        rows = rows[wanted[nearest] == keys]
        living: Positions = rows[~ledger.dead_rows(*block)[rows]] + block[0]
        return living

    return _concatenate(run_in_order(search, ledger.blocks(parts), threads))


def find_repeats(ledger: Ledger, parts: Sequence[PartRows], threads: int) -> Positions:
    """Positions, within the given parts, of rows that a later row of those parts repeats: all but each key's last.

    Takes the key space in slices of about four million rows, so memory does not grow with the ledger.
    """
    rows = sum(part.rows for part in parts)
    slices = max(1, -(-rows // KEYS_AT_ONCE))
    edges = [int(2**64 * index / slices) for index in range(1, slices)]
    found = []
    for low, high in zip([0, *edges], [*(edge - 1 for edge in edges), 2**64 - 1], strict=True):
        lowest, highest = np.uint64(low), np.uint64(high)

        def take(block: tuple[int, int], lowest: np.uint64 = lowest, highest: np.uint64 = highest) -> Any:
            keys = ledger.keys(*block)
            rows = np.flatnonzero((keys >= lowest) & (keys <= highest))
            return keys[rows], rows + block[0]

        taken = list(run_in_order(take, ledger.blocks(parts), threads))
        keys = np.concatenate([keys for keys, _ in taken]) if taken else np.empty(0, dtype=np.uint64)
        positions = np.concatenate([rows for _, rows in taken]) if taken else np.empty(0, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        repeated = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        found.append(positions[order[repeated]])
    return np.sort(np.concatenate(found))


def tabulate_parts(ledgers: Sequence[Sequence[PartRows]]) -> pa.Table:
    """One row per part of each ledger. A part's address is kept only where nothing else tells parts apart."""
    rows = [(index, part) for index, parts in enumerate(ledgers) for part in parts]
    return pa.table(
        {
            "ledger": pa.array([index for index, _ in rows], pa.int32()),
            "uri": pa.array(["" if part.part.version else part.part.uri for _, part in rows], pa.string()),
            "version": pa.array([part.part.version for _, part in rows], pa.string()),
            "first_row": pa.array([part.first_row for _, part in rows], pa.int64()),
            "rows": pa.array([part.rows for _, part in rows], pa.int64()),
            "shops": pa.array([part.shops for _, part in rows], pa.list_(pa.uint32())),
            "runs": pa.array([part.runs for _, part in rows], pa.list_(pa.int64())),
        }
    )


def parts_of_ledger(table: pa.Table, index: int) -> tuple[PartRows, ...]:
    """The parts of one ledger, from the table of `tabulate_parts`; whoever opens it knows where versions are."""
    rows = table.filter(pc.equal(table["ledger"], index)).to_pylist()
    return tuple(
        PartRows(
            part=OfferPart(row["uri"], row["version"]),
            first_row=row["first_row"],
            rows=row["rows"],
            shops=tuple(row["shops"]),
            runs=tuple(row["runs"]),
        )
        for row in rows
    )


def _read_codes(path: Path, start: int, stop: int) -> Codes:
    codes: Codes = np.fromfile(path, dtype="<u4", count=stop - start, offset=4 * start)
    return codes


def cut_rows(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The range in pieces that are worth a task."""
    for first in range(start, stop, BLOCK_ROWS):
        yield first, min(first + BLOCK_ROWS, stop)


def _concatenate(found: Iterator[Positions]) -> Positions:
    return np.concatenate([np.empty(0, dtype=np.int64), *found])
