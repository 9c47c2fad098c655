"""The bench's tables in a Markdown page, between two marks, so that no figure is typed by hand."""

import json
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError
from sortiment.quality.tables import cells_of, headings_of, summarize_rows

BEGIN, END = "<!-- figures: {name} -->", "<!-- end of figures: {name} -->"


def write_figures(source: Path, page: Path) -> None:
    """Replace what stands between the marks named after the JSON file (`quality` for `quality.json`).

    Raises SettingsError where the page has no such marks, or the file is not the bench's.
    """
    begin, end = BEGIN.format(name=source.stem), END.format(name=source.stem)
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise SettingsError(
            f"{page.name} has no place for these figures", value=source.stem, allowed=f"a line {begin}, later {end}"
        )
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        figures = format_figures(content)
    except (json.JSONDecodeError, KeyError) as error:
        raise SettingsError("this is not a file that the bench wrote", value=f"{source}: {error}") from error
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    write_atomically(page, f"{before}{begin}\n{figures}\n{end}{after}".encode())


def format_figures(content: dict[str, Any]) -> str:
    """A table per feed and regime, and what was left out."""
    summaries = summarize_rows(content["rows"])
    lines = [f"Machine: {content['machine']}. Encoder: {content['encoder']}. Texts: {', '.join(content['inputs'])}."]
    for feed, labels in dict.fromkeys((one.feed, one.labels_per_class) for one in summaries):
        members = [one for one in summaries if (one.feed, one.labels_per_class) == (feed, labels)]
        lines += ["", f"**{feed}, {'all labels' if labels is None else f'{labels} labels a class'}**", ""]
        headings = headings_of(members)
        lines += ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
        lines += ["| " + " | ".join(cells_of(one)) + " |" for one in members]
    if content["skipped"]:
        lines += ["", f"{len(content['skipped'])} rows did not fit the budget."]
    return "\n".join(lines)
