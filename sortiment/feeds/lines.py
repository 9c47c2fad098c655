"""Text lines of a feed file, counted as an editor counts them, however it is encoded, compressed or damaged."""

import codecs
import io
import re
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from sortiment.errors import FeedError, UnreadableFile
from sortiment.feeds.spec import FeedSpec

HEAD_BYTES = 256 * 1024
LINE_MAX_CHARS = 16 << 20
FIRST_BYTES = 8 << 20  # the header is in them
BLOCK_BYTES = 256 * 1024  # so little that a line that needs care costs few others their speed
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF",
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"SQLite format 3": "an SQLite database",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
}
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeError, pa.ArrowException)


@dataclass(frozen=True)
class TextHead:
    """The start of a text file: its encoding after looking at the byte order mark, its first characters."""

    encoding: str
    text: str
    newline: str

    @property
    def replaced(self) -> bool:
        """Undecodable bytes of multi-byte encodings become U+FFFD; of others, lone surrogates."""
        return self.encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32"))


def read_head(stream: BinaryIO, spec: FeedSpec, name: str) -> TextHead:
    """Look at the first 256 KiB. Raises FeedError where the file is empty, damaged from the start, or not text."""
    try:
        data = stream.read(HEAD_BYTES)
    except READ_ERRORS as error:
        raise _damaged(name, 0, error) from error
    if not data:
        raise UnreadableFile(
            f"{name} is empty", value="0 bytes", allowed="at least a header", fix="deliver the file again"
        )
    kind = next((kind for magic, kind in NOT_TEXT.items() if data.startswith(magic)), None)
    if kind:
        raise UnreadableFile(
            f"{name} line 1: this is {kind}, not text",
            value=data[:16],
            allowed="CSV or JSON lines, plain or as gzip, zstd or bzip2; Parquet with `format: parquet`",
            fix="export it as CSV, or correct `format`",
        )
    encoding = next((found for mark, found in BYTE_ORDER_MARKS if data.startswith(mark)), spec.encoding)
    text = _decode_head(data, encoding, name)
    if len(re.findall(r"[\x00\x02-\x08\x0e-\x1f]", text)) > len(text) // 20:
        raise UnreadableFile(
            f"{name} line 1: this is not text in {encoding}",
            value=data[:32],
            allowed="text; NUL and other control characters are rare in it",
            fix="correct `encoding` (utf-16-le?) or `format`, or deliver the file again",
        )
    return TextHead(encoding, text, newline_of(text))


def newline_of(head: str) -> str:
    """What ends a line, as `io.StringIO` takes it: a line feed, or whatever does in a file whose head has none."""
    return "\n" if "\n" in head else ""


def split_lines(head: str) -> list[str]:
    """The lines of a file's first characters with their ends, as `LineBlocks` counts them.

    `str.splitlines` would split at characters that are text in a feed, such as U+2028.
    """
    return list(io.StringIO(head, newline=newline_of(head)))


def _decode_head(data: bytes, encoding: str, name: str) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)(errors="replace").decode(data)
    except UnicodeError as error:  # UTF-16 or UTF-32 whose byte order nobody knows
        raise FeedError(
            f"{name} line 1: this is not text in {encoding}",
            value=f"{error}: {data[:16]!r}",
            allowed=f"a byte order mark at the start, or {encoding}-le or {encoding}-be as `encoding`",
            fix="correct `encoding`",
        ) from error


class LineBlocks:
    """A file's lines, some at a time.

    `before` counts the lines of earlier blocks, so `before + 1` is the first line of the block that was read last.
    A file whose head has no line feed is split at carriage returns; in any other a lone one is a character.
    """

    def __init__(self, stream: BinaryIO, head: TextHead, name: str) -> None:
        errors = "replace" if head.replaced else "surrogateescape"
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(head.encoding)(errors)
        self.newline = head.newline
        self.name = name
        self.before = 0
        self.finished = False
        self._lines = 0
        self._tail = ""

    def read(self) -> list[str]:
        """The next whole lines with their ends; [] at the end of the file. Raises FeedError where it is damaged."""
        return self.split(self.read_text())

    def read_text(self) -> str:
        """The same, not split."""
        size = BLOCK_BYTES if self._lines else FIRST_BYTES
        self.before += self._lines
        text = self._read_whole_lines(size)
        self._lines = self._count(text)
        return text

    def split(self, text: str) -> list[str]:
        """The lines of whole lines, with their ends."""
        return list(io.StringIO(text, newline=self.newline))

    def _count(self, text: str) -> int:
        if not self.newline:
            return len(self.split(text))
        return text.count(self.newline) + bool(text and not text.endswith(self.newline))

    def _read_whole_lines(self, size: int) -> str:
        """So many bytes, up to where a line ends, or the rest of the file."""
        newline = self.newline or "\r"
        chunk = self._tail + self._decode(size)
        while newline not in chunk and not self.finished:
            if len(chunk) >= LINE_MAX_CHARS:
                raise UnreadableFile(
                    f"{self.name} line {self.before + 1} does not end",
                    value=chunk[:80],
                    allowed=f"lines of up to {LINE_MAX_CHARS:,} characters",
                    fix="one row per line; a JSON array becomes lines with `jq -c '.[]'`",
                )
            chunk += self._decode(size)
        end = len(chunk) if self.finished else chunk.rfind(newline) + 1
        self._tail = chunk[end:]
        return chunk[:end]

    def _decode(self, size: int) -> str:
        try:
            data = self.stream.read(size)
            self.finished = not data
            return self.decoder.decode(data, self.finished)
        except READ_ERRORS as error:
            raise _damaged(self.name, self.before, error) from error


def _damaged(name: str, line: int, error: Exception) -> UnreadableFile:
    where = f"{name} cannot be read past line {line}" if line else f"{name} cannot be read"
    return UnreadableFile(
        f"{where}: it is cut off or damaged",
        value=f"{type(error).__name__}: {error}",
        allowed="a whole file",
        fix="deliver the file again",
    )
