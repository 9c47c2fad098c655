"""Of massively unbalanced offers, a sample to learn from: bounded per category and shop, and the same on every run."""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from catalog_assets.feeds import offers
from catalog_assets.partitions import countries, keys_by_country, one_run, slices
from catalog_assets.results import OWNERS, build_and_point, describe_artifact, describe_partition, markdown_table
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, Recipe
from sortiment.feeds import PART_ASSET, offers_file, read_parts
from sortiment.progress import Progress
from sortiment.report.figures import plot_category_counts, plot_coverage, to_markdown
from sortiment.sampling import CODE_VERSION, OfferPart, State, draw_sample, keep_state, take_census
from sortiment.settings import SamplingSettings
from sortiment.taxonomy import load_taxonomy

SHOWN = 20
"""Categories and shops in a picture."""
STAGE: dict[str, Any] = {"group_name": "sampling", "owners": OWNERS, "code_version": CODE_VERSION}


@dg.asset(partitions_def=countries, backfill_policy=one_run, deps=[offers], kinds={"parquet"}, **STAGE)
def offer_census(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """How many offers each category has, before and after the caps; shops whose labels contradict the others'."""
    settings, names = market.settings.sampling, _category_names(storage)
    for country in context.partition_keys:
        loaded = storage.store.current("offers", country)
        state = open_state(storage, country, loaded, settings, progress.of(context.log))
        recipe = Recipe({"offers": loaded.version}, settings, CODE_VERSION)
        census = build_and_point(
            storage.store,
            "offer_census",
            recipe,
            lambda out, state=state: take_census(state, settings, out).summary(),
            country,
        )
        shown = _show_census(census.path, names, settings.per_category)
        context.add_asset_metadata(describe_artifact(census, shown), partition_key=country)
    return dg.MaterializeResult(metadata={"countries": len(context.partition_keys)})


@dg.asset(partitions_def=slices, backfill_policy=one_run, deps=[offer_census], kinds={"parquet"}, **STAGE)
def training_sample(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """The offers to learn from and to be tested on: per category and shop at most so many, split by product."""
    settings, rows = market.settings.sampling, 0
    for country, departments in keys_by_country(context.partition_keys).items():
        loaded = _offers_of(storage, country)
        if loaded is None:
            context.log.info(f"{country} has no offers: its samples are not made")
            continue
        state = open_state(storage, country, loaded, settings, progress.of(context.log))
        recipe = Recipe({"offers": loaded.version}, settings, CODE_VERSION)

        def write(folders: dict[str, Path], state: State = state) -> dict[str, Any]:
            report = draw_sample(state, settings, {key.split("|", 1)[1]: out for key, out in folders.items()})
            return {key: report.slices[key.split("|", 1)[1]].summary() for key in folders}

        made = storage.store.build_many("training_sample", {f"{country}|{name}": recipe for name in departments}, write)
        for key, sample in made.items():
            storage.store.point(sample)
            describe_partition(context, key, describe_artifact(sample))
            rows += sample.summary["rows"]
    return dg.MaterializeResult(metadata={"offers": rows})


def open_state(
    storage: StorageResource, country: str, loaded: Artifact, settings: SamplingSettings, progress: Progress
) -> State:
    """The country's mergeable sample state; only parts that it has not seen are read."""
    store, versions = storage.store, [part["version"] for part in read_parts(loaded.path)]
    parts = [OfferPart(f"{store.uri(PART_ASSET, version)}/{offers_file(country)}", version) for version in versions]
    return keep_state(store, country, parts, settings, s3=storage.s3_options(), progress=progress)


def _offers_of(storage: StorageResource, country: str) -> Artifact | None:
    return storage.store.current_or_none("offers", country)


def _category_names(storage: StorageResource) -> dict[str, str]:
    """The last two levels of each category's path, as far as the tree is known yet."""
    tree = storage.store.current_or_none("taxonomy")
    if tree is None:
        return {}
    return {key: " › ".join(category.path[-2:]) for key, category in load_taxonomy(tree.path).by_id.items()}


def _show_census(folder: Path, names: dict[str, str], per_category: int) -> dict[str, Any]:
    """What there was, what was taken and what the caps cut: all categories by rank, then the largest categories and
    shops by name; departments as a table."""
    categories = pq.read_table(folder / "census.parquet").to_pylist()
    departments = pq.read_table(folder / "departments.parquet").to_pylist()
    shops = pq.read_table(folder / "shops.parquet").to_pylist()
    quality = pq.read_table(folder / "label_quality.parquet").to_pylist()
    counts = [row["offers"] for row in categories], [row["in_sample"] for row in categories]
    by_category = [{**row, "name": names.get(row["category_id"], row["category_id"])} for row in categories]
    by_shop = [{**row, "name": row["shop_id"] or "no shop"} for row in shops]
    pictures = {
        "counts_before_and_after": plot_category_counts(*counts, per_category),
        "coverage_by_category": plot_coverage(_as_coverage(by_category), "category", SHOWN),
        "coverage_by_shop": plot_coverage(_as_coverage(by_shop), "shop", SHOWN),
    }
    return {
        **{name: dg.MetadataValue.md(to_markdown(picture)) for name, picture in pictures.items()},
        "departments_table": markdown_table(departments, limit=100),
        "label_quality": markdown_table(quality),
    }


def _as_coverage(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "sampled": row["in_sample"]} for row in rows]
