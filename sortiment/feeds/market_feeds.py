"""A market's feeds, loaded: each file of each spec found or made as a part, several side by side.

Part of a part's version: the file's sha256, what the spec says about reading it (not where it lies), the feed settings
that change rows, the taxonomy, CODE_VERSION. A file's time is not: where a feed gives no `observed_at`, the offers keep
the time that the file had when its content was first loaded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import fs

from sortiment.artifacts import ArtifactStore, Recipe
from sortiment.errors import FeedError, UnreadableFile
from sortiment.feeds.files import FeedFile, FoundFile
from sortiment.feeds.hashes import list_known_files
from sortiment.feeds.loading import CODE_VERSION
from sortiment.feeds.parts import PART_ASSET, OfferPart, open_part, read_part_table
from sortiment.feeds.report import FeedFileReport
from sortiment.feeds.separators import refuse_wrong_separator
from sortiment.feeds.side_by_side import FileLoaders, open_loaders
from sortiment.feeds.spec import FeedSpec
from sortiment.progress import Progress
from sortiment.settings import FeedSettings
from sortiment.taxonomy import CategoryPath, Taxonomy

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

        sizes = [file.bytes for _, file in firsts.values()]
        started = dict(zip(firsts, loaders.start(load, list(firsts.values()), sizes), strict=True))
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


def _label_paths(parts: Iterable[OfferPart]) -> Iterator[CategoryPath]:
    """The distinct paths; parts are read as far as they are asked for."""
    seen: set[CategoryPath] = set()
    for part in parts:
        for path in map(tuple, read_part_table(part, part.labels_file, ["path"])["path"].to_pylist()):
            if path not in seen:
                seen.add(path)
                yield path
