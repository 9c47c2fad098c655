"""Tables of a bench in a Markdown page, between two marks, so that no figure is typed by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError
from sortiment.outputs import refuse_unwritable_file

BEGIN, END = "<!-- figures: {name} -->", "<!-- end of figures: {name} -->"


def write_figures(source: Path, page: Path, format_figures: Callable[[dict[str, Any]], str]) -> None:
    """Replace what stands between the marks named after the JSON file (`quality` for `quality.json`).

    format_figures: the file's content as Markdown. Raises SettingsError where a file cannot be read, the page has no
    such marks, or the JSON is not the bench's; StorageError where the page cannot be written.
    """
    begin, end = BEGIN.format(name=source.stem), END.format(name=source.stem)
    text = _read(page, "--figures", "a Markdown page that is there")
    refuse_unwritable_file(page, "--figures")
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise SettingsError(
            f"{page.name} has no place for these figures",
            value=source.stem,
            allowed=f"a line {begin}, later {end}",
            fix=f"put both lines into {page}, where the tables shall stand",
        )
    figures = _format(source, format_figures)
    write_atomically(page, f"{before}{begin}\n{figures}\n{end}{after}".encode())


def _format(source: Path, format_figures: Callable[[dict[str, Any]], str]) -> str:
    text = _read(source, "--json", "a file that this bench wrote")
    try:
        return format_figures(json.loads(text))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise SettingsError(
            "this is not a file that the bench wrote",
            value=f"{source}: {error}",
            allowed="what --json of the same bench wrote",
            fix="run the bench with --json first",
        ) from error


def _read(path: Path, option: str, allowed: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no text in UTF-8"
        raise SettingsError(
            f"the file of {option} cannot be read",
            value=f"{path}: {reason}",
            allowed=allowed,
            fix="run the bench with --json first" if option == "--json" else f"pass another page to {option}",
        ) from error
