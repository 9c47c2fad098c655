"""What the demo has finished, so that a killed one resumes and a second one repeats nothing.

One JSON file per market, replaced atomically after each step. A step's facts (plain JSON, for the report) are kept
with it, because some of them are gone later: the score before the drift cannot be measured after it.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically


class Journal:
    """Finished steps by name: `{facts, seconds}`. `recipe` is what the whole demo was asked to do."""

    def __init__(self, path: Path, recipe: str) -> None:
        self.path = path
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        same = content.get("recipe") == recipe
        self.content: dict[str, Any] = content if same else {"recipe": recipe, "steps": {}}

    def done(self, step: str) -> bool:
        return step in self.content["steps"]

    def facts(self, step: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.content["steps"][step]["facts"]
        return facts

    def seconds(self) -> dict[str, float]:
        """Seconds that each step took when it was really run."""
        return {name: step["seconds"] for name, step in self.content["steps"].items()}

    def run(self, step: str, work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        """The step's facts: those on file, or those that `work` returns now."""
        if not self.done(step):
            started = time.monotonic()
            facts = work() or {}
            self.content["steps"][step] = {"facts": facts, "seconds": round(time.monotonic() - started, 2)}
            write_atomically(self.path, json.dumps(self.content, indent=1, ensure_ascii=False).encode())
        return self.facts(step)
