"""What a run over many partitions says about each."""

import dagster as dg

from catalog_assets.partitions import one_run, slices
from catalog_assets.results import describe_partition


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
