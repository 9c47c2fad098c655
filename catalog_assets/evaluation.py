"""How good teacher, student, int8 engine and champion are on the same test offers, slice by slice."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.engines import compiled_student, current_engines
from catalog_assets.partitions import one_run, slices
from catalog_assets.results import OWNERS, describe_artifact, describe_partition, markdown_table, partition_paths
from catalog_assets.sampling import training_sample
from catalog_assets.student import champion_student, student_checkpoint
from catalog_assets.teacher import teacher_soft_labels
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe
from sortiment.errors import StorageError
from sortiment.evaluation import CODE_VERSION, answer_test_offers, read_answers, score_answers, write_answers
from sortiment.report.figures import plot_scores, to_markdown


@dg.asset(
    partitions_def=slices,
    backfill_policy=one_run,
    deps=[
        training_sample,
        teacher_soft_labels,
        student_checkpoint,
        dg.AssetDep(compiled_student, partition_mapping=dg.AllPartitionMapping()),
    ],
    group_name="evaluation",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    pool="training",
)
def student_evaluation(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """What teacher, student, int8 engine and champion answer for each test offer, and how often that is right."""
    from sortiment.engines import load_engine
    from sortiment.student import load_classifier

    store, settings, shown = storage.store, market.settings, progress.of(context.log)
    asked = [str(key) for key in context.partition_keys]
    sampled, labelled = store.current_partitions("training_sample"), store.current_partitions("teacher_soft_labels")
    # A slice that a later feed brought has no test offers until it is sampled: there is nothing to score in it yet.
    keys = [key for key in asked if key in sampled and key in labelled]
    if not keys:
        raise StorageError(
            "none of these slices has a sample with labels",
            value=", ".join(asked[:5]),
            fix="materialize training_sample and teacher_soft_labels of them first",
        )
    samples, labels = {key: sampled[key] for key in keys}, {key: labelled[key] for key in keys}
    student, champion = store.current("student_checkpoint"), champion_student(storage)
    served = current_engines(storage)[settings.predictions.target]
    models = {"student": student.version, "int8": served.version}
    if champion is not None and champion.version != student.version:
        models["champion"] = champion.version
    recipes = {
        key: Recipe({**models, "sample": samples[key].version, "labels": labels[key].version}, {}, CODE_VERSION)
        for key in keys
    }

    def write(folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
        loaded: dict[str, Any] = {
            "student": load_classifier(student.path),
            "int8": load_engine(served.path),
        }
        if "champion" in models and champion is not None:
            loaded["champion"] = load_classifier(champion.path)
        classes = json.loads((store.current("teacher_model").path / "classes.json").read_bytes())
        answers = answer_test_offers(
            {key: samples[key].path for key in folders},
            {key: labels[key].path for key in folders},
            classes,
            loaded,
            settings.encoder.inputs,
            shown,
        )
        return {key: write_answers(answers[key], folder) for key, folder in folders.items()}

    made = store.build_many("student_evaluation", recipes, write)
    for key, evaluation in made.items():
        store.point(evaluation)
        describe_partition(context, key, describe_artifact(evaluation))
    answers = read_answers(list(partition_paths(made).values()))
    scores = score_answers(answers, settings.evaluation)
    rows = [{"model": model, **leaves["overall"]} for model, leaves in scores.items()]
    return dg.MaterializeResult(
        metadata={
            "scores": markdown_table(rows),
            "not_sampled_yet": len(asked) - len(keys),
            **{f"by_{what}": _plot(scores, what) for what in ("country", "department", "feed", "slice")},
            **{f"{model}_macro_f1": leaves["overall"]["macro_f1"] for model, leaves in scores.items()},
        }
    )


def _plot(scores: dict[str, Any], what: str) -> dg.MarkdownMetadataValue:
    leaves = {model: found[f"by_{what}"] for model, found in scores.items()}
    return dg.MetadataValue.md(to_markdown(plot_scores(leaves, what)))
