"""The files and folders that a command is told to write, looked at before it works: at its end it would be too late.

Looking leaves nothing behind. `write_atomically` then writes the file.
"""

import os
from pathlib import Path

from sortiment.blobs import temporary_name
from sortiment.errors import StorageError


def refuse_unwritable_file(path: Path, option: str) -> None:
    """Raises StorageError where no file can be put; one that is there will be replaced. option: what named it."""
    try:
        reason = _file_problem(path)
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise StorageError(
            f"the file of {option} cannot be written",
            value=f"{path}: {reason}",
            allowed="a file, there or not, in a folder that this user may write",
            fix=f"pass another path to {option}",
        )


def refuse_unwritable_folder(folder: Path, option: str) -> None:
    """Raises StorageError where a folder cannot be made or nothing can be put into it."""
    try:
        reason = _folder_problem(folder, "file")
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise StorageError(
            f"the folder of {option} cannot be written",
            value=f"{folder}: {reason}",
            allowed="a folder, there or not, that this user may write",
            fix=f"pass another folder to {option}",
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
