"""The reserve: offers kept for every category somewhat deeper than any draw goes, without their texts.

One entry per living offer at or below its horizons, ordered by category code and rank: 22 bytes that decide whether it
is drawn and say where its text is: a row of a segment, files that some state wrote (`payload.py`). So a new day
rewrites these numbers, and adds a segment for the new offers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sortiment.errors import SamplingError
from sortiment.sampling.order import Keys, order_runs, rank_keys

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint32]

FILE = "reserve.arrow"
NUMBERS = {"keys": np.uint64, "categories": np.uint32, "shops": np.uint32, "segment": np.uint16, "row": np.uint32}


@dataclass(frozen=True)
class Entries:
    """One entry per offer: its key, codes of category and shop, its text's segment and row there."""

    keys: Keys
    categories: Codes
    shops: Codes
    segment: npt.NDArray[np.uint16]
    row: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, rows: npt.NDArray[Any]) -> Self:
        """The entries at these places, or where a mask is true."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows  # at once, not once per column
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def moved(self, segment: int) -> Self:
        """The same entries, their segments counted from `segment`."""
        return replace(self, segment=self.segment + np.uint16(segment))


@dataclass(frozen=True)
class Reserve(Entries):
    """Entries with the keys of `text_keys`, which say what is the same product and decide the split."""

    product: Keys
    gtin: Keys
    title: Keys
    group: Keys
    signature: npt.NDArray[np.uint16]


def empty_entries() -> Entries:
    return Entries(**{name: np.empty(0, dtype=dtype) for name, dtype in NUMBERS.items()})


def join_entries(parts: Sequence[Entries]) -> Entries:
    """All entries, one part after the other."""
    joined = [part for part in parts if len(part)]
    if len(joined) < 2:
        return joined[0] if joined else empty_entries()
    return Entries(**{name: np.concatenate([getattr(part, name) for part in joined]) for name in NUMBERS})


def merge_entries(ordered: Entries, added: Entries, seed: int) -> Entries:
    """All entries by category code and rank, as the first ones are already; the others in any order.

    Raises SamplingError where a key comes twice in a category.
    """
    added = _order_entries(added, seed)
    if not len(ordered) or not len(added):
        return added if len(added) else ordered
    if _is_wide(ordered) or _is_wide(added):
        return _order_entries(join_entries([ordered, added]), seed)
    there, new = (_standing(entries, seed) for entries in (ordered, added))
    place = np.searchsorted(there, new)
    if (there[np.minimum(place, len(there) - 1)] == new).any():
        return _order_entries(join_entries([ordered, added]), seed)
    at = place + np.arange(len(added))
    old = np.ones(len(ordered) + len(added), dtype=np.bool_)
    old[at] = False
    merged = {name: np.empty(len(old), dtype=dtype) for name, dtype in NUMBERS.items()}
    for name, column in merged.items():
        column[old], column[at] = getattr(ordered, name), getattr(added, name)
    return Entries(**merged)


def _order_entries(reserve: Entries, seed: int) -> Entries:
    ordered = reserve.at(_order(reserve, seed))
    twice = np.flatnonzero(
        (ordered.keys[1:] == ordered.keys[:-1]) & (ordered.categories[1:] == ordered.categories[:-1])
    )
    if len(twice):
        raise SamplingError(
            "a part holds an offer twice",
            value=f"offer_key {ordered.keys[twice[0]]}",
            allowed="one row per offer within a part",
            fix="load the feed file again: the loader keeps an offer's last row",
        )
    return ordered


def write_entries(folder: Path, reserve: Entries) -> None:
    """As `reserve.arrow`."""
    write_numbers(folder / FILE, {name: getattr(reserve, name) for name in NUMBERS})


def read_entries(folder: Path) -> Entries:
    """From `reserve.arrow`."""
    return Entries(**read_numbers(folder / FILE))


def write_numbers(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Columns of numbers as they are in memory (Arrow IPC): they are read whole."""
    write_arrow(path, pa.table({name: pa.array(values) for name, values in columns.items()}))


def read_numbers(path: Path) -> dict[str, Any]:
    """What `write_numbers` wrote."""
    table = read_arrow(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def write_arrow(path: Path, table: pa.Table) -> None:
    """A small table as it is in memory: to open it costs a tenth of what Parquet does."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def read_arrow(path: Path) -> pa.Table:
    """What `write_arrow` wrote."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _order(entries: Entries, seed: int) -> npt.NDArray[np.int64]:
    """By category, then rank. Sorts one number where that settles it."""
    if not _is_wide(entries):
        standing = _standing(entries, seed)
        order = order_runs(standing)
        ordered = standing[order]
        if not (ordered[1:] == ordered[:-1]).any():
            return order
    return np.lexsort((rank_keys(entries.keys, seed), entries.categories))


def _standing(entries: Entries, seed: int) -> Keys:
    """Category and the first 48 bits of the rank as one number, of entries that are not wide."""
    standing = rank_keys(entries.keys, seed)
    standing >>= np.uint64(16)
    standing |= entries.categories.astype(np.uint64) << np.uint64(48)
    return standing


def _is_wide(entries: Entries) -> bool:
    """Whether a category's code does not fit 16 bits."""
    return int(entries.categories.max(initial=0)) >= 2**16
