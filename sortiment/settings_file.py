"""Settings from YAML, with an error that names every knob that cannot be used."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sortiment.errors import SettingsError
from sortiment.settings import Settings


def parse_settings(content: dict[str, Any], source: str) -> Settings:
    """Settings from parsed YAML; `source` names the file in errors. Raises SettingsError naming every bad knob."""
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise SettingsError(
            f"{source}: {len(problems)} settings cannot be used",
            value="; ".join(problems),
            allowed="the fields and bounds in sortiment/settings.py",
            fix=f"correct them in {source}",
        ) from error


def load_settings(path: Path) -> Settings:
    """Settings from a YAML file whose top level is the stages."""
    return parse_settings(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, str(path))
