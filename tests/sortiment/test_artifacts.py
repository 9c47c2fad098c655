"""Artifacts appear whole or not at all, are found again by what they were made from, and survive a crash."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sortiment.artifacts import ArtifactStore, Recipe, content_version, verify
from sortiment.blobs import LocalBlobs
from sortiment.errors import StorageError


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")


def recipe(**inputs: str) -> Recipe:
    return Recipe(inputs=inputs, settings={"k": 1}, code="1")


def write_hello(folder: Path) -> dict[str, int]:
    (folder / "deep").mkdir()
    (folder / "deep" / "hello.txt").write_text("hello")
    return {"rows": 1}


def test_a_version_is_the_hash_of_what_went_in_and_of_nothing_else() -> None:
    assert recipe(a="1", b="2").version == recipe(b="2", a="1").version
    assert recipe(a="1").version != recipe(a="2").version
    assert content_version({"ü": 1}) == content_version({"ü": 1})
    assert len(recipe().version) == 16


def test_a_finished_artifact_is_found_and_not_written_again(store: ArtifactStore) -> None:
    made = store.build("offers", recipe(), write_hello, partition="DE")
    again = store.build("offers", recipe(), lambda folder: pytest.fail("was written twice"), partition="DE")
    assert not made.reused and again.reused
    assert again.version == made.version
    assert again.summary == {"rows": 1}
    assert (again.path / "deep" / "hello.txt").read_text() == "hello"
    assert again.manifest["files"]["deep/hello.txt"]["bytes"] == 5


def test_a_failed_build_leaves_nothing_and_the_pointer_where_it_was(store: ArtifactStore) -> None:
    good = store.build("offers", recipe(day="1"), write_hello, partition="DE")
    store.point(good)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.build("offers", recipe(day="2"), fail, partition="DE")
    assert store.current("offers", "DE").version == good.version
    assert store.find("offers", recipe(day="2").version, "DE") is None
    assert not list(store.scratch.rglob("half"))


def test_a_full_disk_is_a_clear_error_and_the_last_good_artifact_stays(store: ArtifactStore) -> None:
    def fill(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"No space left.*last good artifact"):
        store.build("offers", recipe(), fill)


def test_an_input_that_cannot_be_read_is_not_called_a_full_disk(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="sample"):
        store.build("teacher_model", recipe(), lambda folder: {"rows": len((tmp_path / "sample").read_bytes())})


def test_only_a_resumable_builder_sees_what_a_killed_one_left(tmp_path: Path, store: ArtifactStore) -> None:
    program = textwrap.dedent(
        """
        import sys, os, signal
        from pathlib import Path
        from sortiment.artifacts import ArtifactStore, Recipe
        from sortiment.blobs import LocalBlobs, write_atomically
        def write(folder):
            (folder / "shard-0").write_text("done")
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
            write_atomically(folder / "shard-1", b"do")
        root = Path(sys.argv[1])
        ArtifactStore(LocalBlobs(root / "store"), root / "scratch").build("labels", Recipe({}, {"k": 1}, "1"), write)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    seen: list[list[str]] = []

    def finish(folder: Path) -> None:
        seen.append(sorted(file.name for file in folder.iterdir()))
        (folder / "shard-1").write_text("done")

    made = store.build("labels", Recipe({}, {"k": 1}, "1"), finish, resumable=True)
    assert seen == [["shard-0"]]
    assert sorted(made.manifest["files"]) == ["shard-0", "shard-1"]


def test_what_a_killed_builder_left_goes_with_the_next_build_of_another_version(store: ArtifactStore) -> None:
    """The file that it loaded may never come again, and what it left may be half the disk."""
    left = {}
    for version in ("killed", "at work"):
        left[version] = store.scratch / ".building" / "offers" / "DE" / version
        left[version].mkdir(parents=True)
        (left[version] / "offers.parquet").write_text("half")
        left[version].with_name(f"{version}.lock").touch()
    with left["at work"].with_name("at work.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store.build("offers", recipe(), write_hello, partition="DE")
    assert not left["killed"].exists()
    assert (left["at work"] / "offers.parquet").exists()


def test_partitions_are_listed_with_their_current_artifact(store: ArtifactStore) -> None:
    for key in ("DE|toys", "AT|toys"):
        store.point(store.build("training_sample", recipe(key=key), write_hello, partition=key))
    store.build("training_sample", recipe(key="not pointed at"), write_hello, partition="FR|toys")
    assert list(store.current_partitions("training_sample")) == ["AT|toys", "DE|toys"]


def test_asking_for_what_was_never_made_says_what_to_do(store: ArtifactStore) -> None:
    with pytest.raises(StorageError, match="materialize offers of DE first"):
        store.current("offers", "DE")


@pytest.mark.parametrize("partition", ["../etc", "a/b", "DE|toys|x", "", "DE|..", "x\n"])
def test_a_partition_key_never_leaves_its_folder(store: ArtifactStore, partition: str) -> None:
    with pytest.raises(StorageError, match="cannot be a folder"):
        store.build("offers", recipe(), write_hello, partition=partition)


def test_damage_is_found(store: ArtifactStore) -> None:
    made = store.build("offers", recipe(), write_hello)
    verify(made)
    (made.path / "deep" / "hello.txt").write_text("hullo")
    with pytest.raises(StorageError, match=r"hello.txt is missing or damaged"):
        verify(made)


def cut(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "deep" / "hello.txt"),
        lambda folder: (folder / "deep" / "hello.txt").unlink(),
        lambda folder: cut(folder / "manifest.json"),
        lambda folder: (folder / "manifest.json").unlink(),
        shutil.rmtree,
    ],
    ids=["file cut off", "file gone", "manifest cut off", "manifest gone", "folder gone"],
)
def test_what_is_missing_or_cut_off_is_made_anew(store: ArtifactStore, damage: Callable[[Path], None]) -> None:
    made = store.build("offers", recipe(), write_hello, partition="DE")
    store.point(made)
    damage(made.path)
    assert store.find("offers", made.version, "DE") is None
    assert store.earlier("offers", "DE") is None
    with pytest.raises(StorageError, match=r"offers of DE is gone or damaged.*materialize offers of DE again"):
        store.current("offers", "DE")
    again = store.build("offers", recipe(), write_hello, partition="DE")
    assert (again.version, again.reused) == (made.version, False)
    verify(store.current("offers", "DE"))


def test_before_anything_was_made_there_is_no_earlier_artifact(store: ArtifactStore) -> None:
    assert store.earlier("offers", "DE") is None
    store.point(store.build("offers", recipe(), write_hello, partition="DE"))
    assert store.earlier("offers", "DE") == store.current("offers", "DE")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    manifests = []
    for name in ("one", "two"):
        store = ArtifactStore(LocalBlobs(tmp_path / name), tmp_path / name / "scratch")
        made = store.build("offers", recipe(), write_hello, partition="DE")
        manifests.append((made.path / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]
    assert json.loads(manifests[0])["asset"] == "offers"


def test_create_lets_exactly_one_writer_win(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    assert blobs.create("releases/000001.json", b"first")
    assert not blobs.create("releases/000001.json", b"second")
    assert blobs.read("releases/000001.json") == b"first"
    assert blobs.list("releases/") == ["releases/000001.json"]
