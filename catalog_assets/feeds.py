"""Feeds become offers: each file is read once, cleaned, and kept as a part; broken rows go to quarantine."""

import dagster as dg

from catalog_assets.partitions import countries, one_run, register_partitions
from catalog_assets.results import OWNERS, build_and_point, describe_artifact, markdown_table, materialized
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe
from sortiment.feeds import OFFERS_CODE_VERSION, describe_market, load_parts, read_parts, write_offers, write_parts
from sortiment.taxonomy import CODE_VERSION as TAXONOMY_CODE_VERSION
from sortiment.taxonomy import gather_taxonomy

STAGE = {"group_name": "feeds", "owners": OWNERS}


@dg.asset(kinds={"duckdb", "parquet"}, **STAGE)
def feed_files(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Every feed file, read once in one streaming pass: clean offers by country, broken rows in quarantine with reason."""
    parts = load_parts(
        market.specs(), market.taxonomy_file, storage.store, market.settings.feeds, progress.of(context.log)
    )
