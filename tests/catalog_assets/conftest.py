"""Materializes assets on a market, as the UI does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import dagster as dg
import pytest

from catalog_assets import encoders, feeds, predictions, sampling, teacher
from catalog_assets.partitions import registered_keys
from resources.profiles import Profile, read_profile

ASSETS = [
    feeds.feed_files,
    feeds.taxonomy,
    feeds.offers,
    sampling.offer_census,
    sampling.training_sample,
    encoders.encoder_ranking,
    teacher.teacher_soft_labels,
    predictions.offer_predictions,
]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def make(instance: dg.DagsterInstance) -> Callable[..., dict[str, str]]:
    """`make(profile, "offers", over="country")`: one run for all keys of the dimension. Returns what the last asset
    says of the run, as text; raises what an asset raised."""

    def run(profile: Profile, *names: str, over: str | None = None) -> dict[str, str]:
        keys = registered_keys(instance, over) if over else []
        done = dg.materialize(
            ASSETS,
            instance=instance,
            resources=profile.resources(),
            selection=dg.AssetSelection.assets(*names),
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            } if keys else {},
        )  # fmt: skip
        said = done.asset_materializations_for_node(names[-1])[-1].metadata
        return {name: str(entry.value) for name, entry in said.items()}

    return run


@pytest.fixture
def s3_profile(s3_server: str, tmp_path: Path) -> Callable[[str, str], Profile]:
    """`s3_profile("bucket", "market")`: a market whose artifacts are kept in a new bucket."""

    def open_profile(bucket: str, market: str) -> Profile:
        boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=bucket)
        environment = {
            "SORTIMENT_HOME": str(tmp_path),
            "SORTIMENT_PROFILE": "aws",
            "SORTIMENT_S3_ROOT": f"s3://{bucket}/store",
            "SORTIMENT_S3_ENDPOINT": s3_server,
            "AWS_REGION": "us-east-1",
        }
        return read_profile(environment, market=market)

    return open_profile
