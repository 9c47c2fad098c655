"""Text lines of a feed file, counted as an editor counts them, however it is encoded, compressed or damaged."""

import codecs
import io
import re
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sortiment.errors import FeedError
from sortiment.feeds.spec import FeedSpec

HEAD_BYTES = 256 * 1024
LINE_MAX_CHARS = 16 << 20
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
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeError)


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
        raise FeedError(f"{name} is empty", value="0 bytes", allowed="at least a header", fix="deliver the file again")
    kind = next((kind for magic, kind in NOT_TEXT.items() if data.startswith(magic)), None)
    if kind:
        raise FeedError(
            f"{name} line 1: this is {kind}, not text",
            value=data[:16],
            allowed="CSV or JSON lines, plain or as gzip, zstd or bzip2; Parquet with `format: parquet`",
            fix="export it as CSV, or correct `format`",
        )
    encoding = next((found for mark, found in BYTE_ORDER_MARKS if data.startswith(mark)), spec.encoding)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    text = decoder.decode(data)
    if len(re.findall(r"[\x00-\x08\x0e-\x1f]", text)) > len(text) // 20:
        raise FeedError(
            f"{name} line 1: this is not text in {encoding}",
            value=data[:32],
            allowed="text; NUL and other control characters are rare in it",
            fix="correct `encoding` (utf-16?) or `format` in the spec, or deliver the file again",
        )
    return TextHead(encoding, text, "\n" if "\n" in text else "")


class Lines:
    """An iterator over a file's lines that knows its line number and takes lines back.

    `taken` holds the lines handed out since it was last cleared. A file whose lines end in a lone carriage return is
    read so; in any other a lone carriage return is a character.
    """

    def __init__(self, stream: BinaryIO, head: TextHead, name: str) -> None:
        errors = "replace" if head.replaced else "surrogateescape"
        self.text = io.TextIOWrapper(stream, encoding=head.encoding, errors=errors, newline=head.newline)
        self.name = name
        self.number = 0
        self.chars = 0
        self.taken: list[str] = []
        self.returned: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else self._read()
        self.number += 1
        self.chars += len(line)
        self.taken.append(line)
        return line

    def give_back(self, kept: int) -> None:
        """Take back all lines that were taken, but for the first `kept`."""
        lines = self.taken[kept:]
        self.returned.extendleft(reversed(lines))
        self.number -= len(lines)
        del self.taken[kept:]

    def _read(self) -> str:
        try:
            line = self.text.readline(LINE_MAX_CHARS)
        except READ_ERRORS as error:
            raise _damaged(self.name, self.number, error) from error
        if not line:
            raise StopIteration
        if len(line) >= LINE_MAX_CHARS:
            raise FeedError(
                f"{self.name} line {self.number + 1} does not end",
                value=line[:80],
                allowed=f"lines of up to {LINE_MAX_CHARS:,} characters",
                fix="one row per line; a JSON array becomes lines with `jq -c '.[]'`",
            )
        return line


def _damaged(name: str, line: int, error: Exception) -> FeedError:
    return FeedError(
        f"{name} cannot be read past line {line}: it is cut off or damaged",
        value=f"{type(error).__name__}: {error}",
        allowed="a whole file",
        fix="deliver the file again",
    )
