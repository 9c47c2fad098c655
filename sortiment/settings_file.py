"""Settings from YAML, with an error that names every knob that cannot be used."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sortiment.errors import SettingsError
from sortiment.misfits import list_misfits, told
from sortiment.settings import Settings
from sortiment.yaml_files import YAML_ERRORS, read_yaml


def parse_settings(content: dict[str, Any], source: str) -> Settings:
    """Settings from parsed YAML; `source` names the file in errors. Raises SettingsError naming every bad knob."""
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        misfits = list_misfits(error, Settings)
        raise SettingsError(
            f"{source}: {'a setting' if len(misfits) == 1 else f'{len(misfits)} settings'} cannot be used",
            fix=f"correct {source}",
            **told(misfits),
        ) from error


def load_settings(path: Path) -> Settings:
    """Settings from a YAML file whose top level is the stages."""
    return parse_settings(read_stages(path), str(path))


def read_stages(path: Path) -> dict[str, Any]:
    """What a YAML file says, by stage; nothing is judged yet. Raises SettingsError where it is no such file."""
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise SettingsError("the settings file is not there", value=str(path), allowed="a YAML file") from error
    except YAML_ERRORS as error:
        raise SettingsError(
            "the settings file cannot be read as YAML", value=f"{path}: {error}", fix=f"correct {path}"
        ) from error
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(part, dict) for part in content.values()):
        raise SettingsError(
            "a settings file is a mapping of stages to their settings",
            value=f"{path}: {content}",
            allowed="a line per stage: `student: {layers: 3}`",
            fix=f"correct {path}",
        )
    return content
