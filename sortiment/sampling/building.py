"""Keeping a country's sampling state: build it, advance it by a day, merge two, and find it again.

keep_state(store, "DE", parts, settings)        what an asset calls: finds, advances or builds
build_state(parts, settings, folder)            without a store
merge_states(first, later, settings, folder)    states that two machines built
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sortiment.artifacts import Artifact, ArtifactStore, Recipe, content_version
from sortiment.errors import SamplingError
from sortiment.feeds.doubts import doubt_parts
from sortiment.progress import Progress, silent
from sortiment.sampling.counting import count_parts
from sortiment.sampling.counts import ContradictoryParts
from sortiment.sampling.merging import combine, renumber
from sortiment.sampling.parts import REMEDY, Addresses, OfferPart, S3Options, UnreadablePart
from sortiment.sampling.state import (
    State,
    check_shaping,
    empty_state,
    read_state,
    shaping_of,
)
from sortiment.settings import SamplingSettings

ASSET = "sample_state"
CODE_VERSION = "9"


def keep_state(
    store: ArtifactStore,
    country: str,
    parts: Sequence[OfferPart],
    settings: SamplingSettings,
    *,
    s3: S3Options | None = None,
    threads: int = 2,
    progress: Progress = silent,
) -> State:
    """The state of a country's parts, in their order: found, or advanced from the last one, or built.

    Where the parts of an earlier state are the first of these, only the others are read. Otherwise (another order, a
    part gone, other settings) all are. The artifacts `sample_state` are kept: later ones name what earlier ones hold.
    Where the settings say to skip a part that cannot be read, the state is that of the other parts, under their
    version, and `skipped` says why; every part is tried again the next time. Either way the next load looks into it.
    Raises SamplingError where there is nothing to read, UnreadablePart for a part that cannot be read.
    """
    if not parts:
        raise SamplingError(
            f"{country} has no offers yet",
            value=0,
            allowed="at least one loaded part",
            fix=f"load a feed that has offers in {country}, or take the country out of the market",
        )
    readable, skipped = list(parts), list[str]()
    strict = settings.model_copy(update={"on_unreadable_part": "fail"})

    def build(parts: Sequence[OfferPart], recipe: Recipe, done: int, before: State | None) -> Artifact:
        def write(folder: Path) -> dict[str, Any]:
            new = parts[done:]
            state = build_state(new, strict, folder, before=before, s3=s3, threads=threads, progress=progress)
            return {
                "parts": [part.identity for part in parts],
                "new_parts": len(new),
                "rows": state.rows,
                "offers": state.offers,
                "categories": len(state.category_ids) - 1,
                "shops": len(state.shop_ids) - 1,
                "refills": state.refills,
            }

        return store.build(ASSET, recipe, write, partition=country)

    while True:
        versions = _chain(readable)
        recipe = _recipe(versions[-1], settings)
        found = store.find(ASSET, recipe.version, country)
        if found is not None:
            break
        done, before = _longest_prefix(store, country, readable, versions, settings) or (0, None)
        try:
            with doubting(readable, store):
                found = build(readable, recipe, done, before)
            break
        except UnreadablePart as error:
            new = readable[done:]
            skipped.append(_leave_out(error, new, settings))
            readable = readable[:done] + new
            _refuse_nothing(readable, skipped)
    store.point(found)
    return replace(_named(store, country, found, readable), skipped=tuple(skipped))


def build_state(
    parts: Sequence[OfferPart],
    settings: SamplingSettings,
    folder: Path,
    *,
    before: State | None = None,
    s3: S3Options | None = None,
    threads: int = 2,
    progress: Progress = silent,
) -> State:
    """Read parts once and write the state of all offers so far into an empty folder.

    before: the state that the parts come after; none = the first. Only the new parts are read.
    Raises SamplingError where nothing can be read, UnreadablePart (naming it) for a part that cannot be read, unless
    the settings say to skip those.
    """
    base = empty_state(settings) if before is None else before
    check_shaping(base, settings)
    folder.mkdir(parents=True, exist_ok=True)
    wanted, addresses = list(parts), Addresses(s3)
    skipped: list[str] = []
    while True:
        try:
            counted = count_parts(wanted, base, addresses, threads, progress)
            return combine(
                base,
                counted,
                settings,
                folder,
                counted_only=True,
                skipped=tuple(skipped),
                addresses=addresses,
                threads=threads,
                progress=progress,
            )
        except UnreadablePart as error:
            skipped.append(_leave_out(error, wanted, settings))
            if before is None:
                _refuse_nothing(wanted, skipped)


@contextmanager
def doubting(parts: Sequence[OfferPart], store: ArtifactStore) -> Iterator[None]:
    """Names to the next load of feeds which of these parts cannot be used, where that makes this block fail; all of
    them where they contradict each other."""
    try:
        yield
    except UnreadablePart as error:
        _doubt([error.part], store)
        raise
    except ContradictoryParts:
        _doubt(parts, store)
        raise


def _doubt(parts: Sequence[OfferPart], store: ArtifactStore) -> None:
    doubt_parts([part.version for part in parts if part.version], store.blobs)


def _leave_out(error: UnreadablePart, wanted: list[OfferPart], settings: SamplingSettings) -> str:
    """Take the part out of the wanted ones, and say why. Raises the error where the settings do not allow it."""
    if settings.on_unreadable_part == "fail" or error.part not in wanted:
        raise error
    wanted.remove(error.part)
    return f"{error.part.uri}: {error.reason}"


def _refuse_nothing(wanted: Sequence[OfferPart], skipped: Sequence[str]) -> None:
    if not wanted:
        raise SamplingError(
            "no offer part can be read",
            value=skipped[0],
            allowed="at least one readable part",
            fix=REMEDY,
        )


def merge_states(
    first: State,
    later: State,
    settings: SamplingSettings,
    folder: Path,
    *,
    s3: S3Options | None = None,
    threads: int = 2,
    progress: Progress = silent,
) -> State:
    """The state of both, written into an empty folder; reads no part unless a category must be refilled.

    Rows and texts of both stay where they are: the folder names theirs. Raises SamplingError where the states
    were kept for different settings.
    """
    check_shaping(first, settings)
    check_shaping(later, settings)
    folder.mkdir(parents=True, exist_ok=True)
    return combine(
        first,
        renumber(later, first),
        settings,
        folder,
        counted_only=False,
        skipped=(),
        addresses=Addresses(s3),
        threads=threads,
        progress=progress,
    )


def _chain(parts: Sequence[OfferPart]) -> list[str]:
    """The version of each prefix of the parts."""
    versions = []
    version = content_version({"code": CODE_VERSION})
    for part in parts:
        version = content_version([version, part.identity])
        versions.append(version)
    return versions


def _recipe(chained: str, settings: SamplingSettings) -> Recipe:
    return Recipe({"parts": chained}, shaping_of(settings), CODE_VERSION, ("pyarrow", "numpy"))


def _longest_prefix(
    store: ArtifactStore, country: str, parts: Sequence[OfferPart], versions: list[str], settings: SamplingSettings
) -> tuple[int, State] | None:
    """How many of the first parts the last state holds, and that state."""
    current = store.earlier(ASSET, country)
    if current is None:
        return None
    done = len(current.summary["parts"])
    if done >= len(parts) or current.version != _recipe(versions[done - 1], settings).version:
        return None
    return done, _named(store, country, current, parts)


def _named(store: ArtifactStore, country: str, artifact: Artifact, parts: Sequence[OfferPart]) -> State:
    """The artifact's state, what lies in its folder named by its version, so that the next state can refer to it, and
    its parts where they are now."""

    def resolve(version: str) -> Path:
        found = store.find(ASSET, version, country)
        if found is None:
            raise SamplingError(
                f"an earlier sampling state of {country} is gone",
                value=version,
                fix=f"delete the folder {ASSET}/{country}: the state is then built from all parts",
            )
        return found.path

    state = read_state(artifact.path, resolve)
    here = {part.identity: part for part in parts}
    ledger = state.ledger.move_parts(here)
    rows = (
        replace(part, living=part.living and replace(part.living, name=part.living.name or artifact.version))
        for part in ledger.parts
    )
    ledger = replace(ledger, parts=tuple(rows))
    segments = tuple(replace(segment, name=segment.name or artifact.version) for segment in state.segments)
    return replace(state, ledger=ledger, segments=segments)
