"""The fast student: tables of words and two dense layers, distilled from the same soft labels as the MiniLM student."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from catalog_assets.feeds import taxonomy
from catalog_assets.results import OWNERS, build_and_point, materialized, partition_paths, versions_of
from catalog_assets.sampling import training_sample
from catalog_assets.teacher import teacher_model, teacher_soft_labels
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe
from sortiment.fast import CODE_VERSION, shaping_of
from sortiment.report.figures import plot_training, to_markdown


@dg.asset(
    deps=[taxonomy, training_sample, teacher_model, teacher_soft_labels],
    group_name="fast",
    kinds={"pytorch"},
    code_version=CODE_VERSION,
    owners=OWNERS,
    pool="training",
)
def fast_student(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """A student without an encoder, tens of thousands of offers a second on one core. Learned from all partitions each
    time, which takes less than MiniLM's retraining; scored beside the other models, not released."""
    store, settings = storage.store, market.settings
    samples, labels = store.current_partitions("training_sample"), store.current_partitions("teacher_soft_labels")
    samples = {key: sample for key, sample in samples.items() if key in labels}
    shown = progress.of(context.log)
    encoder, tree = market.encoder(shown), store.current("taxonomy")
    inputs = {"samples": versions_of(samples), "soft_labels": versions_of(labels), "taxonomy": tree.version}
    recipe = Recipe(
        inputs | ({"encoder": encoder.version} if settings.fast.alignment else {}),
        shaping_of(settings.fast, settings.student, settings.encoder),
        CODE_VERSION,
        ("torch",),
    )

    def write(out: Any) -> Mapping[str, Any]:
        from sortiment.encoders import FeatureCache
        from sortiment.fast import distill_fast
        from sortiment.taxonomy import load_taxonomy
        from sortiment.teacher import names_of

        report = distill_fast(
            partition_paths(samples),
            partition_paths(labels),
            json.loads((store.current("teacher_model").path / "classes.json").read_bytes()),
            settings.fast,
            out,
            settings.student,
            settings.encoder,
            shown,
            names_of(load_taxonomy(tree.path)),
            FeatureCache(market.features, encoder, settings.encoder),
        )
        context.log.info(f"{report.offers_per_s:,.0f} offers/s, {report.seconds:,.0f} s")
        return report.summary()

    student = build_and_point(store, "fast_student", recipe, write)
    passes = [{"epoch": number, "loss": loss} for number, loss in enumerate(student.summary["losses"], start=1)]
    return materialized(student, {"training": dg.MetadataValue.md(to_markdown(plot_training({"fast": passes})))})
