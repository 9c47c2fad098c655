"""The local folders in which artifacts are built: one builder of one version at a time, and nothing is left for good.

    ROOT/<key>          what is being built; a builder that can resume finds it as a killed one left it
    ROOT/<key>.lock     held by the process that builds it, and gone with the process

Whoever cannot resume leaves nothing behind when it fails, and the first build beside them takes away what killed ones
left of other versions: a feed that was half loaded may be larger than the disk's free half, and may never come again.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from sortiment.blobs import HALF_WRITTEN


class BuildFolders:
    """The folders below a root. All builders of what stands side by side can resume, or none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept: set[Path] = set()

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[Path]:
        """Wait until nobody else builds this; its folder, which need not exist."""
        folder = self.root / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_lock_of(folder)):
            yield folder

    def open(self, folder: Path, resumable: bool) -> None:
        """Make a locked folder ready: empty, or as a killed build left it but for half-written files."""
        if not resumable:
            if folder.exists():
                shutil.rmtree(folder)
            if folder.parent not in self._swept:
                _sweep(folder.parent)
                self._swept.add(folder.parent)
        folder.mkdir(exist_ok=True)
        for half_written in folder.rglob(HALF_WRITTEN):
            half_written.unlink()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _sweep(builds: Path) -> None:
    """Take away what killed processes left; what a living one is at has its lock."""
    for left in builds.iterdir():
        if left.is_dir() and (lock := _lock_of(left)).is_file():
            with contextlib.suppress(BlockingIOError), _locked(lock, wait=False):
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Raises BlockingIOError where another process or thread has it and there is no waiting."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
