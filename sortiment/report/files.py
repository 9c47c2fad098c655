"""The two files of a report: `report.json`, which is the truth, and `report.html`, which is drawn from it."""

import json
import math
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import StorageError
from sortiment.report.schema import Report, parse_report

JSON_NAME = "report.json"
HTML_NAME = "report.html"


def write_report(report: Report, home: Path) -> Path:
    """Write `report.json` and `report.html` into `home`, each whole or not at all. Returns the page's path."""
    from sortiment.report.html import render_report

    write_atomically(home / JSON_NAME, report_json(report))
    render_report(report, home / HTML_NAME)
    return home / HTML_NAME


def report_json(report: Report) -> bytes:
    """Plain JSON: no nan, keys in the schema's order."""
    content = _without_nan(report.model_dump(mode="json"))
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _without_nan(content: Any) -> Any:
    """Null for nan and infinity, also among keys that the schema does not list."""
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_report(home: Path) -> Report:
    """The report of a run's home. Raises StorageError where there is none, or it is damaged."""
    path = home / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(
            "there is no report yet", value=str(path), fix="run `sortiment demo`, which writes it"
        ) from error
    except ValueError as error:
        raise StorageError("the report is not JSON", value=str(path), fix="run `sortiment demo` again") from error
    return parse_report(content)
