"""The ledger: every row ever read, in order, by position; which of them are dead; and finding rows by key.

It is what makes a day cost a day. A repeated key (an update, another label, a withdrawal) is found in the indexes of
the parts that share a shop with the new ones: their filters, 2 bytes a row, say of nearly all new keys that they are
new, the others are found by bisection in 8 bytes a row. A category whose reserve ran out is refilled from the indexes,
and only the row groups that hold the missing offers are opened.

Rows are never changed: which are dead (a later row has the same key) is a bit per position. Each part's positions start
at a multiple of 8, so that ledgers are joined by joining their bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sortiment.codebook import Codes
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import OfferPart, run_in_order
from sortiment.sampling.row_files import Living, PartRows, RowReader

UNLABELLED = 0
BLOCK_ROWS = 1 << 17
KEYS_AT_ONCE = 1 << 22
ROWS_AT_ONCE = 1 << 20
SHOPS_TOLD_APART = 1_000
ROWS_PER_BISECTION = 4
"""Looking at so many rows one by one costs at least as much as looking for a key in one run."""
FEW_PAGES = 1_024
"""Keys are mapped, not read, where a part has so many times more rows than keys are looked for in it."""

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Rows of one part, so many that they are worth a task. `start` is a multiple of 8 unless told otherwise."""

    part: PartRows
    start: int
    stop: int

    @property
    def position(self) -> int:
        """Of the first row."""
        return self.part.first_row + self.start


