"""Reading offer parts: Parquet files with the columns of `feed_files` in docs/contracts.md, local or on S3.

Two kinds of read. The light one takes the three or four narrow columns that decide (key, category, shop, withdrawn) and
keeps strings as dictionary codes. The payload one takes whole offers, and only from the row groups that hold one that
was chosen: it costs most where parts are in arrival order, and little where they are ordered by offer_key.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sortiment.errors import SamplingError
from sortiment.sampling.order import Keys

LIGHT = ("offer_key", "category_id", "shop_id", "withdrawn")
REPEATING = ("country", "shop_id", "brand", "shop_category", "category_id", "department", "feed")
PAYLOAD = (
    "offer_key",
    "country",
    "shop_id",
    "title",
    "brand",
    "description",
    "shop_category",
    "price",
    "category_id",
    "department",
    "feed",
    "gtin",
    "product_id",
)

Codes = npt.NDArray[np.int64]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class OfferPart:
    """One Parquet file of one country. `version` changes when the content does; by default it is the address."""

    uri: str
    version: str = ""

    @property
    def identity(self) -> str:
        return self.version or self.uri


@dataclass(frozen=True)
class S3Options:
    """How `s3://` addresses are read. What is None is found as the AWS SDK finds it (profile, instance role)."""

    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class UnreadablePart(SamplingError):
    """A part that is missing, damaged or lacks a column. `part` names it."""

    def __init__(self, part: OfferPart, reason: str) -> None:
        self.part = part
        self.reason = reason
        super().__init__(
            f"the offer part {part.uri} cannot be read",
            value=reason,
            allowed="a Parquet file with the columns of feed_files in docs/contracts.md",
            fix="load its feed file again, or set sampling.on_unreadable_part: skip to go on without it",
        )


@dataclass(frozen=True)
class LightBatch:
    """One row group's deciding columns. Codes index the lists beside them, whose last entry is None (absent)."""

    part: int
    rows: int
    keys: Keys
    categories: Codes
    category_values: list[str | None]
    shops: Codes
    shop_values: list[str | None]
    withdrawn: npt.NDArray[np.bool_] | None
    departments: dict[str, str | None]
    pair_categories: Codes
    pair_shops: Codes
    pair_offers: Codes


