"""What a run over many partitions says about each."""

from pathlib import Path

import dagster as dg

from catalog_assets.partitions import one_run, slices
from catalog_assets.results import describe_artifact, describe_partition
from sortiment.artifacts import Artifact


@dg.asset(partitions_def=slices, backfill_policy=one_run)
def counted(context: dg.AssetExecutionContext) -> None:
    for number, key in enumerate(context.partition_keys):
        describe_partition(context, str(key), {"number": number})


def test_each_partition_of_a_run_keeps_its_own_metadata() -> None:
    keys = ["DE|books", "DE|garden", "DE|toys"]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("country", ["DE"])
        instance.add_dynamic_partitions("department", ["books", "garden", "toys"])
        tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        assert dg.materialize([counted], instance=instance, tags=tags).success
        records = instance.fetch_materializations(dg.AssetKey("counted"), limit=10).records
    numbers = {
        str(record.partition_key): record.asset_materialization.metadata["number"].value
        for record in records
        if record.asset_materialization
    }
    assert numbers == {key: number for number, key in enumerate(keys)}


def test_a_summary_s_groups_of_numbers_and_names_are_shown_too() -> None:
    summary = {
        "rows": 3, "splits": {"train": 2, "test": 1}, "skipped": ["a.parquet: broken"], "nothing": [],
        "shops": [f"shop {number}" for number in range(25)], "rates": [{"shop": "a", "share": 0.5}],
    }  # fmt: skip
    shown = describe_artifact(Artifact("offer_census", "DE", "v1", "there", {"summary": summary, "files": {}}, Path))
    assert {name: shown[name] for name in ("rows", "splits_train", "splits_test", "skipped")} == {
        "rows": 3, "splits_train": 2, "splits_test": 1, "skipped": "a.parquet: broken",
    }  # fmt: skip
    assert shown["shops"].endswith("shop 19 and 5 more")
    assert not {"nothing", "rates", "splits"} & shown.keys()
