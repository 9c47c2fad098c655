"""Where bytes are kept: the few operations that a storage must have, and the local folder that has them.

`resources/storage.py` has the same operations on S3. Whoever writes a file that must be whole or absent writes it with
`write_atomically`.
"""

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

TEMPORARY = ".tmp"
HALF_WRITTEN = f".*{TEMPORARY}"
"""What a process that was killed while it wrote leaves behind, as a pattern of file names."""


class Blobs(Protocol):
    """The few operations that a storage must have. Keys are relative, with `/`."""

    def uri(self, key: str) -> str: ...
    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Atomically create or replace."""

    def create(self, key: str, data: bytes) -> bool:
        """Atomically create; False, with nothing changed, where the key exists."""

    def publish(self, folder: Path, key: str) -> None:
        """Make a local folder appear under `key`, its manifest last. The folder is gone afterwards."""

    def holds(self, key: str, sizes: Mapping[str, int]) -> bool:
        """Whether all the named files of `key` are stored and have these sizes; nothing is fetched."""

    def fetch(self, key: str, sizes: Mapping[str, int], anew: bool = False) -> Path:
        """A local folder that holds the named files of `key`, all of which are stored. anew: what was fetched before is
        fetched once more."""

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted."""


class LocalBlobs:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, key: str) -> str:
        return str(self.root / key)

    def read(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, key: str, data: bytes) -> None:
        write_atomically(self.root / key, data)

    def create(self, key: str, data: bytes) -> bool:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        write_atomically(temporary, data)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def publish(self, folder: Path, key: str) -> None:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in folder.rglob("*"):
            if file.is_file():
                _fsync(file)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
        _fsync(target.parent)

    def holds(self, key: str, sizes: Mapping[str, int]) -> bool:
        return all(has_size(self.root / key / name, size) for name, size in sizes.items())

    def fetch(self, key: str, sizes: Mapping[str, int], anew: bool = False) -> Path:
        return self.root / key

    def list(self, prefix: str) -> list[str]:
        start = self.root / prefix
        if not start.is_dir():
            return []
        return sorted(str(file.relative_to(self.root)) for file in start.rglob("*") if file.is_file())


def write_atomically(path: Path, data: bytes) -> None:
    """Write under a temporary name in the same folder, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """Under which a file is written before it gets its name; another one each time."""
    return f".{name}.{uuid.uuid4().hex}{TEMPORARY}"


def has_size(file: Path, size: int) -> bool:
    """Whether the file is there and has so many bytes."""
    return file.is_file() and file.stat().st_size == size


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
