"""The first half of the graph keeps its artifacts on S3: a real server that speaks S3, a real Dagster instance."""

import shutil
from collections.abc import Callable
from pathlib import Path

import boto3
import dagster as dg
import pyarrow.parquet as pq
import pytest

from catalog_assets import feeds
from demo.market import plan_market, write_market
from resources.market import open_feed_store
from resources.profiles import Profile, read_profile
from sensors.feeds import new_feed_files
from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.errors import FeedError
from sortiment.feeds import load_feeds, parse_spec, side_by_side
from sortiment.market import generate_market
from sortiment.progress import silent
from sortiment.settings import FeedSettings, MarketSettings

SMALL = MarketSettings(offers=800, countries=("DE", "GB"), departments=("garden", "pets"), shops_per_country=4)


def test_feeds_and_samples_are_made_on_s3(
    s3_profile: Callable[[str, str], Profile], make: Callable[..., dict[str, str]]
) -> None:
    profile = s3_profile("half-the-graph", "small")
    generate_market(SMALL, profile.market_folder)
    make(profile, "feed_files", "taxonomy")
    make(profile, "offers", "offer_census", over="country")
    make(profile, "training_sample", over="slice")
    store = profile.storage().store
    samples = store.current_partitions("training_sample")
    assert set(samples) == {
        f"{country}|{name}" for country in ("DE", "GB") for name in ("garden", "pets", "unlabelled")
    }
    for sample in samples.values():
        assert sample.uri.startswith("s3://half-the-graph/store/small/training_sample/")
    rows = sum(pq.read_table(sample.path / "sample.parquet").num_rows for sample in samples.values())
    assert rows > 300


def test_lists_and_counts_of_what_lies_on_s3_fetch_no_offers(
    s3_profile: Callable[[str, str], Profile], make: Callable[..., dict[str, str]]
) -> None:
    profile = s3_profile("no-offers", "small")
    generate_market(SMALL, profile.market_folder)
    fetched = Path(profile.storage().scratch) / "fetched"

    def make_anew() -> None:
        make(profile, "feed_files", "taxonomy")
        make(profile, "offers", "offer_census", over="country")

    make_anew()
    versions = {name: made.version for name, made in profile.storage().store.current_partitions("offers").items()}
    shutil.rmtree(fetched)  # as on another machine
    make_anew()
    assert {
        name: made.version for name, made in profile.storage().store.current_partitions("offers").items()
    } == versions
    files = {file.name for file in (fetched / "offer_parts").rglob("*") if file.is_file()}
    assert files == {"labels.parquet", "quarantine.parquet"}


def test_feeds_that_lie_on_s3_are_found_and_loaded(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="shops")
    for name, title in (("2026/a.csv", "Zug"), ("2026/b.csv", "Boot"), ("2026/notes.md", "no feed")):
        client.put_object(Bucket="shops", Key=name, Body=f"t;c\n{title};Spielzeug > {title}\n".encode())
    spec = tmp_path / "shop.yaml"
    spec.write_text("path: s3://shops/2026\nconstants: {country: DE}\ncolumns: {title: t, category: c}\n")
    profile = read_profile({"SORTIMENT_HOME": str(tmp_path), "SORTIMENT_S3_ENDPOINT": s3_server}, market="none")
    demo = plan_market(profile, [spec], None)
    write_market(demo, silent)
    resources = demo.profile.resources()
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([feeds.feed_files, feeds.taxonomy], instance=instance, resources=resources).success
        assert instance.get_dynamic_partitions("country") == ["DE"]
        with dg.build_sensor_context(instance=instance, resources=resources) as context:
            asked = new_feed_files.evaluate_tick(context).run_requests
    assert asked is not None and asked[0].tags["sortiment/new_files"] == "2"
    summary = demo.profile.storage().store.current("feed_files").summary
    assert (summary["files"], summary["departments"]) == (2, ["spielzeug"])


def test_feeds_that_lie_on_s3_are_loaded_by_processes(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From when on processes are worth their start is a constant of the module, not code under test.
    monkeypatch.setattr(side_by_side, "WORTH_BYTES", 0)
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="many-shops")
    for number in range(3):
        client.put_object(Bucket="many-shops", Key=f"{number}.csv", Body=f"t\nZug {number}\n".encode())
    content = {"path": "s3://many-shops", "constants": {"country": "DE"}, "columns": {"title": "t"}}
    spec = parse_spec(content, "shop", tmp_path)
    store = ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")
    files = open_feed_store([spec], s3_server, None)
    loaded = load_feeds([spec], None, store, FeedSettings(workers=2), silent, files)
    titles = [pq.read_table(part.paths["DE"])["title"].to_pylist() for part in loaded.parts]
    assert titles == [["Zug 0"], ["Zug 1"], ["Zug 2"]]


def test_a_prefix_on_s3_without_feeds_is_an_error_that_names_it(s3_server: str, tmp_path: Path) -> None:
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket="empty-shops")
    spec = tmp_path / "shop.yaml"
    spec.write_text("path: s3://empty-shops/x/*.csv\nconstants: {country: DE}\ncolumns: {title: t}\n")
    profile = read_profile({"SORTIMENT_HOME": str(tmp_path), "SORTIMENT_S3_ENDPOINT": s3_server}, market="none")
    with pytest.raises(FeedError, match=r"the path matches no file.*s3://empty-shops/x"):
        plan_market(profile, [spec], None)
