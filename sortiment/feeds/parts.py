"""Parts: what one feed file became, and what a market's parts together say."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.artifacts import Artifact
from sortiment.blobs import write_atomically
from sortiment.errors import StorageError
from sortiment.feeds.loading import QUARANTINE_FILE
from sortiment.feeds.offer_files import offers_file
from sortiment.feeds.report import LABELS_FILE, FeedFileReport, report_of
from sortiment.taxonomy import UNLABELLED

PART_ASSET = "offer_parts"
PARTS_FILE = "parts.json"


@dataclass(frozen=True)
class OfferPart:
    """One loaded file. `uri` is the part's folder where it is stored. Its files are fetched one by one, when they are
    asked for: a part's offers may be most of what there is, and lists and counts do without them.

    file_sha256: of the file's bytes, which stay what they are when the part is loaded another way.
    """

    version: str
    feed: str
    file_sha256: str
    source_file: str
    uri: str
    report: FeedFileReport
    reused: bool
    artifact: Artifact = field(repr=False)

    @property
    def countries(self) -> tuple[str, ...]:
        return tuple(self.report.countries)

    @property
    def uris(self) -> dict[str, str]:
        """Parquet of each country's offers."""
        return {country: f"{self.uri}/{offers_file(country)}" for country in self.countries}

    @property
    def paths(self) -> dict[str, Path]:
        """Local copies of the same."""
        return {country: self.artifact.file(offers_file(country)) for country in self.countries}

    @property
    def rows(self) -> dict[str, int]:
        return {country: found.offers for country, found in self.report.countries.items()}

    @property
    def labels_file(self) -> Path:
        """One row per country and category: `country, category_id, path, department, offers`."""
        return self.artifact.file(LABELS_FILE)

    @property
    def quarantine_file(self) -> Path:
        return self.artifact.file(QUARANTINE_FILE)


@dataclass(frozen=True)
class Department:
    """A top level of the tree, as far as the offers have it."""

    slug: str
    names: tuple[str, ...]
    offers: int


@dataclass(frozen=True)
class MarketDescription:
    """What the partitions come from. Counts include offers that a later part replaces.

    partitions: country to the departments it has offers in, `unlabelled` where it has offers without a label; sorted.
    """

    countries: tuple[str, ...]
    departments: tuple[Department, ...]
    partitions: dict[str, tuple[str, ...]]
    offers: dict[str, int]


def write_offers(parts: Iterable[OfferPart], country: str, out: Path) -> dict[str, Any]:
    """Write the country's `parts.json`: its parts in order, later ones win where an offer_key repeats; none where the
    country has left the feeds.

    Returns the summary.
    """
    entries = [
        {
            "version": part.version,
            "feed": part.feed,
            "source_file": part.source_file,
            "rows": part.rows[country],
            "observed_from": part.report.countries[country].observed_from.isoformat(),
            "observed_to": part.report.countries[country].observed_to.isoformat(),
        }
        for part in parts
        if country in part.rows
    ]
    write_atomically(out / PARTS_FILE, (json.dumps(entries, indent=1, ensure_ascii=False) + "\n").encode())
    return {"parts": len(entries), "rows": sum(entry["rows"] for entry in entries)}


def open_part(artifact: Artifact, feed: str, file_sha256: str, report: FeedFileReport | None = None) -> OfferPart:
    """A part from its artifact, whose summary is the report; that of a load which was just made knows its seconds."""
    found = report or report_of(artifact.summary)
    return OfferPart(
        version=artifact.version,
        feed=feed,
        file_sha256=file_sha256,
        source_file=found.source_file,
        uri=artifact.uri,
        report=found,
        reused=artifact.reused,
        artifact=artifact,
    )


def read_part_table(part: OfferPart, file: Path, columns: list[str] | None = None) -> pa.Table:
    """One of the part's small tables: `labels_file` or `quarantine_file`. Raises StorageError where it is damaged."""
    with _naming_damage(part, file):
        return pq.read_table(file, columns=columns)


def read_part_head(part: OfferPart, file: Path, columns: list[str], rows: int) -> list[dict[str, Any]]:
    """The first rows of one of the part's tables; the others are not read. Raises StorageError where it is damaged."""
    with _naming_damage(part, file), pq.ParquetFile(file) as opened:
        found = next(opened.iter_batches(rows, columns=columns), None)
        return found.to_pylist() if found is not None else []


@contextmanager
def _naming_damage(part: OfferPart, file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        folder = file.parent
        # Of a part on S3 the copy that was fetched may be damaged, or what the bucket holds.
        stored = "" if part.uri == str(folder) else f", which was fetched (where that is not enough, {part.uri} too),"
        raise StorageError(
            f"{file.name} of a loaded feed file is damaged",
            value=f"{file}: {error}",
            allowed="the file as it was written",
            fix=f"delete the folder {folder}{stored} and materialize feed_files again",
        ) from error


def describe_market(parts: Sequence[OfferPart]) -> MarketDescription:
    """Countries and departments of the offers, so the partition keys; independent of the order of parts."""
    names: dict[str, set[str]] = {}
    labelled: dict[str, int] = {}
    partitions: dict[str, set[str]] = {}
    offers: dict[str, int] = {}
    for part in parts:
        for country, found in part.report.countries.items():
            offers[country] = offers.get(country, 0) + found.offers
            keys = partitions.setdefault(country, set())
            if found.labelled < found.offers:
                keys.add(UNLABELLED)
        labels = read_part_table(part, part.labels_file)
        top = labels.append_column("name", pc.list_element(labels["path"], 0))
        for row in top.group_by(["country", "department", "name"]).aggregate([("offers", "sum")]).to_pylist():
            slug = row["department"]
            partitions[row["country"]].add(slug)
            names.setdefault(slug, set()).add(row["name"])
            labelled[slug] = labelled.get(slug, 0) + row["offers_sum"]
    return MarketDescription(
        countries=tuple(sorted(offers)),
        departments=tuple(Department(slug, tuple(sorted(names[slug])), labelled[slug]) for slug in sorted(names)),
        partitions={country: tuple(sorted(partitions[country])) for country in sorted(partitions)},
        offers=dict(sorted(offers.items())),
    )
