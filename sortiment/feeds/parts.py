"""A market's feeds as parts: one artifact per file content, loaded once, found again whatever the file is called.

Part of an artifact's version: the file's sha256, what the spec says about reading it (not where it lies), the feed
settings that change rows, the taxonomy, CODE_VERSION. A file's time is not: where a feed gives no `observed_at`, the
offers keep the time that the file had when its content was first loaded.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sortiment.artifacts import Artifact, ArtifactStore, Recipe
from sortiment.blobs import write_atomically
from sortiment.errors import FeedError, StorageError, UnreadableFile
from sortiment.feeds.files import FeedFile, FoundFile
from sortiment.feeds.hashes import list_known_files
from sortiment.feeds.loading import CODE_VERSION, QUARANTINE_FILE
from sortiment.feeds.offer_files import offers_file
from sortiment.feeds.report import LABELS_FILE, FeedFileReport, report_of
from sortiment.feeds.separators import refuse_wrong_separator
from sortiment.feeds.side_by_side import FileLoaders, open_loaders
from sortiment.feeds.spec import FeedSpec
from sortiment.progress import Progress
from sortiment.settings import FeedSettings
from sortiment.taxonomy import UNLABELLED, CategoryPath, Taxonomy

PART_ASSET = "offer_parts"
PARTS_FILE = "parts.json"
DERIVED = "derived from labels"
# They decide whether a part is made, or what becomes of it; not what is in it.
NOT_IN_VERSION = {
    "memory_mb",
    "workers",
    "quarantine_limit",
    "on_unreadable_file",
    "max_departments",
    "shared_departments",
}


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


@dataclass(frozen=True)
class LeftOutFile:
    """A feed file that cannot be read, and that `feeds.on_unreadable_file: skip` goes on without.

    kept: the version of the part of what the file held when it was last loaded, which stays; None where there is none
    that was loaded as files are loaded now.
    """

    feed: str
    source_file: str
    problem: str
    kept: str | None

    @property
    def sentence(self) -> str:
        stays = "what it held before is kept" if self.kept else "nothing of it is loaded"
        return f"left out of {self.feed}: {self.problem}; {stays}"


@dataclass(frozen=True)
class LoadedFeeds:
    """What `load_feeds` found or made.

    held: the sha256 of what each file held when it could last be read, by feed and the file's name in this load. A part
    knows only the name under which its content was first loaded.
    """

    parts: list[OfferPart]
    left_out: list[LeftOutFile] = field(default_factory=list)
    held: dict[tuple[str, str], str] = field(default_factory=dict)


def load_parts(
    specs: Sequence[FeedSpec],
    taxonomy: Taxonomy | None,
    store: ArtifactStore,
    settings: FeedSettings,
    progress: Progress,
    filesystem: fs.FileSystem | None = None,
) -> list[OfferPart]:
    """As `load_feeds`, for callers that cannot do without a file: whatever the settings say, none is left out."""
    strict = settings.model_copy(update={"on_unreadable_file": "fail"})
    return load_feeds(specs, taxonomy, store, strict, progress, filesystem).parts


def load_feeds(
    specs: Sequence[FeedSpec],
    taxonomy: Taxonomy | None,
    store: ArtifactStore,
    settings: FeedSettings,
    progress: Progress,
    filesystem: fs.FileSystem | None = None,
    earlier: Mapping[tuple[str, str], str] | None = None,
) -> LoadedFeeds:
    """The parts of all files of all specs, in the order of the specs and of `find_feed_files`; each content once.

    A file that is as the last load saw it is not read, not even for its sha256. Finished parts are kept when a later
    file fails, so the next call goes on where this one stopped. earlier: what the files held at the last load, by feed
    and file (`list_sources`): where one is damaged now and the settings say to skip it, the part of that content stays.
    Raises FeedError for the first file that cannot be used, where no file of a feed can be read and nothing it held
    before stays, where two specs have one name, and where a tree would be derived from labels that `category_separator`
    leaves whole.
    """
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise FeedError("two feed specs have the same name", value=names, allowed="one name per feed", fix="rename one")
    found = [_list_feed(spec, store, settings, filesystem) for spec in specs]
    files = [(feed.spec, file) for feed in found for file in feed.files]
    versions = [part_recipe(file, spec, taxonomy, settings).version for spec, file in files]
    firsts: dict[str, tuple[FeedSpec, FeedFile]] = {}
    for version, file in zip(versions, files, strict=True):
        firsts.setdefault(version, file)
    parts: dict[str, OfferPart] = {}
    left_out: list[LeftOutFile] = []
    held: dict[tuple[str, str], str] = {}
    with open_loaders(taxonomy, settings, len(files), progress) as loaders:

        def load(file: tuple[FeedSpec, FeedFile]) -> OfferPart:
            return _load_part(file[1], file[0], taxonomy, store, settings, loaders, filesystem)

        started = dict(zip(firsts, loaders.start(load, list(firsts.values())), strict=True))
        results = iter([started[version] for version in versions])
        for feed in found:
            own = _collect_feed(feed, results, taxonomy, store, settings, earlier or {})
            if taxonomy is None:
                refuse_wrong_separator(feed.spec.name, feed.spec.category_separator, _label_paths(own.parts))
            for part in own.parts:
                parts.setdefault(part.version, part)
            left_out += own.left_out
            held |= own.held
    return LoadedFeeds(list(parts.values()), left_out, held)


def keep_places(parts: Sequence[OfferPart], earlier: Sequence[tuple[str, str]]) -> list[OfferPart]:
    """The parts in the order in which their files were first loaded: those of the last listing as they stand there
    (`list_places`), then the others as they come.

    Later parts win, only they are added to a sampling state, and new offers are drawn from them: names are in no order
    of time, least of all those of several feeds.
    """
    places = {file: place for place, file in enumerate(earlier)}
    return sorted(parts, key=lambda part: places.get((part.feed, part.file_sha256), len(places)))


def part_recipe(file: FeedFile, spec: FeedSpec, taxonomy: Taxonomy | None, settings: FeedSettings) -> Recipe:
    """What a part is made from."""
    return _recipe(file.sha256, spec, taxonomy, settings)


def _recipe(sha256: str, spec: FeedSpec, taxonomy: Taxonomy | None, settings: FeedSettings) -> Recipe:
    return Recipe(
        inputs={"file": sha256, "taxonomy": taxonomy.version if taxonomy else DERIVED},
        settings={"feeds": settings.model_dump(mode="json", exclude=NOT_IN_VERSION), "spec": spec.meaning()},
        code=CODE_VERSION,
        packages=("duckdb", "pyarrow"),
    )


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
    try:
        return pq.read_table(file, columns=columns)
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
        for row in read_part_table(part, part.labels_file).to_pylist():
            slug = row["department"]
            partitions[row["country"]].add(slug)
            names.setdefault(slug, set()).add(row["path"][0])
            labelled[slug] = labelled.get(slug, 0) + row["offers"]
    return MarketDescription(
        countries=tuple(sorted(offers)),
        departments=tuple(Department(slug, tuple(sorted(names[slug])), labelled[slug]) for slug in sorted(names)),
        partitions={country: tuple(sorted(partitions[country])) for country in sorted(partitions)},
        offers=dict(sorted(offers.items())),
    )


@dataclass(frozen=True)
class _ListedFeed:
    """A feed's files, and those that could not even be listed with their content."""

    spec: FeedSpec
    files: list[FeedFile]
    unreadable: list[tuple[FoundFile, UnreadableFile]]


