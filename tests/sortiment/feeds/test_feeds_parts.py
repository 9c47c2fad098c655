"""Feeds as parts: loaded once, found by content, described as a market."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from sortiment.artifacts import ArtifactStore, verify
from sortiment.blobs import LocalBlobs
from sortiment.errors import FeedError, TaxonomyError
from sortiment.feeds import (
    FeedSpec,
    LoadedFeeds,
    OfferPart,
    describe_market,
    keep_places,
    list_places,
    load_parts,
    part_recipe,
    write_listing,
    write_offers,
)
from sortiment.feeds.files import list_feed_files
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from sortiment.taxonomy import Taxonomy, category_id_of, derive_taxonomy, make_taxonomy
from tests.sortiment.feeds.conftest import COLUMNS, FEED

MakeSpec = Callable[..., FeedSpec]
Load = Callable[..., Any]  # conftest.py, `load`


def load_all(
    spec: FeedSpec, store: ArtifactStore, taxonomy: Taxonomy | None = None, settings: FeedSettings | None = None
) -> list[OfferPart]:
    return load_parts([spec], taxonomy, store, settings or FeedSettings(), silent)


def test_loading_twice_changes_nothing(make_spec: MakeSpec, store: ArtifactStore) -> None:
    spec = make_spec("o.csv", FEED, columns=COLUMNS, constants={})
    (first,) = load_all(spec, store)
    before = {path.name: path.stat().st_mtime_ns for path in first.artifact.path.iterdir()}
    (second,) = load_all(spec, store)
    assert (first.reused, second.reused) == (False, True)
    assert (first.version, first.rows, first.uris) == (second.version, second.rows, second.uris)
    assert second.report.countries == first.report.countries
    assert before == {path.name: path.stat().st_mtime_ns for path in second.artifact.path.iterdir()}


def test_the_same_bytes_under_another_name_are_the_same_part(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    spec = make_spec("a.csv", FEED, columns=COLUMNS, constants={})
    shutil.copyfile(tmp_path / "a.csv", tmp_path / "b.csv")
    os.utime(tmp_path / "b.csv", (0, 1_700_000_000))
    parts = load_all(spec.model_copy(update={"path": "*.csv"}), store)
    assert [part.source_file for part in parts] == ["a.csv"]


def test_content_spec_settings_and_taxonomy_make_the_version(make_spec: MakeSpec) -> None:
    spec = make_spec("o.csv", FEED, columns=COLUMNS, constants={})
    (file,) = list_feed_files(spec)
    tree = make_taxonomy([("1", {"de": ("Spielzeug", "Züge")})], ["de"], "test")
    settings = FeedSettings()
    versions = [
        part_recipe(file, spec, None, settings).version,
        part_recipe(file, spec, tree, settings).version,
        part_recipe(file, spec, None, FeedSettings(title_max_chars=5)).version,
        part_recipe(file, spec.model_copy(update={"quote": ""}), None, settings).version,
        part_recipe(file, spec.model_copy(update={"name": "other"}), None, settings).version,
    ]
    assert len(set(versions)) == len(versions)
    moved = spec.model_copy(update={"path": "elsewhere.csv", "folder": Path("/elsewhere")})
    assert part_recipe(file, moved, None, FeedSettings(memory_mb=512, quarantine_limit=0.5)).version == versions[0]


def test_two_loads_give_the_same_bytes(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    rows = "".join(
        f"{number};DE;Zug <b>{number % 900}</b>;s{number % 7};A > {number % 50}\n" for number in range(20_000)
    )
    spec = make_spec(
        "o.csv", "id;land;title;shop;path\n" + rows + "9;DE;again;s2;A > 1\n", columns=COLUMNS, constants={}
    )
    (first,) = load_all(spec, store)
    shutil.move(first.artifact.path, tmp_path / "first")
    (second,) = load_all(spec, store)
    for path in sorted(second.artifact.path.iterdir()):
        assert path.read_bytes() == (tmp_path / "first" / path.name).read_bytes(), path.name


def test_a_file_that_fails_keeps_the_parts_before_it(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    spec = make_spec("a.csv", FEED, columns=COLUMNS, constants={}).model_copy(update={"path": "*.csv*"})
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(FEED.encode())[:-20])
    with pytest.raises(FeedError, match=r"b\.csv\.gz"):
        load_all(spec, store)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(FEED.replace("Zug", "Bahn").encode()))
    parts = load_all(spec, store)
    assert [(part.source_file, part.reused) for part in parts] == [("a.csv", True), ("b.csv.gz", False)]


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.feeds import load_parts, load_spec
from sortiment.settings import FeedSettings

class Kill:
    def advance(self, count=1, note=""):
        if count and note.startswith("1 of 2"):
            os.kill(os.getpid(), signal.SIGKILL)

@contextmanager
def progress(what, total=None, unit="offers"):
    yield Kill()

folder = Path(sys.argv[1])
store = ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
load_parts([load_spec(folder / "shop.yaml")], None, store, FeedSettings(workers=1), progress)
"""


