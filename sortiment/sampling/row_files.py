"""Where keys, categories and shops of rows lie, and reading them.

Of a part they lie in the index that the loader writes beside it (`feeds/offer_index.py`); of the rows that were living
when a state forgot the dead ones (`compaction.py`), in a file of the same layout that the state wrote, which also has
each row's number in its part. Files are local or on S3, their codes are their own: whoever reads gets a state's codes.
"""

import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sortiment.codebook import CodeBook, Codes
from sortiment.feeds.offer_index import (
    ROW_BYTES,
    WITHDRAWN,
    IndexCounts,
    Mask,
    counts_address,
    filter_bytes,
    may_hold,
    read_counts,
    read_names,
    rows_address,
)
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import REMEDY, Addresses, OfferPart, UnreadablePart

LIVING_FILE = "living"
NUMBER_BYTES = 4
MAPS_KEPT = 64
ROWS_OF_A_RUN = 4_096
LIVING_REMEDY = "delete the country's sample_state folder: it is made anew"

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Living:
    """Rows of a part that a state kept apart: the folder, or the version of the artifact; where in its file of so many
    rows they start."""

    name: str
    folder: Path
    start: int
    rows_of_file: int


@dataclass(frozen=True)
class PartRows:
    """A part's rows in a ledger, from position `first_row` on, and which shops they name (codes of the state).

    runs: rows at which runs of ascending keys start; none where they are not known or are too many. living: where the
    rows lie, if that is not beside the part.
    """

    part: OfferPart
    first_row: int
    rows: int
    shops: tuple[int, ...]
    runs: tuple[int, ...] = ()
    living: Living | None = None

    @property
    def has_long_runs(self) -> bool:
        """Whether its rows are ordered so that bisection is worth it."""
        return bool(self.runs) and len(self.runs) * ROWS_OF_A_RUN <= self.rows


