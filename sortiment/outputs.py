"""The files and folders that a command is told to write, looked at before it works: at its end it would be too late.

Looking leaves nothing behind. `write_atomically` then writes the file.
"""

import os
from collections.abc import Callable
from pathlib import Path

from sortiment.blobs import temporary_name
from sortiment.errors import StorageError


def refuse_unwritable_file(path: Path, option: str) -> None:
    """Raises StorageError where no file can be put; one that is there will be replaced. option: what named it."""
    _refuse("file", path, option, lambda: _file_problem(path))


def refuse_unwritable_folder(folder: Path, option: str) -> None:
    """Raises StorageError where a folder cannot be made or nothing can be put into it."""
    _refuse("folder", folder, option, lambda: _folder_problem(folder, "file"))


def _refuse(kind: str, path: Path, option: str, find_problem: Callable[[], str | None]) -> None:
    try:
        problem = find_problem()
    except OSError as error:
        problem = error.strerror
    if problem is not None:
        raise StorageError(
            f"the {kind} of {option} cannot be written",
            value=f"{path}: {problem}",
            allowed=f"a {kind}, there or not, where this user may write",
            fix=f"pass another {kind} to {option}",
        )


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if os.path.lexists(place))


def _file_problem(path: Path) -> str | None:
    if path.is_dir():
        return "this is a folder"
    if path.exists() and not path.is_file():
        return "this is a device or a pipe, and no file"
    return _folder_problem(path.parent, path.name)


def _folder_problem(folder: Path, name: str) -> str | None:
    """What keeps a file of this name out of the folder; a file is put there, or where the folder would be made."""
    there = nearest_existing(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    trial = there / temporary_name(name)
    trial.touch(exist_ok=False)
    trial.unlink()
    return None
