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


@pytest.mark.parametrize(
    ("content", "seen", "allowed"),
    [
        ("sampling: {temperature: 2}", "sampling.temperature: 2", "sampling.temperature: less than or equal to 1"),
        ("sampling: {policy: all}", "sampling.policy: 'all'", "sampling.policy: 'cap', 'sqrt' or 'temperature'"),
        ("feeds: {memory_mb: lots}", "feeds.memory_mb: 'lots'", "feeds.memory_mb: a valid integer"),
        ("sampling: {temprature: 1}", "sampling.temprature: 1", "no such name; is it temperature?"),
        ("studnet: {layers: 3}", "studnet: {'layers': 3}", "no such name; is it student?"),
        ("cost: {xyz: 1}", "cost.xyz: 1", "no such name, but "),
        ("sampling: {test_share: 0.9}", "sampling: {'test_share': 0.9", "must stay below 1"),
    ],
)
def test_the_error_about_a_setting_says_where_it_is_what_was_seen_and_what_is_allowed(
    tmp_path: Path, content: str, seen: str, allowed: str
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match="a setting cannot be used") as caught:
        load_settings(path)
    assert seen in caught.value.value
    assert allowed in (caught.value.allowed or "")
    assert str(path) in (caught.value.fix or "")


def test_of_a_large_value_the_error_shows_the_beginning_and_every_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(f"sampling: {{seed: {list(range(1000))}, temperature: -1}}", encoding="utf-8")
    with pytest.raises(SettingsError, match="2 settings cannot be used") as caught:
        load_settings(path)
    assert "sampling.seed: [0, 1, 2, " in str(caught.value)
    assert "sampling.temperature: -1" in str(caught.value)
    assert len(caught.value.value) < 200


def test_a_settings_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the settings file is not there"):
        load_settings(tmp_path / "small.yaml")
