"""Storage on S3 behaves as the local folder does; checked against a real server that speaks S3."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from resources.storage import S3Blobs, StorageResource
from sortiment.artifacts import ArtifactStore, Recipe, verify
from sortiment.errors import StorageError
from sortiment.feeds.doubts import DoubtingStore


@pytest.fixture
def storage(s3_server: str, tmp_path: Path) -> Iterator[StorageResource]:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="sortiment")
    yield StorageResource(
        root="s3://sortiment/some/prefix", scratch=str(tmp_path), s3_endpoint=s3_server, s3_region="us-east-1"
    )
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="sortiment"):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket="sortiment", Key=entry["Key"])
    client.delete_bucket(Bucket="sortiment")


def write_two(folder: Path) -> dict[str, int]:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.txt").write_text("a")
    (folder / "b.txt").write_text("b")
    return {"rows": 2}


def test_an_artifact_goes_to_s3_and_comes_back_on_another_machine(storage: StorageResource, tmp_path: Path) -> None:
    recipe = Recipe({"x": "1"}, {}, "1")
    made = storage.store.build("training_sample", recipe, write_two, partition="DE|toys")
    storage.store.point(made)
    assert made.uri.startswith("s3://sortiment/some/prefix/training_sample/DE/toys/")
    elsewhere = ArtifactStore(
        StorageResource(
            root=storage.root,
            scratch=str(tmp_path / "elsewhere"),
            s3_endpoint=storage.s3_endpoint,
            s3_region="us-east-1",
        ).blobs,
        tmp_path / "elsewhere",
    )
    found = elsewhere.current("training_sample", "DE|toys")
    assert found.reused and found.version == made.version and found.summary == {"rows": 2}
    assert not (tmp_path / "elsewhere").exists(), "versions and summaries move no files"
    assert (found.path / "deep" / "a.txt").read_text() == "a"
    verify(found)
    assert list(elsewhere.current_partitions("training_sample")) == ["DE|toys"]


def test_an_upload_that_was_cut_off_is_not_an_artifact(storage: StorageResource) -> None:
    recipe = Recipe({}, {}, "1")
    storage.blobs.write(f"offers/{recipe.version}/b.txt", b"b")
    assert storage.store.find("offers", recipe.version) is None
    assert storage.store.build("offers", recipe, write_two).summary == {"rows": 2}


def test_what_is_cut_off_or_gone_in_the_bucket_is_made_anew_whatever_was_fetched(storage: StorageResource) -> None:
    made = storage.store.build("offers", Recipe({}, {}, "1"), write_two, "DE")
    storage.store.point(made)
    assert (made.path / "deep" / "a.txt").read_text() == "a"
    for damage in ("cut off", "gone"):
        if damage == "cut off":
            storage.blobs.write(f"offers/DE/{made.version}/deep/a.txt", b"")
        else:
            delete(storage, f"offers/DE/{made.version}/deep/a.txt")
        with pytest.raises(StorageError, match="materialize offers of DE again"):
            storage.store.current("offers", "DE")
        assert not storage.store.build("offers", Recipe({}, {}, "1"), write_two, "DE").reused
        verify(storage.store.current("offers", "DE"))
        assert storage.blobs.read(f"offers/DE/{made.version}/deep/a.txt") == b"a"


def test_a_fetched_file_that_was_cut_off_is_fetched_again(storage: StorageResource) -> None:
    made = storage.store.build("offers", Recipe({}, {}, "1"), write_two)
    (made.path / "b.txt").write_text("")
    found = storage.store.find("offers", made.version)
    assert found is not None
    verify(found)


def delete(storage: StorageResource, key: str) -> None:
    client = boto3.client("s3", endpoint_url=storage.s3_endpoint)
    client.delete_object(Bucket="sortiment", Key=f"some/prefix/{key}")


class Together:
    """A client whose downloads of two callers end at the same moment."""

    def __init__(self, client: Any) -> None:
        self.client, self.ended = client, threading.Barrier(2, timeout=30)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def download_file(self, bucket: str, key: str, target: str) -> None:
        self.client.download_file(bucket, key, target)
        self.ended.wait()


def test_two_runs_that_fetch_the_same_file_at_once_both_get_it(
    storage: StorageResource, s3_server: str, tmp_path: Path
) -> None:
    storage.blobs.write("offers/v1/a.txt", b"a")
    client = Together(boto3.client("s3", endpoint_url=s3_server))
    blobs = S3Blobs(client, storage.root, tmp_path / "fresh")
    with ThreadPoolExecutor(2) as pool:
        fetched = [pool.submit(blobs.fetch, "offers/v1", {"a.txt": 1}) for _ in range(2)]
        folders = [each.result() for each in fetched]
    assert folders == [tmp_path / "fresh" / "offers" / "v1"] * 2
    assert [file.name for file in folders[0].iterdir()] == ["a.txt"]


def test_exactly_one_of_two_writers_creates_an_object(storage: StorageResource) -> None:
    assert storage.blobs.create("releases/000001.json", b"first")
    assert not storage.blobs.create("releases/000001.json", b"second")
    assert storage.blobs.read("releases/000001.json") == b"first"
    assert storage.blobs.read("releases/000002.json") is None


def test_a_root_that_is_no_bucket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="s3://BUCKET/PREFIX"):
        StorageResource(root="gs://bucket", scratch=str(tmp_path)).blobs.list("")


def test_an_artifact_in_doubt_is_judged_by_the_bucket_and_its_fetched_copy_is_mended(storage: StorageResource) -> None:
    made = storage.store.build("offer_parts", Recipe({}, {}, "1"), write_two)
    (made.path / "b.txt").write_text("x")
    store = DoubtingStore(storage.store, [made.version])
    assert store.find("offer_parts", made.version) is not None
    assert (made.path / "b.txt").read_text() == "b"
    storage.blobs.write(f"offer_parts/{made.version}/b.txt", b"x")
    assert DoubtingStore(storage.store, [made.version]).find("offer_parts", made.version) is None