class PartReader:
    """Opens parts; safe to use from several threads."""

    def __init__(self, parts: list[OfferPart], s3: S3Options | None = None) -> None:
        self.parts = parts
        self.s3 = s3
        self._metadata: dict[int, pq.FileMetaData] = {}
        self._file_system: pafs.FileSystem | None = None
        self._local = threading.local()

    def row_groups(self, part: int) -> list[int]:
        """Rows in each row group of the part."""
        metadata = self._file(part).metadata
        return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    def read(self, part: int, row_group: int, columns: tuple[str, ...]) -> pa.Table:
        """One row group. Raises UnreadablePart."""
        try:
            return self._file(part).read_row_group(row_group, columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise UnreadablePart(self.parts[part], str(error)) from error

    def _file(self, part: int) -> pq.ParquetFile:
        """This thread's open file; the last one stays open, its metadata is parsed once."""
        if getattr(self._local, "part", None) != part:
            try:
                self._local.file = pq.ParquetFile(
                    self._source(self.parts[part].uri),
                    metadata=self._metadata.get(part),
                    read_dictionary=list(REPEATING),
                )
            except (OSError, pa.ArrowException) as error:
                raise UnreadablePart(self.parts[part], str(error)) from error
            self._local.part = part
            self._check(part, self._local.file)
            self._metadata[part] = self._local.file.metadata
        file: pq.ParquetFile = self._local.file
        return file

    def _source(self, uri: str) -> Any:
        if not uri.startswith("s3://"):
            return uri
        if self._file_system is None:
            self._file_system = open_s3(self.s3 or S3Options())
        return self._file_system.open_input_file(uri.removeprefix("s3://"))

    def _check(self, part: int, file: pq.ParquetFile) -> None:
        schema = file.schema_arrow
        missing = sorted({*LIGHT, *PAYLOAD} - set(schema.names))
        if missing:
            raise UnreadablePart(self.parts[part], f"columns are missing: {', '.join(missing)}")
        if schema.field("offer_key").type != pa.uint64():
            raise UnreadablePart(self.parts[part], f"offer_key is {schema.field('offer_key').type}, not uint64")


def open_s3(options: S3Options) -> pafs.S3FileSystem:
    """The file system that reads `s3://` parts."""
    told: dict[str, Any] = {
        "region": options.region,
        "access_key": options.access_key,
        "secret_key": options.secret_key,
        "session_token": options.session_token,
    }
    if options.endpoint:
        scheme, _, host = options.endpoint.rpartition("://")
        told |= {"endpoint_override": host, "scheme": scheme or "https"}
    return pafs.S3FileSystem(**{name: value for name, value in told.items() if value is not None})


def read_light(reader: PartReader, threads: int, known: set[str]) -> Iterator[LightBatch]:
    """Every row group's deciding columns, in order of parts and rows.

    known: categories whose department is known already; for others the department column is read too.
    """
    tasks = ((part, group) for part in range(len(reader.parts)) for group in range(len(reader.row_groups(part))))
    return run_in_order(lambda task: _light(reader, *task, known), tasks, threads)


def run_in_order(work: Callable[[T], R], tasks: Iterable[T], threads: int) -> Iterator[R]:
    """Results in the order of the tasks; at most a few tasks ahead of the consumer, so memory stays bounded."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _light(reader: PartReader, part: int, row_group: int, known: set[str]) -> LightBatch:
    table = reader.read(part, row_group, LIGHT)
    if table["offer_key"].null_count:
        raise UnreadablePart(reader.parts[part], "offer_key is NULL in some rows")
    categories, category_values = _codes(table["category_id"])
    shops, shop_values = _codes(table["shop_id"])
    withdrawn = _withdrawn(table["withdrawn"])
    live = slice(None) if withdrawn is None else ~withdrawn
    pair_categories, pair_shops, pair_offers = _count_pairs(categories[live], shops[live], len(shop_values))
    return LightBatch(
        part=part,
        rows=table.num_rows,
        keys=table["offer_key"].to_numpy(),
        categories=categories,
        category_values=category_values,
        shops=shops,
        shop_values=shop_values,
        withdrawn=withdrawn,
        departments=_departments(reader, (part, row_group), categories, category_values, known),
        pair_categories=pair_categories,
        pair_shops=pair_shops,
        pair_offers=pair_offers,
    )


def _codes(column: pa.ChunkedArray) -> tuple[Codes, list[str | None]]:
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    values: list[str | None] = [*array.dictionary.to_pylist(), None]
    indices = array.indices
    if indices.null_count:
        indices = indices.fill_null(len(values) - 1)
    return indices.to_numpy(zero_copy_only=False), values


def _withdrawn(column: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    mask = column.to_numpy() if not column.null_count else column.fill_null(False).to_numpy()
    return mask if mask.any() else None


def _count_pairs(categories: Codes, shops: Codes, shop_count: int) -> tuple[Codes, Codes, Codes]:
    """Distinct (category, shop) and how often each occurs."""
    pairs = categories.astype(np.int64) * shop_count + shops
    top = int(pairs.max(initial=-1)) + 1
    if top <= max(4 * len(pairs), 65_536):
        counted = np.bincount(pairs, minlength=top)
        distinct = np.flatnonzero(counted)
        offers = counted[distinct]
    else:
        distinct, offers = np.unique(pairs, return_counts=True)
    return distinct // shop_count, distinct % shop_count, offers


def _departments(
    reader: PartReader, where: tuple[int, int], categories: Codes, values: list[str | None], known: set[str]
) -> dict[str, str | None]:
    if all(value is None or value in known for value in values):
        return {}
    column = reader.read(*where, ("department",))["department"]
    departments, names = _codes(column)
    codes, first = np.unique(categories, return_index=True)
    return {
        category: names[departments[row]]
        for category, row in ((values[code], row) for code, row in zip(codes, first, strict=True))
        if category is not None
    }
