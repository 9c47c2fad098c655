"""Which students `sortiment bench quality` measures."""

from pathlib import Path

from command_line.quality import LAYERS, layers_of
from sortiment.settings_file import load_settings


def test_layers_are_those_of_the_settings_file_where_it_says_any(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("student: {layers: 12}\n", encoding="utf-8")
    assert layers_of(load_settings(file)) == (12,)
    file.write_text("student: {epochs: 2}\n", encoding="utf-8")
    assert layers_of(load_settings(file)) == LAYERS
