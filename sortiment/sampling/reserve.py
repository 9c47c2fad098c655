"""The reserve: offers kept for every category somewhat deeper than any draw goes, without their texts.

One entry per living offer at or below its horizons, ordered by category code and rank. An entry holds what decides
draws and splits (130 bytes) and says where the offer's text is: a row of a segment, a Parquet file that some state
wrote (`payload.py`). So a new day rewrites numbers, and only new offers' texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.errors import SamplingError
from sortiment.sampling.order import Keys, rank_keys
from sortiment.sampling.text_keys import SIGNATURE_VALUES

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint32]

FILE = "reserve.parquet"
SIGNATURE = pa.binary(2 * SIGNATURE_VALUES)
NUMBERS = {
    "keys": np.uint64,
    "categories": np.uint32,
    "shops": np.uint32,
    "product": np.uint64,
    "gtin": np.uint64,
    "title": np.uint64,
    "group": np.uint64,
    "segment": np.uint16,
    "row": np.uint32,
}


@dataclass(frozen=True)
class Reserve:
    """One entry per offer: its key, codes of category and shop, the keys of `text_keys`, its text's segment and row."""

    keys: Keys
    categories: Codes
    shops: Codes
    product: Keys
    gtin: Keys
    title: Keys
    group: Keys
    segment: npt.NDArray[np.uint16]
    row: npt.NDArray[np.uint32]
    signature: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, rows: npt.NDArray[Any]) -> "Reserve":
        """The entries at these places, or where a mask is true."""
        return Reserve(*(getattr(self, field.name)[rows] for field in fields(self)))

    def moved(self, segment: int) -> "Reserve":
        """The same entries, their segments counted from `segment`."""
        return replace(self, segment=self.segment + np.uint16(segment))


def empty_reserve() -> Reserve:
    return Reserve(
        **{name: np.empty(0, dtype=dtype) for name, dtype in NUMBERS.items()},
        signature=np.empty((0, SIGNATURE_VALUES), dtype=np.uint16),
    )


def join_reserves(parts: Sequence[Reserve]) -> Reserve:
    """All entries, one part after the other."""
    joined = [part for part in parts if len(part)]
    if len(joined) < 2:
        return joined[0] if joined else empty_reserve()
    names = [field.name for field in fields(Reserve)]
    return Reserve(**{name: np.concatenate([getattr(part, name) for part in joined]) for name in names})


def order_reserve(reserve: Reserve, seed: int) -> Reserve:
    """By category code and rank. Raises SamplingError where a key comes twice in a category."""
    ordered = reserve.at(_order(reserve.categories, rank_keys(reserve.keys, seed)))
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


def write_reserve(folder: Path, reserve: Reserve) -> None:
    """As `reserve.parquet`, uncompressed: it is read whole."""
    columns = {name: pa.array(getattr(reserve, name)) for name in NUMBERS}
    signature = pa.py_buffer(np.ascontiguousarray(reserve.signature))
    columns["signature"] = pa.FixedSizeBinaryArray.from_buffers(SIGNATURE, len(reserve), [None, signature])
    pq.write_table(pa.table(columns), folder / FILE, compression="none", use_dictionary=False, write_statistics=False)


def read_reserve(folder: Path) -> Reserve:
    """From `reserve.parquet`."""
    table = pq.read_table(folder / FILE, use_threads=False).combine_chunks()
    if not table.num_rows:
        return empty_reserve()
    return Reserve(**{name: table[name].to_numpy() for name in NUMBERS}, signature=_signatures(table["signature"]))


def _signatures(column: pa.ChunkedArray) -> npt.NDArray[np.uint16]:
    width = SIGNATURE.byte_width
    whole = [np.frombuffer(chunk.buffers()[1], dtype=np.uint8)[chunk.offset * width :] for chunk in column.chunks]
    data = np.concatenate([part[: len(chunk) * width] for part, chunk in zip(whole, column.chunks, strict=True)])
    return data.view(np.uint16).reshape(-1, SIGNATURE_VALUES)


def _order(categories: Codes, ranks: Keys) -> npt.NDArray[np.int64]:
    """By category, then rank. Sorts one number, category and the rank's first 48 bits, where that settles it."""
    if int(categories.max(initial=0)) < 2**16:
        combined = (categories.astype(np.uint64) << np.uint64(48)) | (ranks >> np.uint64(16))
        order = np.argsort(combined, kind="stable")
        ordered = combined[order]
        if not (ordered[1:] == ordered[:-1]).any():
            return order
    return np.lexsort((ranks, categories))