class RowReader:
    """Reads rows of parts in a state's codes; row numbers count from a part's first. Several threads may use it.

    Raises UnreadablePart where a part's index is missing or damaged.
    """

    def __init__(
        self, category_ids: Sequence[str | None], shop_ids: Sequence[str | None], addresses: Addresses
    ) -> None:
        self._categories, self._shops = CodeBook(category_ids), CodeBook(shop_ids)
        self.addresses = addresses
        self._memory = threading.local()
        self._maps = lru_cache(MAPS_KEPT)(self._find_maps)

    def keys(self, part: PartRows, start: int, stop: int) -> Keys:
        keys: Keys = self._read(part, "<u8", 0, start, stop)
        return keys

    def is_local(self, part: PartRows) -> bool:
        return not self.addresses.is_remote(_place(part)[0])

    def mapped_keys(self, part: PartRows) -> Keys:
        """All keys, read where they are looked at, if the file is local. Do not keep them."""
        address, rows, first = _place(part)
        if self.addresses.is_remote(address) or not part.rows:
            return self.keys(part, 0, part.rows)
        with self._named(part), Path(address).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 8 * rows, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, dtype="<u8")[first : first + part.rows]

    def may_hold(self, part: PartRows, keys: Keys) -> Mask:
        """False for keys that the part surely does not hold. Rows that a state kept apart have no filter."""
        address, rows, _ = _place(part)
        if part.living is not None or not rows:
            return np.full(len(keys), part.living is not None)
        place = filter_bytes(rows)
        if self.addresses.is_remote(address):
            with self._named(part), self.addresses.open(address) as file:
                words = np.frombuffer(file.read_at(place.stop - place.start, place.start), dtype="<u8")
        else:
            words = self._read_over(part, address, place)
        return may_hold(words, keys)

    def _read_over(self, part: PartRows, address: str, place: slice) -> Keys:
        """Bytes of a local file as 64-bit numbers, in this thread's own memory: what was read before is overwritten.

        Memory that has been touched costs a copy; new pages, mapped or allocated, cost five times as much.
        """
        size = place.stop - place.start
        held: Keys | None = getattr(self._memory, "words", None)
        if held is None or held.nbytes < size:
            held = self._memory.words = np.empty(size // 8, dtype="<u8")
        words = held[: size // 8]
        with self._named(part), Path(address).open("rb") as file:
            file.seek(place.start)
            done = file.readinto(words.view(np.uint8).data)
        if done != size:
            raise UnreadablePart(part.part, "its index ends too early", _remedy(part))
        return words

    def categories(self, part: PartRows, start: int, stop: int) -> Codes:
        known, _ = self._maps_of(part)
        codes: Codes = np.minimum(self._read(part, "<u4", 8, start, stop), np.uint32(len(known) - 1))
        return known[codes]

    def shops(self, part: PartRows, start: int, stop: int) -> Codes:
        _, known = self._maps_of(part)
        codes: Codes = self._read(part, "<u4", 12, start, stop)
        try:
            return known[codes]
        except IndexError as error:
            raise UnreadablePart(part.part, f"its index names no such shop: {error}", _remedy(part)) from error

    def columns(self, part: PartRows, start: int, stop: int) -> tuple[Keys, Codes, Codes]:
        """Keys, categories and shops."""
        return self.keys(part, start, stop), self.categories(part, start, stop), self.shops(part, start, stop)

    def numbers(self, part: PartRows, rows: Numbers) -> Numbers:
        """The number of each row in its part."""
        if part.living is None or not len(rows):
            return rows
        first, last = int(rows[0]), int(rows[-1]) + 1
        numbers: Codes = self._read(part, "<u4", ROW_BYTES, first, last)
        return numbers[rows - first].astype(np.int64)

    def _read(self, part: PartRows, dtype: str, before: int, start: int, stop: int) -> Any:
        """A column's values; `before`: bytes of a row that come in earlier columns."""
        address, rows, first = _place(part)
        size = np.dtype(dtype).itemsize
        offset, count = before * rows + size * (first + start), stop - start
        with self._named(part):
            if self.addresses.is_remote(address):
                with self.addresses.open(address) as file:
                    values = np.frombuffer(file.read_at(size * count, offset), dtype=dtype)
            else:
                values = np.fromfile(address, dtype=dtype, count=count, offset=offset)
        if len(values) != count:
            raise UnreadablePart(part.part, "its index ends too early", _remedy(part))
        return values

    def _maps_of(self, part: PartRows) -> tuple[Codes, Codes]:
        with self._named(part):
            return self._maps(part.part.uri if part.living is None else str(part.living.folder / LIVING_FILE))

    def _find_maps(self, offers: str) -> tuple[Codes, Codes]:
        """The state's code for each category, and last for withdrawn rows; for each shop."""
        with self.addresses.open(counts_address(offers)) as file:
            categories, shops = read_names(file)
        codes = self._categories.register_values(categories)
        return np.append(codes, WITHDRAWN), self._shops.register_values(shops)

    def _named(self, part: PartRows) -> "_NamePart":
        return _NamePart(part.part, _remedy(part))


def read_index_counts(part: OfferPart, addresses: Addresses) -> IndexCounts:
    """The counts of a part. Raises UnreadablePart where its index is missing, damaged or of another file."""
    with _NamePart(part):
        with addresses.open(counts_address(part.uri)) as file:
            counts = read_counts(file)
        with addresses.open(rows_address(part.uri)) as file:
            size = file.size()
    if size != filter_bytes(counts.rows).stop:
        raise UnreadablePart(part, f"its index has {counts.rows} rows and {size} bytes for them")
    return counts


class _NamePart:
    """A context manager that turns errors of reading an index into UnreadablePart."""

    def __init__(self, part: OfferPart, remedy: str = REMEDY) -> None:
        self.part, self.remedy = part, remedy

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | ValueError | pa.ArrowException):
            raise UnreadablePart(self.part, f"its index: {error}", self.remedy) from error


def _remedy(part: PartRows) -> str:
    return REMEDY if part.living is None else LIVING_REMEDY


def _place(part: PartRows) -> tuple[str, int, int]:
    """The address of the file that has the part's rows, how many rows that has, and the part's first."""
    if part.living is None:
        return rows_address(part.part.uri), part.rows, 0
    return rows_address(str(part.living.folder / LIVING_FILE)), part.living.rows_of_file, part.living.start
