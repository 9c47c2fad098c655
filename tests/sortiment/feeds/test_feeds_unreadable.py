"""A feed file that is damaged as a whole: it fails the load, or is left out and named."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from sortiment.artifacts import ArtifactStore
from sortiment.errors import FeedError, UnreadableFile
from sortiment.feeds import (
    FeedSpec,
    LoadedFeeds,
    find_feed_files,
    list_sources,
    listing_recipe,
    load_feeds,
    load_parts,
    read_left_out,
    write_listing,
)
from sortiment.feeds.files import open_raw
from sortiment.progress import silent
from sortiment.settings import FeedSettings

MakeSpec = Callable[..., FeedSpec]
SKIP = FeedSettings(on_unreadable_file="skip")


def bring(file: Path, first: int) -> None:
    rows = range(first, first + 100)
    pq.write_table(pa.table({"id": [str(row) for row in rows], "title": [f"Zug {row}" for row in rows]}), file)


def corrupt(file: Path) -> None:
    """The footer is whole, the pages are not."""
    content = bytearray(file.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    file.write_bytes(content)


@pytest.fixture
def spec(make_spec: MakeSpec, tmp_path: Path) -> FeedSpec:
    """Three days of Parquet in one folder."""
    (tmp_path / "days").mkdir()
    for day in (1, 2, 3):
        bring(tmp_path / "days" / f"day-{day}.parquet", 100 * day)
    return make_spec("days")


def load(
    spec: FeedSpec, store: ArtifactStore, earlier: dict[tuple[str, str], str] | None = None, skip: bool = True
) -> LoadedFeeds:
    return load_feeds([spec], None, store, SKIP if skip else FeedSettings(), silent, earlier=earlier)


def load_next(spec: FeedSpec, store: ArtifactStore, folder: Path) -> LoadedFeeds:
    """A load that knows of the one before from the listing in the folder, and writes its own there."""
    loaded = load(spec, store, list_sources(folder) if (folder / "listing.json").exists() else None)
    write_listing(loaded, folder)
    return loaded


def test_a_corrupt_parquet_file_in_a_folder_of_good_ones_fails_and_the_error_names_the_setting(
    spec: FeedSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    corrupt(tmp_path / "days" / "day-2.parquet")
    with pytest.raises(UnreadableFile, match=r"day-2\.parquet cannot be read as Parquet") as caught:
        load(spec, store, skip=False)
    assert "feeds.on_unreadable_file: skip" in (caught.value.fix or "")
    with pytest.raises(UnreadableFile, match=r"day-2\.parquet"):
        load_parts([spec], None, store, SKIP, silent)


def test_where_the_setting_allows_it_the_file_is_named_and_the_rest_is_unaffected(
    spec: FeedSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    whole = load(spec, store).parts
    corrupt(tmp_path / "days" / "day-2.parquet")
    loaded = load(spec, store)
    assert [part.version for part in loaded.parts] == [whole[0].version, whole[2].version]
    (left_out,) = loaded.left_out
    assert (left_out.feed, left_out.source_file, left_out.kept) == ("shop", "days/day-2.parquet", None)
    assert "cannot be read as Parquet" in left_out.problem
    out = tmp_path / "listing"
    out.mkdir()
    assert write_listing(loaded, out)["files_left_out"] == 1
    assert read_left_out(out) == loaded.left_out


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"id,title\n" + b"1,Zug\n" * 50_000)[:-30], b"", b"PK\x03\x04 a workbook", bytes(range(32)) * 100],
)
def test_text_files_that_are_cut_off_empty_or_no_text_are_left_out_too(
    content: bytes, make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    spec = make_spec("a.csv", "id,title\n1,Boot\n").model_copy(update={"path": "*.csv*"})
    (tmp_path / "b.csv.gz").write_bytes(content)
    loaded = load(spec, store)
    assert [part.source_file for part in loaded.parts] == ["a.csv"]
    assert [file.source_file for file in loaded.left_out] == ["b.csv.gz"]


def test_a_file_whose_bytes_cannot_be_read_is_left_out_too(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    spec = make_spec("a.csv", "id,title\n1,Boot\n").model_copy(update={"path": "*.csv"})
    (tmp_path / "b.csv").symlink_to("/proc/self/mem")  # its first byte is an input/output error
    with pytest.raises(UnreadableFile, match=r"b\.csv cannot be opened"):
        load(spec, store, skip=False)
    assert [file.source_file for file in load(spec, store).left_out] == ["b.csv"]


@pytest.mark.parametrize("name", ["b.csv", "b.jsonl", "b.parquet"])
def test_so_is_one_whose_content_is_known_and_whose_bytes_cannot_be_read_any_more(
    name: str, make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    spec = make_spec("feed/a.csv", "id,title\n1,Boot\n").model_copy(update={"path": "feed"})
    (tmp_path / "feed" / name).symlink_to("/proc/self/mem")
    file = find_feed_files(spec)[1]
    store.blobs.write("feed_hashes/shop.json", json.dumps([[file.uri, file.state, "0" * 64]]).encode())
    with pytest.raises(UnreadableFile, match=rf"{name} cannot be"):
        load(spec, store, skip=False)
    assert [file.source_file for file in load(spec, store).left_out] == [f"feed/{name}"]


@pytest.mark.parametrize("path", ["feed", "s3://feed"])
def test_what_is_wrong_with_a_file_does_not_tell_where_the_files_lie(
    path: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    spec = make_spec("feed/a.csv", "id,title\n1,Boot\n").model_copy(update={"path": path})
    (file,) = find_feed_files(spec, filesystem)
    (tmp_path / "feed" / "a.csv").unlink()
    with pytest.raises(UnreadableFile, match=r"a\.csv cannot be opened; seen: 'No such file or directory'") as caught:
        open_raw(file, filesystem)
    assert str(tmp_path) not in str(caught.value)


def test_the_next_load_tries_again(spec: FeedSpec, store: ArtifactStore, tmp_path: Path) -> None:
    corrupt(tmp_path / "days" / "day-2.parquet")
    assert len(load(spec, store).left_out) == len(load(spec, store).left_out) == 1
    bring(tmp_path / "days" / "day-2.parquet", 200)
    assert (len(load(spec, store).parts), load(spec, store).left_out) == (3, [])


def test_what_a_file_held_before_it_was_damaged_stays(spec: FeedSpec, store: ArtifactStore, tmp_path: Path) -> None:
    whole = load_next(spec, store, tmp_path).parts
    corrupt(tmp_path / "days" / "day-2.parquet")
    loaded = load_next(spec, store, tmp_path)
    assert {part.version for part in loaded.parts} == {part.version for part in whole}
    assert [file.kept for file in loaded.left_out] == [whole[1].version]
    other = spec.model_copy(update={"null_values": ("Zug 201",)})
    assert [file.kept for file in load_next(other, store, tmp_path).left_out] == [None]
    assert [file.kept for file in load_next(spec, store, tmp_path).left_out] == [whole[1].version]


def test_so_does_what_a_file_held_that_was_first_loaded_under_another_name(
    spec: FeedSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    days = tmp_path / "days"
    whole = load_next(spec, store, tmp_path).parts
    (days / "day-2.parquet").rename(days / "day-4.parquet")
    bring(days / "day-2.parquet", 500)  # a new file under the old name
    load_next(spec, store, tmp_path)
    corrupt(days / "day-4.parquet")
    for _ in range(2):
        loaded = load_next(spec, store, tmp_path)
        assert [(file.source_file, file.kept) for file in loaded.left_out] == [("days/day-4.parquet", whole[1].version)]
        assert len(loaded.parts) == 4
    (days / "day-4.parquet").unlink()
    assert whole[1].version not in [part.version for part in load_next(spec, store, tmp_path).parts]


def test_one_of_two_files_of_one_content_may_be_damaged(spec: FeedSpec, store: ArtifactStore, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "days" / "day-2.parquet", tmp_path / "days" / "day-4.parquet")
    whole = load_next(spec, store, tmp_path).parts
    corrupt(tmp_path / "days" / "day-4.parquet")
    loaded = load_next(spec, store, tmp_path)
    assert {part.version for part in loaded.parts} == {part.version for part in whole}
    assert [file.kept for file in loaded.left_out] == [whole[1].version]


def test_a_listing_from_before_files_were_listed_by_their_names_is_read(
    spec: FeedSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    listing = tmp_path / "listing.json"
    load_next(spec, store, tmp_path)
    held = list_sources(tmp_path)
    content = json.loads(listing.read_bytes())
    del content["held"]
    listing.write_text(json.dumps(content), encoding="utf-8")
    assert list_sources(tmp_path) == held
    for entry in content["parts"]:
        del entry["source_file"]
    listing.write_text(json.dumps(content), encoding="utf-8")
    assert list_sources(tmp_path) == {}


def test_a_listing_is_made_from_what_it_tells_but_for_the_words_of_a_problem(
    spec: FeedSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    whole = load_next(spec, store, tmp_path)
    (tmp_path / "days" / "day-3.parquet").rename(tmp_path / "days" / "day-4.parquet")
    renamed = load_next(spec, store, tmp_path)
    corrupt(tmp_path / "days" / "day-4.parquet")
    damaged = load_next(spec, store, tmp_path)
    (tmp_path / "days" / "day-4.parquet").write_bytes(b"")
    empty = load_next(spec, store, tmp_path)
    assert empty.left_out[0].problem != damaged.left_out[0].problem
    versions = [listing_recipe(loaded).version for loaded in (whole, renamed, damaged, empty)]
    assert len(set(versions)) == 3 and versions[2] == versions[3]


def test_a_feed_of_which_no_file_can_be_read_is_an_error_all_the_same_unless_something_it_held_before_stays(
    spec: FeedSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    whole = load(spec, store)
    for day in (1, 2, 3):
        corrupt(tmp_path / "days" / f"day-{day}.parquet")
    with pytest.raises(FeedError, match="feed shop: none of its 3 files can be read"):
        load(spec, store)
    last = {("shop", "days/day-2.parquet"): whole.parts[1].file_sha256}
    loaded = load(spec, store, last)
    assert [part.version for part in loaded.parts] == [whole.parts[1].version]
    assert [bool(file.kept) for file in loaded.left_out] == [False, True, False]


def test_a_spec_that_is_wrong_is_an_error_all_the_same(spec: FeedSpec, store: ArtifactStore) -> None:
    with pytest.raises(FeedError, match="the column 'name', mapped to title, is not in the header"):
        load(spec.model_copy(update={"columns": {"title": "name"}}), store)
    with pytest.raises(FeedError, match=r"none of its 3 files can be read.*this is Parquet, not text"):
        load(spec.model_copy(update={"format": "csv", "path": "days/*"}), store)


def test_the_setting_does_not_change_what_is_loaded(spec: FeedSpec, store: ArtifactStore) -> None:
    strict = load(spec, store, skip=False).parts
    assert [part.version for part in load(spec, store).parts] == [part.version for part in strict]
