"""Which parts a market has, in their order: the link from `feed_files` to everything after it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import write_atomically
from sortiment.errors import FeedError, StorageError
from sortiment.feeds.parts import PART_ASSET, PARTS_FILE, OfferPart, describe_market, open_part

LISTING_FILE = "listing.json"
LISTING_VERSION = "2"


def write_listing(parts: Sequence[OfferPart], out: Path) -> dict[str, Any]:
    """Write `listing.json`: the parts' versions, feeds and files in order, and what the market's partitions are.

    Returns the summary: counts of files, offers, quarantined rows, countries and departments. Raises FeedError where
    there is not one offer.
    """
    market = describe_market(parts)
    if not market.offers:
        raise FeedError(
            "the feeds hold no offer",
            value=", ".join(f"{part.source_file}: {part.report.rows_read} rows" for part in parts),
            allowed="at least one row that is an offer",
            fix="deliver the files again, or correct `path` in the feed specs",
        )
    content = {
        "parts": [{"version": part.version, "feed": part.feed, "file_sha256": part.file_sha256} for part in parts],
        "market": asdict(market),
    }
    write_atomically(out / LISTING_FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return {
        "files": len(parts),
        "offers": sum(market.offers.values()),
        "quarantined": sum(sum(part.report.quarantined.values()) for part in parts),
        "countries": list(market.countries),
        "departments": [department.slug for department in market.departments],
    }


def read_listing(folder: Path, store: ArtifactStore) -> list[OfferPart]:
    """The parts that `write_listing` named. Raises StorageError where one is gone."""
    content = json.loads((folder / LISTING_FILE).read_bytes())
    parts = []
    for entry in content["parts"]:
        artifact = store.find(PART_ASSET, entry["version"])
        if artifact is None:
            raise StorageError("a loaded feed file is gone", value=entry["version"], fix="materialize feed_files again")
        # Listings of version 1 do not name the file: the next load places their parts anew.
        parts.append(open_part(artifact, entry["feed"], entry.get("file_sha256", "")))
    return parts


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
            rows += pq.read_table(part.quarantine_file, columns=columns).slice(0, limit - len(rows)).to_pylist()
    return rows
