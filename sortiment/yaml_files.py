"""YAML that people write: feed specs, settings, markets. A key that stands twice is an error.

PyYAML keeps the last of two equal keys and says nothing, so that half of a file would be lost without a word.
"""

from pathlib import Path
from typing import Any

import yaml

YAML_ERRORS = (OSError, UnicodeDecodeError, yaml.YAMLError)
"""What `read_yaml` raises, for callers to say what kind of file it was."""
MERGE = "<<"


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != MERGE]
        twice = [key for place, key in enumerate(keys) if key in keys[:place]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The file's content; None where it is empty. Raises one of YAML_ERRORS."""
    return yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader that sees more