def test_a_killed_load_goes_on_at_the_first_unfinished_file(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text(FEED.replace("Zug", "Bahn"), encoding="utf-8")
    make_spec("a.csv", FEED, columns=COLUMNS, constants={})
    spec = make_spec("*.csv", columns=COLUMNS, constants={})
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    parts = load_all(spec, store)
    assert [(part.source_file, part.reused) for part in parts] == [("a.csv", True), ("b.csv", False)]
    undisturbed = ArtifactStore(LocalBlobs(tmp_path / "other"), tmp_path / "scratch2")
    for part, other in zip(parts, load_all(spec, undisturbed), strict=True):
        mine, theirs = part.artifact.path, other.artifact.path
        assert {path.name for path in mine.iterdir()} == {path.name for path in theirs.iterdir()}
        assert all(path.read_bytes() == (theirs / path.name).read_bytes() for path in mine.iterdir())


def test_a_part_is_whole_and_leaves_nothing_behind(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    (part,) = load_all(make_spec("o.csv", FEED, columns=COLUMNS, constants={}), store)
    artifact = store.find("offer_parts", part.version)
    assert artifact is not None
    verify(artifact)
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_offers_of_a_country_list_its_parts_in_order(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("id;land;title;shop;path\n9;AT;Auto;s1;\n", encoding="utf-8")
    spec = make_spec("a.csv", FEED, columns=COLUMNS, constants={}).model_copy(update={"path": "*.csv"})
    parts = load_all(spec, store)
    assert write_offers(parts, "AT", tmp_path) == {"parts": 2, "rows": 2}
    entries = json.loads((tmp_path / "parts.json").read_bytes())
    assert [entry["source_file"] for entry in entries] == ["a.csv", "b.csv"]
    assert set(entries[0]) == {"version", "feed", "source_file", "rows", "observed_from", "observed_to"}
    assert [entry["version"] for entry in entries] == [part.version for part in parts]
    assert write_offers(parts, "DE", tmp_path) == {"parts": 1, "rows": 2}
    assert write_offers(parts, "FR", tmp_path) == {"parts": 0, "rows": 0}


def test_files_are_loaded_in_the_order_of_the_numbers_in_their_names(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    names = ["feed/2/offers-9.csv", "feed/2/offers-10.csv", "feed/10/offers-1.csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"id,title\n1,{name}\n", encoding="utf-8")
    assert [part.source_file for part in load_all(make_spec("feed"), store)] == names


def test_parts_stand_in_the_order_in_which_their_files_were_first_loaded(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    base = make_spec("otto-1.csv", "id,title\n1,otto-1\n")
    specs = [base.model_copy(update={"name": name, "path": f"{name}-*.csv"}) for name in ("otto", "zalando")]

    def load(*names: str) -> list[str]:
        """After these files came, what is listed."""
        for name in names:
            (tmp_path / f"{name}.csv").write_text(f"id,title\n1,{name}\n", encoding="utf-8")
        earlier = list_places(tmp_path) if (tmp_path / "listing.json").exists() else []
        parts = keep_places(load_parts(specs, None, store, FeedSettings(), silent), earlier)
        write_listing(LoadedFeeds(parts), tmp_path)
        return [part.source_file.removesuffix(".csv") for part in parts]

    assert load("otto-1", "zalando-1") == ["otto-1", "zalando-1"]
    assert load("otto-10") == ["otto-1", "zalando-1", "otto-10"]
    assert load("otto-9", "zalando-2") == ["otto-1", "zalando-1", "otto-10", "otto-9", "zalando-2"]
    (tmp_path / "otto-1.csv").unlink()
    assert load() == ["zalando-1", "otto-10", "otto-9", "zalando-2"]
    specs[0] = specs[0].model_copy(update={"null_values": ("-",)})  # the same files, read in another way
    assert load() == ["zalando-1", "otto-10", "otto-9", "zalando-2"]


def test_the_market_is_described_by_its_offers(make_spec: MakeSpec, store: ArtifactStore) -> None:
    parts = load_all(make_spec("o.csv", FEED, columns=COLUMNS, constants={}), store)
    market = describe_market(parts)
    assert market.countries == ("AT", "DE")
    assert [(found.slug, found.names, found.offers) for found in market.departments] == [
        ("spielzeug", ("Spielzeug",), 2)
    ]
    assert market.partitions == {"AT": ("spielzeug",), "DE": ("spielzeug", "unlabelled")}
    assert market.offers == {"AT": 1, "DE": 2}


def test_the_tree_is_derived_from_the_labels(make_spec: MakeSpec, store: ArtifactStore) -> None:
    parts = load_all(make_spec("o.csv", FEED, columns=COLUMNS, constants={}), store)
    (category,) = derive_taxonomy(parts).categories
    assert category.category_id == category_id_of(("Spielzeug", "Züge"))
    assert category.path == ("Spielzeug", "Züge")


def test_with_a_taxonomy_labels_resolve_to_its_ids(make_spec: MakeSpec, store: ArtifactStore) -> None:
    tree = make_taxonomy([("t1", {"en": ("Toys", "Trains"), "de": ("Spielzeug", "Züge")})], ["en", "de"], "test")
    spec = make_spec(
        "o.csv", FEED + "4;DE;x;s1;Trains\n5;DE;x;s1;T1\n6;DE;x;s1;spielzeug  > ZÜGE\n", columns=COLUMNS, constants={}
    )
    (part,) = load_all(spec, store, tree)
    found = pq.read_table(part.uris["DE"], columns=["category_id", "department", "category_path"]).to_pylist()
    assert [tuple(row.values()) for row in found if row["category_id"]] == [("t1", "toys", ["Toys", "Trains"])] * 4


def test_offers_without_a_time_have_the_file_s(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    spec = make_spec("o.csv", "id,title\n1,a\n")
    os.utime(tmp_path / "o.csv", (0, 1_700_000_000))
    (part,) = load_all(spec, store)
    time = datetime.fromtimestamp(1_700_000_000, UTC).replace(tzinfo=None)
    assert part.report.countries["GB"].observed_from == part.report.countries["GB"].observed_to == time


def test_constants_fill_what_a_column_leaves_empty(load: Load) -> None:
    columns = {"offer_id": "id", "title": "title", "currency": "cur"}
    loaded = load(
        "o.csv", "id,title,cur\n1,a,USD\n2,b,\n", columns=columns, constants={"country": "UK", "currency": "gbp"}
    )
    assert [(row["country"], row["currency"]) for row in loaded.offers] == [("GB", "USD"), ("GB", "GBP")]


def test_remote_files_load_like_local_ones(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    rows = {"id": ["1"], "land": ["DE"], "title": ["Zug"], "shop": ["s1"], "path": ["A > B"]}
    pq.write_table(pa.table(rows), bucket / "a.parquet")
    (bucket / "b.csv.gz").write_bytes(gzip.compress(FEED.encode()))
    with pa.OSFile(str(bucket / "c.csv.zst"), "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(FEED.replace("Zug", "Bahn").encode())
    spec = make_spec("o.csv", FEED, columns=COLUMNS, constants={}).model_copy(update={"path": "s3://bucket"})
    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    parts = load_parts([spec], None, store, FeedSettings(), silent, filesystem)
    assert [(part.source_file, part.rows) for part in parts] == [
        ("a.parquet", {"DE": 1}),
        ("b.csv.gz", {"AT": 1, "DE": 2}),
        ("c.csv.zst", {"AT": 1, "DE": 2}),
    ]


def test_two_specs_of_one_name_are_an_error(make_spec: MakeSpec, store: ArtifactStore) -> None:
    spec = make_spec("o.csv", FEED, columns=COLUMNS, constants={})
    with pytest.raises(FeedError, match="two feed specs have the same name"):
        load_parts([spec, spec], None, store, FeedSettings(), silent)


def test_feeds_without_a_single_offer_are_an_error_that_names_the_files(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    parts = load_all(make_spec("a.csv", "id,title\n"), store)
    with pytest.raises(FeedError, match=r"the feeds hold no offer; seen: 'a\.csv: 0 rows'"):
        write_listing(LoadedFeeds(parts), tmp_path)


def test_labels_that_nobody_finds_are_an_error_that_says_where_to_look(
    make_spec: MakeSpec, store: ArtifactStore
) -> None:
    columns = {"offer_id": "id", "title": "title", "category": "kat"}
    parts = load_all(make_spec("a.jsonl", '{"id": 1, "title": "a", "cat": "A > B"}\n', columns=columns), store)
    with pytest.raises(TaxonomyError, match=r"no offer has a label.*the key misspelt"):
        derive_taxonomy(parts)


def test_a_file_whose_name_is_no_text_is_named(make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "feed").mkdir()
    (tmp_path / "feed" / os.fsdecode(b"\xff.csv")).write_bytes(b"id,title\n1,a\n2,\n3,c\n4,d\n5,e\n")
    (part,) = load_all(make_spec("feed"), store)
    assert part.source_file == "feed/\\xff.csv"
    assert pq.read_table(part.quarantine_file)["source_file"].to_pylist() == ["feed/\\xff.csv"]
