"""Content-addressed artifacts: what every stage reads and writes.

An artifact is a folder with a `manifest.json`: its inputs, settings, code version, package versions, a summary of
small numbers, and the sha256 of each file. Its version is the hash of inputs, settings and code version, so it is
known before any work is done: the same inputs find the finished folder and nothing is computed twice.

    ROOT/<asset>/<partition, if any, '|' as a folder>/<version>/manifest.json ...
    ROOT/<asset>/<partition>/current.json         which version the next stage reads

A folder appears whole or not at all: it is built under `.building/` and renamed, or uploaded with the manifest last.
What a killed process left under `.building/` (`build_folders.py`) is offered to the next builder of the same version,
which may resume.
"""

import contextlib
import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sortiment.blobs import Blobs, write_atomically
from sortiment.build_folders import BuildFolders
from sortiment.errors import StorageError

VERSION_DIGITS = 16
MANIFEST = "manifest.json"
CURRENT = "current.json"
BUILDING = ".building"
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM}
"""What a disk says that is full or closed. Other errors of a build are about what it reads: raised as they are."""
NAME = re.compile(r"[a-z0-9_]+")
PARTITION = re.compile(r"[A-Za-z0-9._-]+(\|[A-Za-z0-9._-]+)?")


@dataclass(frozen=True)
class Recipe:
    """What an artifact is made from, and so its version.

    inputs: name to version (or content hash) of each upstream artifact or file.
    settings: the stage's settings model, or a plain mapping.
    code: the stage's CODE_VERSION; raise it when the same inputs would give other bytes.
    packages: distributions whose version is recorded in the manifest (not part of the version).
    """

    inputs: Mapping[str, str]
    settings: BaseModel | Mapping[str, Any]
    code: str
    packages: tuple[str, ...] = ()

    def settings_json(self) -> dict[str, Any]:
        if isinstance(self.settings, BaseModel):
            return self.settings.model_dump(mode="json")
        return dict(self.settings)

    @property
    def version(self) -> str:
        return content_version({"inputs": dict(self.inputs), "settings": self.settings_json(), "code": self.code})


@dataclass(frozen=True)
class Artifact:
    """A finished artifact. `uri` is its folder where it is stored; `fetch` gives a local folder with the files of these
    names, or with all."""

    asset: str
    partition: str | None
    version: str
    uri: str
    manifest: dict[str, Any] = field(repr=False)
    fetch: Callable[..., Path] = field(repr=False, compare=False)
    reused: bool = False

    @cached_property
    def path(self) -> Path:
        """A local folder with its files. They are fetched when this is first asked for: who needs the version or the
        summary alone moves no bytes."""
        return self.fetch()

    def file(self, name: str) -> Path:
        """A local copy of one of its files; the others are not fetched."""
        return self.fetch((name,)) / name

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = self.manifest["summary"]
        return summary

    @property
    def bytes(self) -> int:
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())


