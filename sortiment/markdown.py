"""Tables of a bench in a Markdown page, between two marks, so that no figure is typed by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError

BEGIN, END = "<!-- figures: {name} -->", "<!-- end of figures: {name} -->"


def write_figures(source: Path, page: Path, format_figures: Callable[[dict[str, Any]], str]) -> None:
    """Replace what stands between the marks named after the JSON file (`quality` for `quality.json`).

    format_figures: the file's content as Markdown. Raises SettingsError where the page has no such marks, or the file
    is not the bench's.
    """
    begin, end = BEGIN.format(name=source.stem), END.format(name=source.stem)
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise SettingsError(
            f"{page.name} has no place for these figures", value=source.stem, allowed=f"a line {begin}, later {end}"
        )
    try:
        figures = format_figures(json.loads(source.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, KeyError) as error:
        raise SettingsError("this is not a file that the bench wrote", value=f"{source}: {error}") from error
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    write_atomically(page, f"{before}{begin}\n{figures}\n{end}{after}".encode())
