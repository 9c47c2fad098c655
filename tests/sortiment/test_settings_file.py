"""Settings files, and what is said of one that cannot be used."""

from pathlib import Path

import pytest

from sortiment.errors import SettingsError
from sortiment.settings import Settings
from sortiment.settings_file import load_settings


def test_an_empty_settings_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert load_settings(path) == Settings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("student: {layers: 3", "the settings file cannot be read as YAML"),
        ("student: {layers: 3}\nstudent: {epochs: 1}\n", "student.* stands twice"),
        ("sampling: {seed: 1, seed: 2}\n", "seed.* stands twice"),
        ("- student\n", "a mapping of stages"),
        ("student: 3\n", "a mapping of stages"),
        ("student: {layers: 99}\n", r"student\.layers"),
        ("studnet: {layers: 3}\n", "studnet"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_an_error_that_names_it(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(path)
    assert "small.yaml" in str(caught.value)


def test_a_settings_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the settings file is not there"):
        load_settings(tmp_path / "small.yaml")
