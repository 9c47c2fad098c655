"""Feed files: found, listed, hashed and opened, on this machine or in an object store.

Remote files are reached through a `pyarrow.fs.FileSystem` that the caller makes (endpoint and credentials are the
caller's business); `s3://bucket/key` is `bucket/key` there.
"""

import fnmatch
import gzip
import hashlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
from pyarrow import fs

from sortiment.errors import FeedError, UnreadableFile
from sortiment.feeds.spec import COMPRESSIONS, EXTENSIONS, REMOTE, FeedFormat, FeedSpec

CHUNK_BYTES = 1 << 20
MAGIC: dict[bytes, str] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
GLOB_CHARACTERS = set("*?[")
STORE_ERROR = re.compile(r"AWS Error \w+")


@dataclass(frozen=True)
class FoundFile:
    """A feed file as a listing shows it. `name` is relative to the spec's folder, or to the listed prefix.

    modified_at: UTC, whole seconds; its offers' default `observed_at`. state: another one wherever the bytes may be
    others: size and times as exactly as the storage tells them.
    """

    uri: str
    name: str
    bytes: int
    modified_at: datetime
    state: str


@dataclass(frozen=True)
class FeedFile(FoundFile):
    """A feed file whose content is known."""

    sha256: str


Unreadable = Callable[[FoundFile, UnreadableFile], None]
"""What becomes of a file that cannot be read: it goes on without it, or raises the error."""


def find_feed_files(spec: FeedSpec, filesystem: fs.FileSystem | None = None) -> list[FoundFile]:
    """The files a spec's path means, in the order of `natural_key`, without reading them: cheap enough for a sensor.

    A folder stands for all files below it that have a feed's extension. In a glob `*` stays within a name and `**` is
    any number of folders, on a disk and in a store. What is hidden, `_SUCCESS`, `_temporary/` and the like, is passed
    over unless the path names it. Raises FeedError where the path matches nothing.
    """
    found = _find_remote(spec, filesystem) if spec.remote else _find_local(spec)
    if not found:
        raise FeedError(
            f"feed {spec.name}: the path matches no file",
            value=spec.path if spec.remote else str(spec.folder / spec.path),
            allowed="a file, a folder with feed files, a glob, or an s3:// URI; relative to the spec",
            fix="correct `path` in the spec, or deliver the files",
        )
    return sorted(found, key=lambda file: natural_key(file.name))


def list_feed_files(
    spec: FeedSpec,
    filesystem: fs.FileSystem | None = None,
    known: Mapping[tuple[str, str], str] | None = None,
    unreadable: Unreadable | None = None,
) -> list[FeedFile]:
    """The files that `find_feed_files` finds with the sha256 of their bytes.

    known: sha256 by `uri` and `state`; every other file is read once. unreadable: is given files whose bytes cannot be
    read, which are then left out; without it they are an UnreadableFile.
    """
    known, files = known or {}, []
    for file in find_feed_files(spec, filesystem):
        try:
            files.append(FeedFile(**vars(file), sha256=known.get((file.uri, file.state)) or _sha256(file, filesystem)))
        except UnreadableFile as error:
            if unreadable is None:
                raise
            unreadable(file, error)
    return files


def natural_key(name: str) -> tuple[list[int | str], str]:
    """What names are sorted by: digits compare as numbers, so `day-9` comes before `day-10`."""
    return [int(run) if run.isdecimal() else run for run in re.split(r"(\d+)", name)], name


def file_format(spec: FeedSpec, name: str) -> FeedFormat:
    """The spec's format, or what the file's extension says. Raises FeedError where neither helps."""
    found = spec.format or _format_of(name)
    if found is None:
        raise FeedError(
            f"feed {spec.name}: the extension does not tell the format",
            value=name,
            allowed=", ".join(f".{extension}" for extension in EXTENSIONS),
            fix="give the file such a name, or `format` in the feed spec: csv, jsonl or parquet",
        )
    return found


def open_raw(file: FoundFile, filesystem: fs.FileSystem | None = None) -> BinaryIO:
    """The file's bytes as they are stored. Raises UnreadableFile where it cannot be opened."""
    try:
        if file.uri.startswith(REMOTE):
            return cast(BinaryIO, _filesystem(filesystem, file.uri).open_input_file(file.uri.removeprefix(REMOTE)))
        return Path(file.uri).open("rb")
    except OSError as error:
        raise _unopened(file, error) from error


