"""Reading offer parts: Parquet files with the columns of `feed_files` in docs/contracts.md, local or on S3.

What decides a draw is read from the index beside a part (`row_files.py`); the part itself only for texts
(`payload.py`), and only its row groups that hold an offer that was chosen.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sortiment.errors import SamplingError

REPEATING = ("country", "shop_id", "brand", "shop_category", "category_id", "department", "feed")
TEXTS = ("country", "title", "brand", "description", "shop_category", "price", "feed")
PRODUCT = ("gtin", "product_id")
METADATA_KEPT = 8
REMEDY = (
    "materialize feed_files again: it compares the part's files with its manifest, and where they are damaged it loads "
    "its feed file again; then materialize this anew"
)

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
    """A part that is missing, damaged, lacks a column or its index. `part` names it."""

    def __init__(self, part: OfferPart, reason: str, remedy: str = REMEDY) -> None:
        self.part = part
        self.reason = reason
        super().__init__(
            f"the offer part {part.uri} cannot be read",
            value=reason,
            allowed="a Parquet file with the columns of feed_files in docs/contracts.md",
            fix=f"{remedy}, or set sampling.on_unreadable_part: skip to go on without it",
        )


class Addresses:
    """Opens files by path or `s3://` URI; safe to use from several threads."""

    def __init__(self, s3: S3Options | None = None) -> None:
        self._s3 = s3
        self._file_system: pafs.FileSystem | None = None

    @staticmethod
    def is_remote(address: str) -> bool:
        return address.startswith("s3://")

    def open(self, address: str) -> pa.NativeFile:
        """For reading at any place. Raises OSError."""
        if not self.is_remote(address):
            return pa.OSFile(address)
        if self._file_system is None:
            self._file_system = open_s3(self._s3 or S3Options())
        return self._file_system.open_input_file(address.removeprefix("s3://"))


class PartReader:
    """Opens parts; safe to use from several threads."""

    def __init__(self, parts: list[OfferPart], addresses: Addresses) -> None:
        self.parts = parts
        self._addresses = addresses
        self._metadata: dict[int, pq.FileMetaData] = {}
        self._lock = threading.Lock()
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
        """This thread's open file; the last one stays open. Parts are read in their order, so that the metadata of the
        last few are all that is asked for again: of hundreds of parts they are hundreds of MB."""
        if getattr(self._local, "part", None) != part:
            try:
                self._local.file = pq.ParquetFile(
                    self._addresses.open(self.parts[part].uri),
                    metadata=self._metadata.get(part),
                    read_dictionary=list(REPEATING),
                )
            except (OSError, pa.ArrowException) as error:
                raise UnreadablePart(self.parts[part], str(error)) from error
            except KeyError as error:  # one of REPEATING
                raise UnreadablePart(self.parts[part], f"columns are missing: {error.args[0].decode()}") from error
            self._local.part = part
            self._check(part, self._local.file)
            with self._lock:
                self._metadata[part] = self._local.file.metadata
                if len(self._metadata) > METADATA_KEPT:
                    del self._metadata[next(iter(self._metadata))]
        file: pq.ParquetFile = self._local.file
        return file

    def _check(self, part: int, file: pq.ParquetFile) -> None:
        schema = file.schema_arrow
        missing = sorted({"offer_key", *TEXTS, *PRODUCT} - set(schema.names))
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