class ArtifactStore:
    """Finds, builds and points at artifacts.

    scratch: a local folder for what is being built, kept between runs so that a killed build can resume.
    """

    def __init__(self, blobs: Blobs, scratch: Path) -> None:
        self.blobs = blobs
        self.scratch = scratch
        self._builds = BuildFolders(scratch / BUILDING)

    def find(self, asset: str, version: str, partition: str | None = None) -> Artifact | None:
        """The finished artifact of exactly this version; None where there is none, or where a file of it is missing or
        has another size than its manifest says: it is then made anew like one that was never there."""
        key = _key(asset, partition, version)
        raw = self.blobs.read(f"{key}/{MANIFEST}")
        manifest = None if raw is None else _parse_manifest(raw)
        if raw is None or manifest is None:
            return None
        sizes = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
        stored = {MANIFEST: len(raw), **sizes}
        if not self.blobs.holds(key, stored):
            return None

        def fetch(names: Iterable[str] = tuple(stored)) -> Path:
            return self.blobs.fetch(key, {name: stored[name] for name in names})

        return Artifact(asset, partition, version, self.blobs.uri(key), manifest, fetch, reused=True)

    def refetch(self, artifact: Artifact) -> Path:
        """A local folder with the artifact's files as they are stored now, whatever was fetched before."""
        sizes = {name: int(entry["bytes"]) for name, entry in artifact.manifest["files"].items()}
        return self.blobs.fetch(_key(artifact.asset, artifact.partition, artifact.version), sizes, anew=True)

    def uri(self, asset: str, version: str, partition: str | None = None) -> str:
        """Where the artifact of this version is stored, whether it is there or not; nothing is fetched."""
        return self.blobs.uri(_key(asset, partition, version))

    def build(
        self,
        asset: str,
        recipe: Recipe,
        write: Callable[[Path], Mapping[str, Any] | None],
        partition: str | None = None,
        resumable: bool = False,
    ) -> Artifact:
        """The artifact of this recipe: found, or written by `write(folder)`, which returns its summary.

        The summary must be JSON. A resumable builder gets the folder as a killed or failed one left it; others get it
        empty, and all builders of an asset are one or the other.
        Whatever `write` raises leaves the store as it was; where there is no room or no permission to write, that is a
        StorageError. Does not move the current pointer.
        """

        def write_one(folders: Mapping[str | None, Path]) -> dict[str | None, Mapping[str, Any] | None]:
            return {partition: write(folders[partition])}

        return self._build(asset, {partition: recipe}, write_one, resumable)[partition]

    def build_many(
        self,
        asset: str,
        recipes: Mapping[str, Recipe],
        write: Callable[[dict[str, Path]], Mapping[str, Mapping[str, Any] | None]],
        resumable: bool = False,
    ) -> dict[str, Artifact]:
        """The artifacts of several partitions, where one pass over the data writes them all.

        `write` gets the folders of the partitions that are not there yet, and returns their summaries; it is not
        called where all are.
        """

        def write_some(folders: Mapping[str | None, Path]) -> Mapping[str | None, Mapping[str, Any] | None]:
            named = {str(partition): folder for partition, folder in folders.items()}
            summaries: dict[str | None, Mapping[str, Any] | None] = dict(write(named).items())
            return summaries

        optional: dict[str | None, Recipe] = dict(recipes.items())
        found = self._build(asset, optional, write_some, resumable)
        return {str(partition): artifact for partition, artifact in found.items()}

    def _build(
        self,
        asset: str,
        recipes: Mapping[str | None, Recipe],
        write: Callable[[Mapping[str | None, Path]], Mapping[str | None, Mapping[str, Any] | None]],
        resumable: bool,
    ) -> dict[str | None, Artifact]:
        versions = {partition: recipe.version for partition, recipe in recipes.items()}
        with contextlib.ExitStack() as locks:
            folders: dict[str | None, Path] = {}
            for partition, version in sorted(versions.items(), key=str):
                if self.find(asset, version, partition) is None:
                    building = locks.enter_context(self._builds.lock(_key(asset, partition, version)))
                    if self.find(asset, version, partition) is None:
                        self._builds.open(building, resumable)
                        folders[partition] = building
            try:
                if folders:
                    self._write_and_publish(asset, recipes, folders, write)
            finally:
                if not resumable:
                    for folder in folders.values():
                        shutil.rmtree(folder, ignore_errors=True)
        artifacts = {}
        for partition, version in versions.items():
            made = self.find(asset, version, partition)
            if made is None:
                raise StorageError(f"the {asset} artifact vanished while it was being published", value=version)
            artifacts[partition] = replace(made, reused=partition not in folders)
        return artifacts

    def _write_and_publish(
        self,
        asset: str,
        recipes: Mapping[str | None, Recipe],
        folders: Mapping[str | None, Path],
        write: Callable[[Mapping[str | None, Path]], Mapping[str | None, Mapping[str, Any] | None]],
    ) -> None:
        try:
            summaries = write(folders)
            for partition, folder in folders.items():
                recipe = recipes[partition]
                manifest = _manifest(asset, partition, recipe, folder, dict(summaries[partition] or {}))
                write_atomically(folder / MANIFEST, _json(manifest))
                self.blobs.publish(folder, _key(asset, partition, recipe.version))
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            raise StorageError(
                f"the {asset} artifact could not be written",
                value=str(error),
                fix="make room or fix the permissions and run the same command: the last good artifact is untouched",
            ) from error

    def point(self, artifact: Artifact) -> None:
        """Make this the version that the next stage reads."""
        self.blobs.write(_pointer(artifact.asset, artifact.partition), _json({"version": artifact.version}))

    def current(self, asset: str, partition: str | None = None) -> Artifact:
        """The artifact that the pointer names. Raises StorageError where nothing was made yet."""
        found = self.current_or_none(asset, partition)
        if found is None:
            where = asset if partition is None else f"{asset} of {partition}"
            raise StorageError(
                f"{where} has not been made yet",
                fix=f"materialize {where} first (in the Dagster UI, or `sortiment demo`)",
            )
        return found

    def current_or_none(self, asset: str, partition: str | None = None) -> Artifact | None:
        """The artifact that the pointer names; None where nothing was made yet. Raises StorageError where it is gone or
        damaged."""
        version = self._current_version(asset, partition)
        found = None if version is None else self.find(asset, version, partition)
        if version is not None and found is None:
            where = asset if partition is None else f"{asset} of {partition}"
            raise StorageError(
                f"the current artifact {where} is gone or damaged",
                value=version,
                fix=f"materialize {where} again: it is made anew",
            )
        return found

    def earlier(self, asset: str, partition: str | None = None) -> Artifact | None:
        """What was current so far, for a builder that goes on from it. None also where that is gone or damaged: the
        builder then does without, and so can make it anew."""
        version = self._current_version(asset, partition)
        return None if version is None else self.find(asset, version, partition)

    def _current_version(self, asset: str, partition: str | None) -> str | None:
        raw = self.blobs.read(_pointer(asset, partition))
        return None if raw is None else str(json.loads(raw)["version"])

    def current_partitions(self, asset: str) -> dict[str, Artifact]:
        """Every partition of the asset that has a current artifact, by partition key, sorted."""
        found = {}
        for key in self.blobs.list(f"{asset}/"):
            parts = key.split("/")
            if parts[-1] == CURRENT and len(parts) > 2:
                partition = "|".join(parts[1:-1])
                found[partition] = self.current(asset, partition)
        return dict(sorted(found.items()))


