"""Which parts a market has, in their order: the link from `feed_files` to everything after it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sortiment.artifacts import ArtifactStore, Recipe, content_version
from sortiment.blobs import write_atomically
from sortiment.errors import FeedError, StorageError
from sortiment.feeds.market_feeds import LeftOutFile, LoadedFeeds
from sortiment.feeds.parts import PART_ASSET, PARTS_FILE, OfferPart, describe_market, open_part, read_part_head

LISTING_FILE = "listing.json"
LISTING_VERSION = "4"


def listing_recipe(loaded: LoadedFeeds) -> Recipe:
    """What `write_listing` makes a listing from. The words of a problem are not part of it: an input/output error reads
    otherwise where the file's hash is known, and what is loaded is the same."""
    inputs = {"parts": "+".join(part.version for part in loaded.parts), "held": content_version(_by_feed(loaded.held))}
    if loaded.left_out:
        left_out = [(file.feed, file.source_file, file.kept) for file in loaded.left_out]
        inputs["left_out"] = content_version(left_out)
    return Recipe(inputs, {}, LISTING_VERSION)


def write_listing(loaded: LoadedFeeds, out: Path) -> dict[str, Any]:
    """Write `listing.json`: the parts' versions, feeds and files in order, what the market's partitions are, what each
    feed file held when it could last be read, and which were left out, where any were.

    Returns the summary: counts of files, offers, quarantined rows, countries and departments. Raises FeedError where
    there is not one offer.
    """
    parts, left_out = loaded.parts, loaded.left_out
    market = describe_market(parts)
    if not market.offers:
        raise FeedError(
            "the feeds hold no offer",
            value=", ".join(f"{part.source_file}: {part.report.rows_read} rows" for part in parts),
            allowed="at least one row that is an offer",
            fix="deliver the files again, or correct `path` in the feed specs",
        )
    content: dict[str, Any] = {
        "parts": [
            {
                "version": part.version,
                "feed": part.feed,
                "file_sha256": part.file_sha256,
                "source_file": part.source_file,
            }
            for part in parts
        ],
        "market": asdict(market),
        "held": _by_feed(loaded.held),
    }
    if left_out:
        content["left_out"] = [asdict(file) for file in left_out]
    write_atomically(out / LISTING_FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return {
        "files": len(parts),
        "offers": sum(market.offers.values()),
        "quarantined": sum(sum(part.report.quarantined.values()) for part in parts),
        "files_left_out": len(left_out),
        "countries": list(market.countries),
        "departments": [department.slug for department in market.departments],
    }


def read_listing(folder: Path, store: ArtifactStore) -> list[OfferPart]:
    """The parts that `write_listing` named. Raises StorageError where one is gone."""
    parts = []
    for version, part in find_parts(folder, store):
        if part is None:
            raise StorageError("a loaded feed file is gone", value=version, fix="materialize feed_files again")
        parts.append(part)
    return parts


def find_parts(folder: Path, store: ArtifactStore) -> list[tuple[str, OfferPart | None]]:
    """Version and part of each that `write_listing` named, in order; None for one that is gone or damaged."""
    found: list[tuple[str, OfferPart | None]] = []
    for entry in json.loads((folder / LISTING_FILE).read_bytes())["parts"]:
        artifact = store.find(PART_ASSET, entry["version"])
        found.append(
            (entry["version"], open_part(artifact, entry["feed"], entry.get("file_sha256", "")) if artifact else None)
        )
    return found


def list_places(folder: Path) -> list[tuple[str, str]]:
    """Feed and file_sha256 of each part that `write_listing` named, in order, whether it is still there or not.

    A listing of version 1 did not name the files: the next load places them anew.
    """
    entries = json.loads((folder / LISTING_FILE).read_bytes())["parts"]
    return [(entry["feed"], entry["file_sha256"]) for entry in entries if "file_sha256" in entry]


def list_sources(folder: Path) -> dict[tuple[str, str], str]:
    """The sha256 of what each feed file held when it could last be read, by feed and the file's name.

    Listings of version 3 told of the name under which a content was first loaded, those before of none.
    """
    content = json.loads((folder / LISTING_FILE).read_bytes())
    if "held" in content:
        return {(feed, name): sha256 for feed, files in content["held"].items() for name, sha256 in files.items()}
    entries = [entry for entry in content["parts"] if "source_file" in entry]
    return {(entry["feed"], entry["source_file"]): entry["file_sha256"] for entry in entries}


def read_left_out(folder: Path) -> list[LeftOutFile]:
    """The feed files that `write_listing` was told of."""
    return [LeftOutFile(**entry) for entry in json.loads((folder / LISTING_FILE).read_bytes()).get("left_out", [])]


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """A country's `parts.json`, as `write_offers` wrote it."""
    parts: list[dict[str, Any]] = json.loads((folder / PARTS_FILE).read_bytes())
    return parts


def read_quarantine(parts: Sequence[OfferPart], limit: int) -> list[dict[str, Any]]:
    """The first broken rows of each part, `limit` in all: source_file, line, reason, column_name, value."""
    columns = ["source_file", "line", "reason", "column_name", "value"]
    rows: list[dict[str, Any]] = []
    for part in parts:
        if len(rows) < limit:
            rows += read_part_head(part, part.quarantine_file, columns, limit - len(rows))
    return rows


def _by_feed(held: Mapping[tuple[str, str], str]) -> dict[str, dict[str, str]]:
    """As JSON has it: feed to file to sha256, sorted."""
    files: dict[str, dict[str, str]] = {}
    for (feed, name), sha256 in sorted(held.items()):
        files.setdefault(feed, {})[name] = sha256
    return files
