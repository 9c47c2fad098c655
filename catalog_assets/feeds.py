"""Feeds become offers: each file is read once, cleaned and kept as a part; broken rows go to quarantine."""

from dataclasses import replace
from typing import Any

import dagster as dg

from catalog_assets.partitions import countries, one_run, register_partitions
from catalog_assets.results import OWNERS, build_and_point, describe_artifact, markdown_table, materialized, versions_of
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import ArtifactStore, Recipe, content_version
from sortiment.feeds import (
    CODE_VERSION,
    LeftOutFile,
    OfferPart,
    departments_of,
    describe_market,
    find_parts,
    group_departments,
    keep_places,
    list_places,
    list_sources,
    listing_recipe,
    load_feeds,
    open_doubting,
    read_listing,
    read_quarantine,
    settle_doubts,
    write_listing,
    write_offers,
)
from sortiment.taxonomy import (
    UNLABELLED,
    derive_taxonomy,
    load_taxonomy,
    plan_departments,
    read_taxonomy,
    write_taxonomy,
)

STAGE: dict[str, Any] = {"group_name": "feeds", "owners": OWNERS, "code_version": CODE_VERSION}


@dg.asset(kinds={"duckdb", "parquet"}, **STAGE)
def feed_files(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """Every feed file, read once in one streaming pass: clean offers by country, broken rows in quarantine.

    A file that was loaded before, under whatever name, is not loaded again; one that cannot be read fails the load, or
    is left out and named, as `feeds.on_unreadable_file` says. Registers the countries and departments that the feeds
    brought as partitions.
    """
    store, settings = open_doubting(storage.store), market.settings.feeds
    earlier = store.earlier("feed_files")
    taxonomy = read_taxonomy(market.taxonomy_file) if market.taxonomy_file else None
    loaded = load_feeds(
        market.specs(),
        taxonomy,
        store,
        settings,
        progress.of(context.log),
        market.remote_files,
        list_sources(earlier.path) if earlier else None,
    )
    placed = keep_places(loaded.parts, list_places(earlier.path) if earlier else [])
    parts = group_departments(placed, earlier_departments(store), store, settings)
    final = replace(loaded, parts=parts)
    artifact = build_and_point(store, "feed_files", listing_recipe(final), lambda out: write_listing(final, out))
    found = describe_market(parts)
    for file in loaded.left_out:
        context.log.warning(file.sentence)
    for version, what in settle_doubts(store).items():
        context.log.warning(f"the part {version} {what}")
    departments = [department.slug for department in found.departments]
    register_partitions(context.instance, list(found.countries), [*departments, UNLABELLED])
    return materialized(artifact, _describe_files(parts, loaded.left_out))


def _describe_files(parts: list[OfferPart], left_out: list[LeftOutFile]) -> dict[str, Any]:
    """Tables of the files that were loaded, of those that were left out, and of the first rows in quarantine."""
    files = [
        {
            "file": part.source_file,
            "feed": part.feed,
            "offers": sum(part.rows.values()),
            "quarantined": sum(part.report.quarantined.values()),
            "mapped but empty": ", ".join(part.report.empty),
            "countries": ", ".join(part.countries),
            "loaded": "before" if part.reused else "now",
        }
        for part in parts
    ]
    unreadable = [
        {
            "file": file.source_file,
            "feed": file.feed,
            "problem": file.problem,
            "instead": "what it held before" if file.kept else "nothing",
        }
        for file in left_out
    ]
    broken = read_quarantine(parts, limit=30)
    return {
        "feed_files": markdown_table(files),
        "left_out": markdown_table(unreadable),
        "quarantine": markdown_table(broken),
    }


@dg.asset(deps=[feed_files], kinds={"parquet"}, **STAGE)
def taxonomy(market: MarketResource, storage: StorageResource) -> dg.MaterializeResult[Any]:
    """The category tree: the market's own file, or what the label paths of all feeds draw."""
    store = storage.store
    listing = store.current("feed_files")
    tree = (
        read_taxonomy(market.taxonomy_file)
        if market.taxonomy_file
        else derive_taxonomy(read_listing(listing.path, store))
    )
    plan = plan_departments(dict.fromkeys(tree.top_levels, 0), earlier_departments(store), market.settings.feeds)
    tree = tree.in_departments(plan)
    shared = {slug: key for slug, key in plan.items() if slug != key}
    inputs = {"tree": tree.version} | ({"departments": content_version(shared)} if shared else {})
    recipe = Recipe(inputs, {}, CODE_VERSION)
    artifact = build_and_point(store, "taxonomy", recipe, lambda out: write_taxonomy(tree, out))
    departments = [{"department": slug, "name": name} for slug, name in tree.department_names.items()]
    return materialized(artifact, {"departments": markdown_table(departments, limit=100)})


@dg.asset(partitions_def=countries, backfill_policy=one_run, deps=[feed_files], kinds={"parquet"}, **STAGE)
def offers(context: dg.AssetExecutionContext, storage: StorageResource) -> dg.MaterializeResult[Any]:
    """A country's offers: the parts that hold them, in order; where an offer repeats, the later part wins. A country
    that has left the feeds has none."""
    store, empty = storage.store, []
    parts = read_listing(store.current("feed_files").path, store)
    for country in context.partition_keys:
        mine = {part.version: part.version for part in parts if country in part.countries}
        recipe = Recipe({"parts": "+".join(mine)}, {}, CODE_VERSION)
        artifact = build_and_point(
            store, "offers", recipe, lambda out, country=country: write_offers(parts, country, out), country
        )
        context.add_asset_metadata(describe_artifact(artifact), partition_key=country)
        if not mine:
            context.log.info(f"{country} has no offers in the feeds any more")
            empty.append(country)
    return dg.MaterializeResult(
        metadata={
            "feed_files": versions_of({"": store.current("feed_files")}),
            "without_offers": ", ".join(empty) or "none",
        }
    )


def earlier_departments(store: ArtifactStore) -> dict[str, str]:
    """Which department each top level was given by the last load; empty before the first. For what is gone of that load
    the tree remembers."""
    listing, tree = store.earlier("feed_files"), store.earlier("taxonomy")
    found = [part for _, part in find_parts(listing.path, store)] if listing else [None]
    plan = departments_of([part for part in found if part])
    return load_taxonomy(tree.path).plan | plan if tree and None in found else plan