def verify(artifact: Artifact) -> None:
    """Compare every file with the manifest's sha256. Raises StorageError naming the first that differs."""
    for name, entry in artifact.manifest["files"].items():
        file = artifact.path / name
        if not file.is_file() or file_sha256(file) != entry["sha256"]:
            raise StorageError(
                f"{artifact.asset} {artifact.version}: {name} is missing or damaged",
                value=str(file),
                fix="delete the artifact's folder and materialize the asset again",
            )


def content_version(content: Any) -> str:
    """The first 16 hex digits of the sha256 of the canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:VERSION_DIGITS]


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each distribution; 'absent' where it is not installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def _parse_manifest(raw: bytes) -> dict[str, Any] | None:
    """None where the bytes are not JSON: the file was cut off."""
    try:
        manifest: dict[str, Any] = json.loads(raw)
    except ValueError:
        return None
    return manifest


def _manifest(
    asset: str, partition: str | None, recipe: Recipe, folder: Path, summary: Mapping[str, Any]
) -> dict[str, Any]:
    files = {
        str(file.relative_to(folder)): {"sha256": file_sha256(file), "bytes": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    return {
        "asset": asset,
        "partition": partition,
        "version": recipe.version,
        "inputs": dict(sorted(recipe.inputs.items())),
        "settings": recipe.settings_json(),
        "code": recipe.code,
        "packages": package_versions(recipe.packages),
        "summary": summary,
        "files": files,
    }


def _key(asset: str, partition: str | None, version: str) -> str:
    return f"{_folder(asset, partition)}/{version}"


def _pointer(asset: str, partition: str | None) -> str:
    return f"{_folder(asset, partition)}/{CURRENT}"


def _folder(asset: str, partition: str | None) -> str:
    if not NAME.fullmatch(asset):
        raise StorageError("an asset's name cannot be a folder", value=asset, allowed="lower-case letters, digits, _")
    if partition is None:
        return asset
    if not PARTITION.fullmatch(partition) or ".." in partition:
        raise StorageError(
            "a partition key cannot be a folder", value=partition, allowed="slugs: letters, digits, . _ -, one |"
        )
    return f"{asset}/{partition.replace('|', '/')}"


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