@contextmanager
def open_text_bytes(file: FoundFile, filesystem: fs.FileSystem | None = None) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed where its first bytes say gzip, zstd or bzip2, whatever its name says.

    Raises UnreadableFile where these cannot be read.
    """
    with open_raw(file, filesystem) as raw:
        try:
            head = raw.read(4)
            raw.seek(0)
        except OSError as error:
            raise _unopened(file, error) from error
        kind = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
        if kind is None:
            yield raw
        elif kind == "gzip":
            with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                yield cast(BinaryIO, io.BufferedReader(cast(Any, stream), CHUNK_BYTES))
        else:
            with pa.CompressedInputStream(pa.PythonFile(raw, "r"), kind) as stream:
                yield cast(BinaryIO, stream)


def _find_local(spec: FeedSpec) -> list[FoundFile]:
    target = spec.folder / spec.path
    if target.is_file():
        return [_local_file(target, spec.folder, target.parent)]
    if target.is_dir():
        below = (path for path in target.rglob("*") if path.is_file() and _is_feed(spec, path.relative_to(target)))
        return [_local_file(path, spec.folder, target) for path in below]
    if not GLOB_CHARACTERS & set(spec.path):
        return []
    root = Path(target.anchor) if Path(spec.path).is_absolute() else spec.folder
    pattern = str(Path(spec.path).relative_to(root.anchor)) if Path(spec.path).is_absolute() else spec.path
    plain = root.joinpath(*itertools.takewhile(lambda part: not GLOB_CHARACTERS & set(part), Path(pattern).parts))
    names = Path(pattern).parts
    return [
        _local_file(path, spec.folder, plain)
        for path in root.glob(pattern)
        if path.is_file() and _matches(path.relative_to(root).parts, names)
    ]


def _local_file(path: Path, folder: Path, listed: Path) -> FoundFile:
    """The name is relative to the spec's folder, or else to what was listed: two folders may hold files of one name."""
    state = path.stat()
    name = str(path.relative_to(folder if path.is_relative_to(folder) else listed))
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")  # a name may hold any bytes, a report only text
    return FoundFile(
        uri=str(path),
        name=shown,
        bytes=state.st_size,
        modified_at=datetime.fromtimestamp(int(state.st_mtime), UTC),
        state=f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}",  # the last is nobody's to set
    )


def _find_remote(spec: FeedSpec, filesystem: fs.FileSystem | None) -> list[FoundFile]:
    """Files under the longest prefix without a wildcard that the path matches."""
    store = _filesystem(filesystem, spec.path)
    target = spec.path.removeprefix(REMOTE).rstrip("/")
    wild = bool(GLOB_CHARACTERS & set(target))
    prefix = target
    while GLOB_CHARACTERS & set(prefix):
        prefix = prefix.rpartition("/")[0]
    try:
        single = store.get_file_info(prefix)
        if single.type == fs.FileType.File:
            infos = [single]
        else:
            infos = store.get_file_info(fs.FileSelector(prefix, recursive=True, allow_not_found=True))
    except OSError as error:
        raise FeedError(
            f"feed {spec.name}: the store cannot be listed", value=str(error), fix="check endpoint and credentials"
        ) from error
    found = []
    for info in infos:
        relative = Path(info.path).relative_to(prefix) if info.path != prefix else Path(info.base_name)
        if info.type != fs.FileType.File or not (
            _matches(info.path.split("/"), target.split("/"))
            if wild
            else _is_feed(spec, relative) or info.path == prefix
        ):
            continue
        found.append(
            FoundFile(
                uri=f"{REMOTE}{info.path}",
                name=str(relative),
                bytes=info.size,
                modified_at=info.mtime.replace(microsecond=0).astimezone(UTC),
                state=f"{info.size} {info.mtime_ns}",
            )
        )
    return found


def _filesystem(filesystem: fs.FileSystem | None, uri: str) -> fs.FileSystem:
    if filesystem is None:
        raise FeedError(
            "an s3:// feed needs a file system",
            value=uri,
            fix="run under a profile with S3 access, or copy the files here",
        )
    return filesystem


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path's names are what the pattern says, one by one; no wildcard stands for a hidden name."""
    if not names or not pattern:
        return not names and not pattern
    if pattern[0] == "**":
        return _matches(names, pattern[1:]) or (_is_visible(names[0]) and _matches(names[1:], pattern))
    fits = names[0] == pattern[0] or (_is_visible(names[0]) and fnmatch.fnmatchcase(names[0], pattern[0]))
    return fits and _matches(names[1:], pattern[1:])


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "_"))


def _is_feed(spec: FeedSpec, path: Path) -> bool:
    visible = all(map(_is_visible, path.parts))
    kind = _format_of(path.name)
    return visible and kind is not None and (spec.format is None or kind == spec.format)


def _format_of(name: str) -> FeedFormat | None:
    parts = name.lower().split(".")
    if parts[-1] in COMPRESSIONS:
        parts.pop()
    return EXTENSIONS.get(parts[-1]) if len(parts) > 1 else None


def _sha256(file: FoundFile, filesystem: fs.FileSystem | None) -> str:
    digest = hashlib.sha256()
    with open_raw(file, filesystem) as stream:
        try:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
        except OSError as error:
            raise _unopened(file, error) from error
    return digest.hexdigest()


def _unopened(file: FoundFile, error: OSError) -> UnreadableFile:
    return UnreadableFile(
        f"{file.name} cannot be opened", value=_reason(error), fix="check that it is there and readable"
    )


def _reason(error: OSError) -> str:
    """Why, without the place, which an error's own words tell in full and an artifact must not."""
    told = STORE_ERROR.search(str(error))
    if told:
        return told[0]
    return os.strerror(error.errno) if error.errno else type(error).__name__
