"""The student: a few layers of MiniLM, distilled from the teacher's soft labels on all partitions' samples."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from catalog_assets.feeds import taxonomy
from catalog_assets.results import OWNERS, build_and_point, materialized, partition_paths, versions_of
from catalog_assets.sampling import training_sample
from catalog_assets.teacher import teacher_model, teacher_soft_labels
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, Recipe
from sortiment.errors import StorageError
from sortiment.release import ReleaseLog
from sortiment.report.figures import plot_training, to_markdown
from sortiment.student import CODE_VERSION

PACKAGES = ("torch", "transformers", "lightning")
OF_RETRAINING = {
    *(f"student.{name}" for name in ("retrain_epochs", "retrain_learning_rate", "rehearsed_offers", "changed_passes")),
    *("student.device", "student.precision", "encoder.engine", "encoder.precision"),
}
"""Knobs that decide how training goes on, or on what hardware: not what it goes on from."""


@dg.asset(
    deps=[taxonomy, training_sample, teacher_model, teacher_soft_labels],
    group_name="student",
    kinds={"pytorch", "huggingface"},
    code_version=CODE_VERSION,
    owners=OWNERS,
    pool="training",
)
def student_checkpoint(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """A small MiniLM that answers like the teacher, learned from labelled and unlabelled offers of all partitions, from
    titles made up of their words, and from the categories' names.

    Goes on from the champion's student where that is there and today's settings, encoder and code would have made it;
    learns nothing where no partition has changed since. A champion that was made otherwise is not gone on from: the
    student learns all partitions anew.
    """
    store, settings, shown = storage.store, market.settings, progress.of(context.log)
    samples, labels = store.current_partitions("training_sample"), store.current_partitions("teacher_soft_labels")
    samples = {key: sample for key, sample in samples.items() if key in labels}
    encoder, tree = market.encoder(shown), store.current("taxonomy")
    inputs = {"samples": versions_of(samples), "soft_labels": versions_of(labels), "encoder": encoder.version}
    earlier, shape = find_start(storage, context.log), ""
    fresh = Recipe(
        {**inputs, "taxonomy": tree.version},
        {"student": settings.student.model_dump(mode="json"), "encoder": settings.encoder.model_dump(mode="json")},
        CODE_VERSION,
        PACKAGES,
    )
    if earlier is not None and (shape := made_otherwise(earlier, fresh)):
        context.log.info(f"the champion's student was made otherwise, so all is learned anew: {shape}")
        earlier = None
    if earlier is not None and _learned_from(earlier, inputs):
        store.point(earlier)
        return materialized(earlier, {"nothing_new": True})
    recipe = replace(fresh, inputs={**fresh.inputs, "start_from": earlier.version}) if earlier else fresh

    def write(out: Any) -> Mapping[str, Any]:
        from sortiment.encoders import FeatureCache
        from sortiment.student import distill_student
        from sortiment.taxonomy import load_taxonomy
        from sortiment.teacher import names_of

        classes = json.loads((store.current("teacher_model").path / "classes.json").read_bytes())
        report = distill_student(
            partition_paths(samples),
            partition_paths(labels),
            classes,
            encoder.path,
            settings.student,
            out,
            encoder=settings.encoder,
            start_from=earlier.path if earlier else None,
            changed=_changed_since(earlier, labels) if earlier else None,
            progress=shown,
            names=names_of(load_taxonomy(tree.path)),
            features=FeatureCache(market.features, encoder, settings.encoder),
        )
        context.log.info(f"{report.offers_per_s:,.0f} offers/s, {report.seconds:,.0f} s")
        return {**report.summary(), "trained_on": {key: each.version for key, each in labels.items()}}

    student = build_and_point(store, "student_checkpoint", recipe, write, resumable=True)
    epochs = [{"epoch": number, "loss": loss} for number, loss in enumerate(student.summary["losses"], start=1)]
    plot = dg.MetadataValue.md(to_markdown(plot_training({"student": epochs})))
    return materialized(student, {"training": plot} | ({"learned_anew": shape} if shape else {}))


def find_start(storage: StorageResource, log: dg.DagsterLogManager) -> Artifact | None:
    """The live champion's student, to go on from. None before the first release, and where it is gone or damaged: a
    student of the same samples and labels that started from none is then made anew."""
    try:
        return champion_student(storage)
    except StorageError as error:
        log.warning(f"{error}; this one learns from the start")
        return None


def champion_student(storage: StorageResource) -> Artifact | None:
    """The student of the live champion; None before the first release. Raises StorageError where it is gone."""
    champion = ReleaseLog(storage.blobs).champion()
    if champion is None:
        return None
    version = champion.artifacts["student_checkpoint"]
    found = storage.store.find("student_checkpoint", version)
    if found is None:
        raise StorageError(
            "the champion's student is gone or damaged",
            value=version,
            fix="materialize student_checkpoint again; where that makes another version, `sortiment release rollback`",
        )
    return found


def made_otherwise(student: Artifact, recipe: Recipe) -> str:
    """In what the student was made otherwise than the recipe says, but for data and knobs of retraining; '' = nothing.

    The category tree is data: its names are learned again with the partitions that change.
    """
    made = student.manifest
    before = _shape(made["code"], made["inputs"], made["settings"])
    now = _shape(recipe.code, recipe.inputs, recipe.settings_json())
    names = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    return "; ".join(f"{name}: {before.get(name)}, now {now.get(name)}" for name in names)


def _shape(code: str, inputs: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    knobs = {f"{part}.{name}": value for part, own in settings.items() for name, value in own.items()}
    return {"code": code, "encoder": inputs.get("encoder")} | {
        name: value for name, value in knobs.items() if name not in OF_RETRAINING
    }


def _changed_since(student: Artifact, labels: Mapping[str, Artifact]) -> list[str]:
    """Partitions whose soft labels are not those that the student was trained on."""
    seen = student.summary["trained_on"]
    return [key for key, each in labels.items() if seen.get(key) != each.version]


def _learned_from(student: Artifact, inputs: Mapping[str, str]) -> bool:
    return all(student.manifest["inputs"].get(name) == version for name, version in inputs.items())
