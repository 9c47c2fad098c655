"""The first half of the graph keeps its artifacts on S3: a real server that speaks S3, a real Dagster instance."""

from pathlib import Path

import boto3
import dagster as dg
import pyarrow.parquet as pq
import pytest

from catalog_assets import feeds, sampling
from catalog_assets.partitions import registered_keys
from resources.profiles import read_profile
from sortiment.market import generate_market
from sortiment.settings import MarketSettings


def test_feeds_and_samples_are_made_on_s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket="half-the-graph")
    environment = {
        "SORTIMENT_HOME": str(tmp_path),
        "SORTIMENT_PROFILE": "aws",
        "SORTIMENT_S3_ROOT": "s3://half-the-graph/store",
        "SORTIMENT_S3_ENDPOINT": s3_server,
        "AWS_REGION": "us-east-1",
    }
    profile = read_profile(environment, market="small")
    generate_market(
        MarketSettings(offers=800, countries=("DE", "GB"), departments=("garden", "pets"), shops_per_country=4),
        profile.market_folder,
    )
    assets = [feeds.feed_files, feeds.taxonomy, feeds.offers, sampling.offer_census, sampling.training_sample]
    with dg.DagsterInstance.ephemeral() as instance:

        def make(names: list[str], keys: list[str] | None) -> None:
            tags = {} if keys is None else {
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            }  # fmt: skip
            chosen = dg.AssetSelection.assets(*names)
            done = dg.materialize(assets, instance=instance, resources=profile.resources(), selection=chosen, tags=tags)
            assert done.success

        make(["feed_files", "taxonomy"], None)
        make(["offers", "offer_census"], registered_keys(instance, "country"))
        make(["training_sample"], registered_keys(instance, "slice"))
    store = profile.storage().store
    samples = store.current_partitions("training_sample")
    assert set(samples) == {
        f"{country}|{name}" for country in ("DE", "GB") for name in ("garden", "pets", "unlabelled")
    }
    for sample in samples.values():
        assert sample.uri.startswith("s3://half-the-graph/store/small/training_sample/")
    rows = sum(pq.read_table(sample.path / "sample.parquet").num_rows for sample in samples.values())
    assert rows > 300
