"""Offers into categories: the champion's answer for every offer, file by file."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.feeds import offers
from catalog_assets.partitions import countries, one_run
from catalog_assets.release import champion
from catalog_assets.results import OWNERS, build_and_point, describe_artifact
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, Recipe
from sortiment.errors import ReleaseError, StorageError, UnreadableOffers
from sortiment.feeds import PART_ASSET, doubt_parts, offers_file, read_parts
from sortiment.predictions import CODE_VERSION, PREDICTIONS_FILE, list_predictions, plan_predictions
from sortiment.release import Champion, ReleaseLog

PARTS_ASSET = "prediction_parts"


@dg.asset(
    partitions_def=countries,
    backfill_policy=one_run,
    deps=[offers, champion],
    group_name="predictions",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    pool="training",
)
def offer_predictions(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """The champion's category and confidence for every offer of a country. Files that no sample has seen yet are
    answered by the champion of the day; older files keep the answers that they have."""
    from sortiment.engines import load_engine
    from sortiment.predictions import classify_offers

    store, settings = storage.store, market.settings
    live = live_champion(storage)
    tree, model = store.current("taxonomy"), served_engine(storage, live)
    engine, empty = load_engine(model.path), []
    for country in context.partition_keys:
        parts = read_parts(store.current("offers", country).path)
        if not parts:
            context.log.info(f"{country} has no offers: there is nothing to classify")
            empty.append(country)
        earlier = store.earlier("offer_predictions", country)
        fresh = new_parts(storage, country)
        entries = []
        for part, kept in plan_predictions(parts, fresh, earlier.path if earlier else None, live.model_version):
            if kept is not None:
                entries.append(kept)
                continue
            recipe = Recipe(
                {"part": part["version"], "engine": model.version, "taxonomy": tree.version},
                settings.predictions,
                CODE_VERSION,
            )

            def classify(out: Path, version: str = part["version"], country: str = country) -> dict[str, Any]:
                return classify_offers(
                    engine,
                    [local_part(storage, version, country)],
                    taxonomy=tree.path,
                    model_version=live.model_version,
                    settings=settings.predictions,
                    out=out,
                    progress=progress.of(context.log),
                ).as_json()

            try:
                answered = store.build(PARTS_ASSET, recipe, classify, country, resumable=True)
            except UnreadableOffers:
                doubt_parts([part["version"]], store.blobs)
                raise
            entries.append(
                {
                    "part": part["version"],
                    "version": answered.version,
                    "model_version": live.model_version,
                    **{name: answered.summary[name] for name in ("offers", "review", "labelled", "agree")},
                }
            )
        recipe = Recipe({"entries": json.dumps(entries, sort_keys=True)}, {}, CODE_VERSION)
        listed = build_and_point(
            store, "offer_predictions", recipe, lambda out, entries=entries: list_predictions(entries, out), country
        )
        context.add_asset_metadata(describe_artifact(listed), partition_key=country)
    return dg.MaterializeResult(metadata={"model": live.model_version, "without_offers": ", ".join(empty) or "none"})


def live_champion(storage: StorageResource) -> Champion:
    """Raises ReleaseError where nothing was released yet."""
    live = ReleaseLog(storage.blobs).champion()
    if live is None:
        raise ReleaseError("there is no champion yet", fix="materialize champion, or run `sortiment demo`")
    return live


def served_engine(storage: StorageResource, live: Champion) -> Artifact:
    """The champion's engine. Raises ReleaseError where its artifact is gone."""
    version, target = live.artifacts["compiled_student"], live.artifacts["target"]
    found = storage.store.find("compiled_student", version, target)
    if found is None:
        raise ReleaseError(
            "the champion's engine is gone or damaged",
            value=version,
            fix=f"materialize compiled_student of {target} again; where another student was trained since, "
            "`sortiment release rollback`",
        )
    return found


def local_part(storage: StorageResource, version: str, country: str) -> str:
    """A local copy of a part's offers of one country. Raises StorageError where the part is gone."""
    part = storage.store.find(PART_ASSET, version)
    if part is None:
        raise StorageError("a loaded feed file is gone", value=version, fix="materialize feed_files again")
    return str(part.file(offers_file(country)))


def local_answers(storage: StorageResource, version: str, country: str) -> str:
    """A local copy of what was answered for a part. Raises StorageError where it is gone."""
    answers = storage.store.find(PARTS_ASSET, version, country)
    if answers is None:
        raise StorageError(
            "the answers for a feed file are gone",
            value=version,
            fix=f"delete the folder offer_predictions/{country} and materialize it again",
        )
    return str(answers.path / PREDICTIONS_FILE)


def new_parts(storage: StorageResource, country: str) -> set[str]:
    """Versions of the country's parts that at least one of its samples was drawn without: the newest feeds."""
    store = storage.store
    parts = {part["version"] for part in read_parts(store.current("offers", country).path)}
    samples = store.current_partitions("training_sample")
    drawn_from = {
        sample.manifest["inputs"]["offers"] for key, sample in samples.items() if key.split("|", 1)[0] == country
    }
    seen = [store.find("offers", version, country) for version in drawn_from]
    known = [{part["version"] for part in read_parts(found.path)} for found in seen if found is not None]
    return parts - set.intersection(*known) if known else parts
