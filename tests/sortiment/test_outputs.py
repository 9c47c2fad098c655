"""Where nothing can be written, that is said before the work and not after it."""

import os
from pathlib import Path

import pytest

from sortiment.errors import StorageError
from sortiment.outputs import refuse_unwritable_file, refuse_unwritable_folder


def test_a_file_that_can_be_written_is_no_error_and_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    there = tmp_path / "there.json"
    there.write_text("kept", encoding="utf-8")
    refuse_unwritable_file(there, "--json")
    refuse_unwritable_file(tmp_path / "new" / "folder" / "new.json", "--json")
    refuse_unwritable_folder(tmp_path / "new" / "folder", "--keep")
    assert there.read_text(encoding="utf-8") == "kept"
    assert list(tmp_path.iterdir()) == [there]


def test_a_place_that_takes_no_file_is_an_error_that_names_option_path_and_reason(tmp_path: Path) -> None:
    file, pipe, lost = tmp_path / "file", tmp_path / "pipe", tmp_path / "lost"
    file.touch()
    os.mkfifo(pipe)
    lost.symlink_to(tmp_path / "nowhere")
    reasons = {
        tmp_path: "this is a folder",
        pipe: "no file",
        file / "x.json": f"{file} is no folder",
        lost / "x.json": f"{lost} is no folder",
        Path("/proc/x.json"): "",  # who is root may try, and is told that there is no such file
        tmp_path / ("x" * 250): "File name too long",
    }
    for path, reason in reasons.items():
        with pytest.raises(StorageError, match="the file of --json cannot be written") as caught:
            refuse_unwritable_file(path, "--json")
        assert str(path) in caught.value.value and reason in caught.value.value
        assert caught.value.allowed and caught.value.fix == "pass another file to --json"


@pytest.mark.parametrize("place", ["/dev/null/x", "/dev/null", "/proc/x"])
def test_a_folder_that_cannot_be_made_or_filled_is_an_error(place: str) -> None:
    with pytest.raises(StorageError, match="the folder of --keep cannot be written") as caught:
        refuse_unwritable_folder(Path(place), "--keep")
    assert caught.value.value.startswith(f"{place}: ")
