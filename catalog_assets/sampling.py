"""Of massively unbalanced offers, a sample to learn from: bounded per category and shop, and the same on every run."""

import itertools
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from catalog_assets.feeds import offers
from catalog_assets.partitions import countries, keys_by_country, one_run, slices
from catalog_assets.results import OWNERS, build_and_point, describe_artifact, describe_partition, markdown_table
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, Recipe, content_version
from sortiment.feeds import PART_ASSET, offers_file, read_parts
from sortiment.progress import Progress
from sortiment.release import ReleaseLog
from sortiment.report.figures import plot_category_counts, plot_coverage, to_markdown
from sortiment.sampling import (
    CODE_VERSION,
    VERDICTS,
    OfferPart,
    State,
    build_fresh_state,
    doubting,
    draw_sample,
    keep_state,
    take_census,
)
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
    settings, names, empty = market.settings.sampling, _category_names(storage), []
    for country in context.partition_keys:
        found = _open_offers(context, storage, country, settings, progress.of(context.log))
        if found is None:
            empty.append(country)
            continue
        loaded, state = found
        recipe = Recipe(_inputs_of(loaded, state), settings, CODE_VERSION)
        last = storage.store.earlier("offer_census", country)
        census = build_and_point(
            storage.store,
            "offer_census",
            recipe,
            lambda out, state=state, last=last: take_census(state, settings, out, last and last.path).summary(),
            country,
        )
        if census.summary["seems_placeholder"]:
            context.log.warning(
                f"{country}: {census.summary['largest_product']:,} of the drawn offers have one product id or GTIN and "
                "count as one product; where that is a placeholder, take the column out of the feed's spec"
            )
        if not census.summary["splits"]["test"] and settings.test_share:
            context.log.warning(
                f"{country} has no test offer: of {census.summary['in_sample']:,} labelled offers in its samples, "
                f"{census.summary['lent']:,} are lent to training and {census.summary['alike']:,} are all alike"
            )
        shown = _show_census(census.path, names, settings.per_category)
        context.add_asset_metadata(describe_artifact(census, shown), partition_key=country)
    counted = len(context.partition_keys) - len(empty)
    return dg.MaterializeResult(metadata={"countries": counted, "without_offers": ", ".join(empty) or "none"})


class SampleConfig(dg.Config):
    """fresh: draw the offers that came since the champion's training with more weight, as for a slice that drifted."""

    fresh: bool = False


@dg.asset(partitions_def=slices, backfill_policy=one_run, deps=[offer_census], kinds={"parquet"}, **STAGE)
def training_sample(
    context: dg.AssetExecutionContext,
    config: SampleConfig,
    market: MarketResource,
    storage: StorageResource,
    progress: ProgressResource,
) -> dg.MaterializeResult[Any]:
    """The offers to learn from and to be tested on: per category and shop at most so many, split by product."""
    settings, rows, shown, empty = market.settings.sampling, 0, progress.of(context.log), []
    for country, departments in keys_by_country(context.partition_keys).items():
        found = _open_offers(context, storage, country, settings, shown)
        if found is None:
            empty.append(country)
            continue
        loaded, state = found
        for since, names in _group_by_training(storage, country, departments, config.fresh).items():
            inputs = _inputs_of(loaded, state) | ({"fresh_since": since} if since else {})
            write = partial(_draw, storage, country, since, state, settings, shown)
            recipes = {f"{country}|{name}": Recipe(inputs, settings, CODE_VERSION) for name in names}
            for key, sample in storage.store.build_many("training_sample", recipes, write).items():
                storage.store.point(sample)
                describe_partition(context, key, describe_artifact(sample))
                rows += sample.summary["rows"]
    return dg.MaterializeResult(metadata={"offers": rows, "without_offers": ", ".join(empty) or "none"})


