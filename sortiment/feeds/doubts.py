"""Parts that a stage could not use: the next load compares their bytes with their manifests, and mends what differs.

The store looks at sizes only: to read billions of offers in order to find each part would cost more than the parts
did. So damage that keeps a file's size is noticed by whoever reads the file. That stage names the part here, in
`doubted_parts.json` beside the artifacts. The next `feed_files` finds such a part only if each of its files has the
sha256 of its manifest, and otherwise loads it anew like one that was never there.
"""

import json
from collections.abc import Iterable

from sortiment.artifacts import Artifact, ArtifactStore, file_sha256
from sortiment.blobs import Blobs
from sortiment.feeds.parts import PART_ASSET

DOUBTS_FILE = "doubted_parts.json"


class DoubtingStore(ArtifactStore):
    """A store that compares the artifacts of some versions with their manifests before it finds them.

    Each is compared as it is stored and not as it was fetched before, until it is whole. whole, damaged: what came of
    it so far; what was made anew is in both.
    """

    def __init__(self, store: ArtifactStore, doubted: Iterable[str]) -> None:
        super().__init__(store.blobs, store.scratch)
        self.doubted = frozenset(doubted)
        self.whole: set[str] = set()
        self.damaged: set[str] = set()

    def find(self, asset: str, version: str, partition: str | None = None) -> Artifact | None:
        found = super().find(asset, version, partition)
        if found is None or version not in self.doubted - self.whole:
            return found
        if self._has_its_bytes(found):
            self.whole.add(version)
            return found
        self.damaged.add(version)
        return None

    def _has_its_bytes(self, artifact: Artifact) -> bool:
        """False also where a disk does not give them back; a storage that cannot be asked says nothing of the part."""
        files = artifact.manifest["files"]
        folder = self.refetch(artifact)
        try:
            return all(file_sha256(folder / name) == entry["sha256"] for name, entry in files.items())
        except OSError:
            return False


def doubt_parts(versions: Iterable[str], blobs: Blobs) -> None:
    """Remember that these parts could not be used. Of two processes that do so at once, one may be forgotten: it then
    meets its part again."""
    before = _read(blobs)
    _write(before | set(versions), before, blobs)


def open_doubting(store: ArtifactStore) -> DoubtingStore:
    """The store for a load. A part with shared departments was made from another one, which is then in doubt too."""
    doubted = _read(store.blobs)
    found = [store.find(PART_ASSET, version) for version in doubted]
    return DoubtingStore(
        store, doubted | {part.manifest["inputs"]["part"] for part in found if part and _is_made(part)}
    )


def settle_doubts(store: DoubtingStore) -> dict[str, str]:
    """Forget the doubts about parts that are whole now. Returns what came of each that the load met, in words."""
    before = _read(store.blobs)
    _write(before - store.whole, before, store.blobs)
    kept = "could not be used before, but its bytes are as they were written: it was kept"
    anew, lost = "was damaged: it was made anew", "is damaged, and its feed file is not there to make it anew"
    said = dict.fromkeys(sorted(store.whole), kept)
    return said | {version: anew if version in store.whole else lost for version in sorted(store.damaged)}


def _is_made(part: Artifact) -> bool:
    return "part" in part.manifest["inputs"]


def _read(blobs: Blobs) -> set[str]:
    return set(json.loads(blobs.read(DOUBTS_FILE) or b"[]"))


def _write(doubts: set[str], before: set[str], blobs: Blobs) -> None:
    if doubts != before:
        blobs.write(DOUBTS_FILE, (json.dumps(sorted(doubts), indent=0) + "\n").encode())
