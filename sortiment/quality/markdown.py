"""The quality bench's rows as Markdown tables (`sortiment/markdown.py` puts them into a page)."""

from typing import Any

from sortiment.quality.tables import cells_of, explain_skipped, headings_of, summarize_rows


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
    for line in explain_skipped(content["skipped"]):
        lines += ["", f"{line}."]
    return "\n".join(lines)
