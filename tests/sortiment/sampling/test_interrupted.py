"""A killed run, or one without room on the disk, leaves the last good state and sample; the next one ends its work."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sortiment.artifacts import ArtifactStore, Recipe, verify
from sortiment.blobs import LocalBlobs
from sortiment.errors import StorageError
from sortiment.sampling import OfferPart, State, draw_sample, keep_state
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.test_days import make_days
from tests.sortiment.sampling.test_mergeable import write

SETTINGS = SamplingSettings(per_category=20, unlabelled_per_country=40, per_shop_share=0.34, seed=7)
DEPARTMENTS = ("kitchen", "living", "unlabelled")

KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from sortiment.sampling import OfferPart
from tests.sortiment.sampling.test_interrupted import open_store, sample_parts

class Kill:
    def advance(self, count=1, note=""):
        os.kill(os.getpid(), signal.SIGKILL)

class Quiet:
    def advance(self, count=1, note=""):
        pass

@contextmanager
def progress(what, total=None, unit="offers"):
    yield Kill() if what == sys.argv[2] else Quiet()

folder = Path(sys.argv[1])
parts = [OfferPart(str(path)) for path in sorted(folder.glob("day-*.parquet"))]
sample_parts(open_store(folder), parts, progress)
"""


def open_store(folder: Path) -> ArtifactStore:
    return ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")


def sample_parts(store: ArtifactStore, parts: list[OfferPart], progress: object = None) -> dict[str, bytes]:
    """The samples of the parts, through the store as the platform makes them."""
    told = {} if progress is None else {"progress": progress}
    state: State = keep_state(store, "DE", parts, SETTINGS, **told)  # type: ignore[arg-type]
    recipe = Recipe({"parts": "+".join(part.identity for part in parts)}, SETTINGS, "1")

    def draw(folders: dict[str, Path]) -> dict[str, dict[str, object]]:
        named = {key.split("|")[1]: folder for key, folder in folders.items()}
        report = draw_sample(state, SETTINGS, named, **told)  # type: ignore[arg-type]
        return {key: report.slices[key.split("|")[1]].summary() for key in folders}

    made = store.build_many("training_sample", {f"DE|{name}": recipe for name in DEPARTMENTS}, draw)
    for artifact in made.values():
        verify(artifact)
        store.point(artifact)
    return current_samples(store)


def current_samples(store: ArtifactStore) -> dict[str, bytes]:
    found = store.current_partitions("training_sample")
    return {key: (artifact.path / "sample.parquet").read_bytes() for key, artifact in found.items()}


@pytest.fixture
def days(tmp_path: Path) -> list[OfferPart]:
    return [write(tmp_path, f"day-{index}", day) for index, day in enumerate(make_days()[:2])]


@pytest.mark.parametrize("moment", ["count offers", "fetch chosen offers", "write samples"])
def test_a_killed_run_leaves_the_last_sample_and_the_next_one_draws_the_same_bytes(
    moment: str, days: list[OfferPart], tmp_path: Path
) -> None:
    before = sample_parts(open_store(tmp_path), days[:1])
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = open_store(tmp_path)
    assert current_samples(store) == before
    undisturbed = sample_parts(open_store(tmp_path / "other"), days)
    assert sample_parts(store, days) == undisturbed != before


@contextmanager
def room_per_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: to a program it looks as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("room", [10_000, 1_000])
def test_a_full_disk_is_a_clear_error_and_leaves_the_last_sample(
    room: int, days: list[OfferPart], tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    before = sample_parts(store, days[:1])
    last = store.current("sample_state", "DE").version
    with room_per_file(room), pytest.raises(StorageError, match=r"could not be written.*last good artifact"):
        sample_parts(store, days)
    assert store.current("sample_state", "DE").version == last
    assert current_samples(store) == before
    assert sample_parts(store, days) == sample_parts(open_store(tmp_path / "other"), days)
