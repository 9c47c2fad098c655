"""Which predictions belong to which loaded file: what is classified anew, and what keeps its answers."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically

LISTING_FILE = "predictions.json"

Entry = dict[str, Any]


def plan_predictions(
    parts: Sequence[Mapping[str, Any]], fresh: Collection[str], earlier: Path | None, model_version: str
) -> list[tuple[Mapping[str, Any], Entry | None]]:
    """Each part with the entry that it keeps, or None where it must be classified.

    parts: entries of the country's `parts.json`. fresh: versions of parts that no sample has seen; those follow the
    champion. earlier: the folder of the predictions so far. A part that has no answers yet is always classified.
    """
    known = {entry["part"]: entry for entry in read_predictions(earlier)} if earlier is not None else {}
    plan: list[tuple[Mapping[str, Any], Entry | None]] = []
    for part in parts:
        entry = known.get(part["version"])
        stale = entry is not None and part["version"] in fresh and entry["model_version"] != model_version
        plan.append((part, None if stale else entry))
    return plan


def list_predictions(entries: Sequence[Entry], out: Path) -> dict[str, Any]:
    """Write `predictions.json` into the folder. Returns the summary: parts, offers, offers to review, agreement."""
    write_atomically(out / LISTING_FILE, (json.dumps(entries, indent=1, sort_keys=True) + "\n").encode())
    labelled = sum(entry["labelled"] for entry in entries)
    agree = sum(entry["agree"] for entry in entries)
    return {
        "parts": len(entries),
        "offers": sum(entry["offers"] for entry in entries),
        "review": sum(entry["review"] for entry in entries),
        "agreement_with_labels": round(agree / labelled, 6) if labelled else None,
    }


def read_predictions(folder: Path) -> list[Entry]:
    """The entries that `list_predictions` wrote: `{part, version (of its answers), model_version, ...}`."""
    entries: list[Entry] = json.loads((folder / LISTING_FILE).read_bytes())
    return entries