def _list_feed(
    spec: FeedSpec, store: ArtifactStore, settings: FeedSettings, filesystem: fs.FileSystem | None
) -> _ListedFeed:
    unreadable: list[tuple[FoundFile, UnreadableFile]] = []

    def leave_out(file: FoundFile, error: UnreadableFile) -> None:
        if settings.on_unreadable_file == "fail":
            raise _with_advice(error) from error
        unreadable.append((file, error))

    return _ListedFeed(spec, list_known_files(spec, filesystem, store.blobs, leave_out), unreadable)


def _collect_feed(
    feed: _ListedFeed,
    results: Iterator[Callable[[], OfferPart]],
    taxonomy: Taxonomy | None,
    store: ArtifactStore,
    settings: FeedSettings,
    earlier: Mapping[tuple[str, str], str],
) -> LoadedFeeds:
    """The parts of one spec's files, of which `results` gives one each. A feed of which no file can be read and nothing
    it held before stays is an error in any case: its spec may be what is wrong."""
    spec = feed.spec
    parts: list[OfferPart] = []
    left_out: list[LeftOutFile] = []
    held: dict[tuple[str, str], str] = {}

    def leave_out(file: FoundFile, error: UnreadableFile) -> None:
        if settings.on_unreadable_file == "fail":
            raise _with_advice(error) from error
        sha256 = earlier.get((spec.name, file.name))
        kept = sha256 and store.find(PART_ASSET, _recipe(sha256, spec, taxonomy, settings).version)
        if sha256:
            held[spec.name, file.name] = sha256
        if sha256 and kept:
            parts.append(open_part(kept, spec.name, sha256))
        problem = f"{error.what} ({error.seen})"
        left_out.append(LeftOutFile(spec.name, file.name, problem, kept.version if kept else None))

    for file, error in feed.unreadable:
        leave_out(file, error)
    for file in feed.files:
        try:
            parts.append(next(results)())
            held[spec.name, file.name] = file.sha256
        except UnreadableFile as error:
            leave_out(file, error)
    if left_out and not parts:
        raise FeedError(
            f"feed {spec.name}: none of its {len(left_out)} files can be read",
            value=left_out[0].problem,
            allowed="one file that can be read, also under feeds.on_unreadable_file: skip",
            fix=f"deliver the files again, or correct `format`, `encoding` or `path` in {spec.name}.yaml",
        )
    return LoadedFeeds(parts, left_out, held)


def _with_advice(error: UnreadableFile) -> UnreadableFile:
    fix = f"{error.fix}, or set feeds.on_unreadable_file: skip to go on without it"
    return UnreadableFile(error.what, value=error.value, allowed=error.allowed, fix=fix)


def _load_part(
    file: FeedFile,
    spec: FeedSpec,
    taxonomy: Taxonomy | None,
    store: ArtifactStore,
    settings: FeedSettings,
    loaders: FileLoaders,
    filesystem: fs.FileSystem | None,
) -> OfferPart:
    loaded: list[FeedFileReport] = []

    def write(out: Path) -> dict[str, Any]:
        report = loaders.load(file, spec, settings, out, filesystem)
        loaded.append(report)
        return report.to_json()

    artifact = store.build(PART_ASSET, part_recipe(file, spec, taxonomy, settings), write)
    return open_part(artifact, spec.name, file.sha256, loaded[0] if loaded else None)


def _label_paths(parts: Iterable[OfferPart]) -> set[CategoryPath]:
    tables = (read_part_table(part, part.labels_file, ["path"]) for part in parts)
    return {tuple(path) for table in tables for path in table["path"].to_pylist()}
