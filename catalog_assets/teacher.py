"""The teacher: an encoder and an n-gram model in one calibrated ensemble, and its labels for every sampled offer."""

from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.feeds import taxonomy
from catalog_assets.partitions import one_run, slices
from catalog_assets.results import (
    OWNERS,
    build_and_point,
    describe_artifact,
    describe_partition,
    materialized,
    partition_paths,
    versions_of,
)
from catalog_assets.sampling import training_sample
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe
from sortiment.errors import StorageError
from sortiment.settings import TeacherSettings
from sortiment.teacher import CODE_VERSION

STAGE: dict[str, Any] = {"group_name": "teacher", "owners": OWNERS, "code_version": CODE_VERSION, "pool": "training"}
PACKAGES = ("torch", "transformers", "openvino", "lightning", "peft")


LABELLING = {"label_top_k", "transfer_titles", "most_transfer_titles", "transfer_balance"}
"""Knobs of what the teacher is asked, not of the teacher."""


class TeacherConfig(dg.Config):
    """keep: leave the teacher as it is, whatever samples have come since."""

    keep: bool = False


@dg.asset(deps=[taxonomy, training_sample], kinds={"pytorch", "huggingface"}, **STAGE)
def teacher_model(
    context: dg.AssetExecutionContext,
    config: TeacherConfig,
    market: MarketResource,
    storage: StorageResource,
    progress: ProgressResource,
) -> dg.MaterializeResult[Any]:
    """What the large model knows, fitted on all partitions' labelled offers and the categories' names. Fitted anew
    where a slice drifted, it knows the slice's new words when it labels it; what it has labelled elsewhere stays."""
    from sortiment.taxonomy import load_taxonomy
    from sortiment.teacher import names_of, train_teacher

    store, settings, shown = storage.store, market.settings, progress.of(context.log)
    if config.keep:
        return materialized(store.current("teacher_model"))
    samples = store.current_partitions("training_sample")
    encoder, tree = market.encoder(shown), store.current("taxonomy")
    recipe = Recipe(
        {"samples": versions_of(samples), "encoder": encoder.version, "taxonomy": tree.version},
        {
            "teacher": settings.teacher.model_dump(mode="json", exclude=LABELLING),
            "encoder": settings.encoder.model_dump(mode="json"),
        },
        CODE_VERSION,
        PACKAGES,
    )
    teacher = build_and_point(
        store,
        "teacher_model",
        recipe,
        lambda out: train_teacher(
            partition_paths(samples),
            encoder,
            settings.encoder,
            settings.teacher,
            out,
            market.features,
            shown,
            names_of(load_taxonomy(tree.path)),
        ).summary(),
        resumable=True,
    )
    return materialized(teacher)


@dg.asset(
    partitions_def=slices, backfill_policy=one_run, deps=[training_sample, teacher_model], kinds={"parquet"}, **STAGE
)
def teacher_soft_labels(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """The teacher's probabilities for every sampled offer, labelled or not, and for titles that are made up of training
    offers' words: top classes and the mass of the rest."""
    from sortiment.teacher import label_samples, load_teacher

    store, settings, shown = storage.store, market.settings, progress.of(context.log)
    teacher = store.current("teacher_model")
    sampled = {str(key): store.current_or_none("training_sample", str(key)) for key in context.partition_keys}
    samples = {key: sample for key, sample in sampled.items() if sample is not None}
    if not samples:
        raise StorageError(
            "none of these slices has a sample",
            value=", ".join(sorted(sampled)[:5]),
            fix="materialize training_sample of them first",
        )
    recipes = {
        key: recipe_of_labels(sample.version, teacher.version, settings.teacher) for key, sample in samples.items()
    }

    def write(folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
        model = load_teacher(teacher.path, market.encoder(shown), settings.encoder, market.features)
        return label_samples(model, {key: samples[key].path for key in folders}, folders, settings.teacher, shown)

    made = store.build_many("teacher_soft_labels", recipes, write, resumable=True)
    for key, labels in made.items():
        store.point(labels)
        describe_partition(context, key, describe_artifact(labels))
    return dg.MaterializeResult(
        metadata={
            "partitions": len(made),
            "reused": sum(each.reused for each in made.values()),
            "not_sampled_yet": len(sampled) - len(samples),
        }
    )


def recipe_of_labels(sample: str, teacher: str, settings: TeacherSettings) -> Recipe:
    """What a slice's labels are made from: the versions of its sample and of the teacher, and what that is asked."""
    asked = settings.model_dump(mode="json", include={"seed", *LABELLING})
    return Recipe({"sample": sample, "teacher": teacher}, asked, CODE_VERSION)