def _draw(
    storage: StorageResource,
    country: str,
    since: str | None,
    state: State,
    settings: SamplingSettings,
    progress: Progress,
    folders: dict[str, Path],
) -> dict[str, Any]:
    """Write the samples of some slices of a country. since: the offers after which new ones are drawn beside."""
    out = {key.split("|", 1)[1]: folder for key, folder in folders.items()}
    parts = _new_parts(storage, country, since, state)
    census = storage.store.earlier("offer_census", country)
    before, s3 = census.path / VERDICTS if census else None, storage.s3_options()
    within = next(iter(out.values()))  # goes with it where this process is killed
    with doubting(parts, storage.store), TemporaryDirectory(prefix="fresh-", dir=within) as folder:
        fresh = None
        if parts and settings.fresh_per_category:
            fresh = build_fresh_state(parts, settings, Path(folder), s3=s3, progress=progress)
        report = draw_sample(state, settings, out, fresh=fresh, before=before, s3=s3, progress=progress)
    return {key: report.slices[key.split("|", 1)[1]].summary() for key in folders}


def _group_by_training(
    storage: StorageResource, country: str, departments: list[str], fresh: bool
) -> dict[str | None, list[str]]:
    """The departments by the version of the offers that the champion's student learned them from; None where no new
    offers are asked for, or where no champion has learned the slice. The same for as long as the champion is."""
    store, live = storage.store, ReleaseLog(storage.blobs).champion() if fresh else None
    student = store.find("student_checkpoint", live.artifacts["student_checkpoint"]) if live else None
    trained_on = student.summary["trained_on"] if student else {}
    grouped: dict[str | None, list[str]] = {}
    for department in departments:
        key = f"{country}|{department}"
        labels = store.find("teacher_soft_labels", trained_on[key], key) if key in trained_on else None
        sample = store.find("training_sample", labels.manifest["inputs"]["sample"], key) if labels else None
        grouped.setdefault(sample.manifest["inputs"]["offers"] if sample else None, []).append(department)
    return grouped


def _new_parts(storage: StorageResource, country: str, since: str | None, state: State) -> list[OfferPart]:
    """The state's parts from the first on that came since: later parts win, so none of their offers is replaced."""
    earlier = storage.store.find("offers", since, country) if since else None
    if earlier is None:
        return []
    before = {part["version"] for part in read_parts(earlier.path)}
    return list(itertools.dropwhile(lambda part: part.identity in before, state.parts))


def open_state(
    storage: StorageResource, country: str, loaded: Artifact, settings: SamplingSettings, progress: Progress
) -> State:
    """The country's mergeable sample state; only parts that it has not seen are read."""
    store, versions = storage.store, [part["version"] for part in read_parts(loaded.path)]
    parts = [OfferPart(f"{store.uri(PART_ASSET, version)}/{offers_file(country)}", version) for version in versions]
    return keep_state(store, country, parts, settings, s3=storage.s3_options(), progress=progress)


def _inputs_of(loaded: Artifact, state: State) -> dict[str, str]:
    """What a census or a sample is made from: the offers, and which parts were read where that is not all of them."""
    read = {"parts": content_version([part.identity for part in state.parts])} if state.skipped else {}
    return {"offers": loaded.version, **read}


def _open_offers(
    context: dg.AssetExecutionContext,
    storage: StorageResource,
    country: str,
    settings: SamplingSettings,
    progress: Progress,
) -> tuple[Artifact, State] | None:
    """The country's offers and their state. None where it has none: not yet, or not any more, since it left the feeds
    or all its offers were withdrawn. Says what was left out as unreadable."""
    loaded = storage.store.current_or_none("offers", country)
    if loaded is None or not loaded.summary["parts"]:
        context.log.info(f"{country} has no offers: it is neither counted nor sampled")
        return None
    state = open_state(storage, country, loaded, settings, progress)
    for why in state.skipped:
        context.log.warning(f"{country} without a part that cannot be read: {why}")
    if not state.offers:
        context.log.warning(f"{country}: each of its {state.rows:,} offers was withdrawn; it is not counted or sampled")
        return None
    return loaded, state


def _category_names(storage: StorageResource) -> dict[str, str]:
    """The last two levels of each category's path, as far as the tree is known yet."""
    tree = storage.store.earlier("taxonomy")
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