@dataclass(frozen=True)
class Ledger:
    """Rows of parts, and the bits of those that are dead."""

    parts: tuple[PartRows, ...]
    dead: npt.NDArray[np.uint8] = field(repr=False)

    @property
    def dead_count(self) -> int:
        return _count_bits(self.dead)

    def living_in(self, part: PartRows) -> int:
        """Rows of one of the parts that are not dead."""
        first = part.first_row // 8
        return part.rows - _count_bits(self.dead[first : first + -(-part.rows // 8)])

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def joined(self, later: "Ledger") -> "Ledger":
        """The rows of both, the later ones after these."""
        first = 8 * len(self.dead)
        moved = (replace(part, first_row=part.first_row + first) for part in later.parts)
        return Ledger((*self.parts, *moved), np.concatenate([self.dead, later.dead]))

    def dead_rows(self, block: Block) -> Mask:
        """True where a later row has the same key."""
        first, last = block.position // 8, -(-(block.part.first_row + block.stop) // 8)
        bits = np.unpackbits(self.dead[first:last], bitorder="little")
        mask: Mask = bits[: block.stop - block.start].view(np.bool_)
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

    def died_since(self, before: "Ledger") -> "Ledger":
        """The same rows, of which only those are dead that were not in `before`."""
        return replace(self, dead=self.dead & ~before.dead)

    def move_parts(self, here: Mapping[str, OfferPart]) -> "Ledger":
        """The same rows; each part at the address that `here` has for its identity, where it has one."""
        return replace(
            self, parts=tuple(replace(rows, part=here.get(rows.part.identity, rows.part)) for rows in self.parts)
        )

    def blocks(self, only: Sequence[PartRows] | None = None, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """The rows of the given parts, of all by default; so many at once."""
        for part in self.parts if only is None else only:
            yield from cut_rows(part, 0, part.rows, rows)

    def by_part(self, positions: Positions) -> Iterator[tuple[int, Positions, slice]]:
        """For each part that holds some of the positions (ascending): its index, their rows there, which they are."""
        firsts = np.array([part.first_row for part in self.parts], dtype=np.int64)
        cuts = np.append(np.searchsorted(positions, firsts), len(positions))
        for index in np.flatnonzero(np.diff(cuts)).tolist():
            place = slice(int(cuts[index]), int(cuts[index + 1]))
            yield index, positions[place] - firsts[index], place


def make_ledger(parts: Sequence[PartRows]) -> Ledger:
    """The rows of the parts, one after the other, whatever their `first_row` says; none of them dead."""
    placed, position = [], 0
    for part in parts:
        placed.append(replace(part, first_row=position))
        position += -(-part.rows // 8) * 8
    return Ledger(tuple(placed), np.zeros(position // 8, dtype=np.uint8))


def read_keys(ledger: Ledger, positions: Positions, reader: RowReader) -> Keys:
    """Keys of some rows, given ascending. Reads only blocks that hold one."""
    found: list[Keys] = [np.empty(0, np.uint64)]
    for index, rows, _ in ledger.by_part(positions):
        part = ledger.parts[index]
        for block in cut_rows(part, int(rows[0]) & ~7, int(rows[-1]) + 1):
            low, high = np.searchsorted(rows, [block.start, block.stop])
            if low < high:
                found.append(reader.keys(part, block.start, block.stop)[rows[low:high] - block.start])
    return np.concatenate(found)


def read_dead(ledger: Ledger, reader: RowReader) -> Iterator[tuple[Codes, Codes]]:
    """Categories and shops of the dead rows, a block at a time. Reads only blocks that hold one."""
    for block in ledger.blocks():
        rows = np.flatnonzero(ledger.dead_rows(block))
        if len(rows):
            where = block.part, block.start + int(rows[0]), block.start + int(rows[-1]) + 1
            yield reader.categories(*where)[rows - rows[0]], reader.shops(*where)[rows - rows[0]]


@dataclass(frozen=True)
class WantedKeys:
    """Keys to be found, ordered by the code of their shop; where each shop's start, and the end. [shops + 1]"""

    keys: Keys
    starts: Positions

    def of(self, shops: tuple[int, ...]) -> Keys:
        """The keys of these shops (of all, where these are many)."""
        if len(shops) > SHOPS_TOLD_APART:
            return self.keys
        known = np.array([shop for shop in shops if shop < len(self.starts) - 1], dtype=np.int64)
        edges = zip(self.starts[known].tolist(), self.starts[known + 1].tolist(), strict=True)
        return np.concatenate([self.keys[:0], *(self.keys[a:b] for a, b in edges if a < b)])


def want_keys(keys: Keys, shops: Codes) -> WantedKeys:
    """Keys, with the shop of each, in any order."""
    narrow = shops.astype(np.uint16) if int(shops.max(initial=0)) < 2**16 else shops
    return WantedKeys(keys[np.argsort(narrow, kind="stable")], np.cumsum(np.append(0, np.bincount(narrow))))


def find_keys(
    ledger: Ledger, wanted: WantedKeys, parts: Sequence[PartRows], reader: RowReader, threads: int
) -> Positions:
    """Positions, within the given parts, of living rows whose key is wanted.

    A key's shop never changes, so a part is searched for its own shops' keys alone. Its filter answers for nearly all
    that it does not hold; the others are found by bisection. Where a part has few rows for so many keys or runs, or is
    in no order, its rows are looked at one by one.
    """

    def find(part: PartRows) -> Positions | None:
        own = wanted.of(part.shops)
        if len(own) < part.rows:
            own = own[reader.may_hold(part, own)]
        if len(own) and (not part.runs or len(own) * len(part.runs) > ROWS_PER_BISECTION * part.rows):
            return None
        return _bisect(part, np.sort(own), reader)

    searched = list(zip(parts, run_in_order(find, parts, threads), strict=True))
    found = np.concatenate([np.empty(0, dtype=np.int64), *(rows for _, rows in searched if rows is not None)])
    found = found[~ledger.dead_at(found)]
    scanned = [part for part, rows in searched if rows is None]
    if not scanned:
        return found
    return np.concatenate([found, _scan(ledger, np.unique(wanted.keys), scanned, reader, threads)])


def _bisect(part: PartRows, keys: Keys, reader: RowReader) -> Positions:
    """Positions of the ordered keys in a part with runs. Looks at few pages where few keys are wanted."""
    found = [np.empty(0, dtype=np.int64)]
    if not len(keys):
        return found[0]
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    mapped = reader.mapped_keys(part) if FEW_PAGES * len(keys) < part.rows else None
    for start, stop in zip(part.runs, [*part.runs[1:], part.rows], strict=True):
        for first in range(start, stop, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, stop)
            run = reader.keys(part, first, last) if mapped is None else mapped[first:last]
            place = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found.append(place[run[place] == keys] + part.first_row + first)
    return np.concatenate(found)


def _scan(ledger: Ledger, wanted: Keys, parts: Sequence[PartRows], reader: RowReader, threads: int) -> Positions:
    bits = int(np.clip(np.ceil(np.log2(len(wanted) * 16)), 12, 26))
    shift = np.uint64(64 - bits)
    seen = np.zeros(1 << bits, dtype=np.bool_)
    seen[(wanted >> shift).view(np.int64)] = True

    def search(block: Block) -> Positions:
        keys = reader.keys(block.part, block.start, block.stop)
        rows = np.flatnonzero(seen[(keys >> shift).view(np.int64)])
        keys = keys[rows]
        nearest = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
        rows = rows[wanted[nearest] == keys]
        living: Positions = rows[~ledger.dead_rows(block)[rows]] + block.position
        return living

    return _concatenate(run_in_order(search, ledger.blocks(parts), threads))


def find_repeats(ledger: Ledger, parts: Sequence[PartRows], reader: RowReader, threads: int) -> Iterator[Positions]:
    """Positions, within the given parts, of rows that a later row of those parts repeats: all but each key's last.

    Takes the key space in slices of about four million rows, so memory does not grow with the ledger. Of a part that is
    ordered and local a slice's rows are looked up; others are read once more for each slice.
    """
    rows = sum(part.rows for part in parts)
    pieces: list[PartRows | Block] = []
    for part in parts:
        mapped = part.has_long_runs and reader.is_local(part)
        pieces += [part] if mapped else ledger.blocks([part])
    slices = max(1, -(-rows // KEYS_AT_ONCE))
    edges = [int(2**64 * index / slices) for index in range(1, slices)]
    for low, high in zip([0, *edges], [*(edge - 1 for edge in edges), 2**64 - 1], strict=True):
        lowest, highest = np.uint64(low), np.uint64(high)

        def take(piece: PartRows | Block, lowest: np.uint64 = lowest, highest: np.uint64 = highest) -> Any:
            return _take_range(piece, lowest, highest, reader)

        taken = list(run_in_order(take, pieces, threads))
        keys = np.concatenate([keys for keys, _ in taken]) if taken else np.empty(0, dtype=np.uint64)
        positions = np.concatenate([rows for _, rows in taken]) if taken else np.empty(0, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        repeated = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        yield positions[order[repeated]]


def _take_range(
    piece: PartRows | Block, lowest: np.uint64, highest: np.uint64, reader: RowReader
) -> tuple[Keys, Positions]:
    """Keys from lowest to highest, and their positions, ascending. piece: a part in long runs, or rows in any order."""
    if isinstance(piece, Block):
        keys = reader.keys(piece.part, piece.start, piece.stop)
        rows = np.flatnonzero((keys >= lowest) & (keys <= highest))
        return keys[rows], rows + piece.position
    mapped, found = reader.mapped_keys(piece), [np.empty(0, dtype=np.int64)]
    for start, stop in zip(piece.runs, [*piece.runs[1:], piece.rows], strict=True):
        run = mapped[start:stop]
        low, high = np.searchsorted(run, lowest), np.searchsorted(run, highest, side="right")
        found.append(np.arange(start + low, start + high))
    rows = np.concatenate(found)
    return mapped[rows], rows + piece.first_row


def tabulate_parts(parts: Sequence[PartRows], name_living: Mapping[str, str]) -> pa.Table:
    """One row per part. A part's address is kept only where nothing else tells parts apart.

    name_living: folder of kept rows to the name by which they are found again.
    """
    return pa.table(
        {
            "uri": pa.array(["" if one.part.version else one.part.uri for one in parts], pa.string()),
            "version": pa.array([one.part.version for one in parts], pa.string()),
            "rows": pa.array([one.rows for one in parts], pa.int64()),
            "shops": pa.array([one.shops for one in parts], pa.list_(pa.uint32())),
            "runs": pa.array([one.runs for one in parts], pa.list_(pa.int64())),
            "living": pa.array([one.living and name_living[str(one.living.folder)] for one in parts], pa.string()),
            "living_start": pa.array([one.living and one.living.start for one in parts], pa.int64()),
            "living_rows": pa.array([one.living and one.living.rows_of_file for one in parts], pa.int64()),
        }
    )


def parts_of_table(table: pa.Table, find_living: Any) -> list[PartRows]:
    """The parts from the table of `tabulate_parts`; whoever opens it knows where versions are.

    find_living: name to folder.
    """
    return [
        PartRows(
            part=OfferPart(row["uri"], row["version"]),
            first_row=0,
            rows=row["rows"],
            shops=tuple(row["shops"]),
            runs=tuple(row["runs"]),
            living=None
            if row["living"] is None
            else Living(row["living"], find_living(row["living"]), row["living_start"], row["living_rows"]),
        )
        for row in table.to_pylist()
    ]


def cut_rows(part: PartRows, start: int, stop: int, rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """A range of a part's rows in pieces of so many, by default such as are worth a task."""
    for first in range(start, stop, rows):
        yield Block(part, first, min(first + rows, stop))


def _count_bits(dead: npt.NDArray[np.uint8]) -> int:
    whole = len(dead) // 8 * 8
    words, rest = dead[:whole].view(np.uint64), dead[whole:]
    return int(np.bitwise_count(words).sum()) + int(np.bitwise_count(rest).sum())


def _concatenate(found: Iterator[Positions]) -> Positions:
    return np.concatenate([np.empty(0, dtype=np.int64), *found])
