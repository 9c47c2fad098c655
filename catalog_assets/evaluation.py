"""How good teacher, students, int8 engine and champion are on the same test offers, slice by slice, and how steady."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.engines import compiled_student, current_engines
from catalog_assets.fast import fast_student
from catalog_assets.partitions import one_run, slices
from catalog_assets.results import (
    OWNERS,
    build_and_point,
    describe_artifact,
    describe_partition,
    markdown_table,
    partition_paths,
    versions_of,
)
from catalog_assets.sampling import training_sample
from catalog_assets.student import champion_student, student_checkpoint
from catalog_assets.teacher import teacher_soft_labels
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, Recipe
from sortiment.errors import StorageError
from sortiment.evaluation import (
    CODE_VERSION,
    DIMENSIONS,
    OVERALL,
    answer_test_offers,
    bin_answers,
    failed_kinds,
    find_worst_confusions,
    measure_answers,
    measure_behaviour,
    read_answers,
    read_test_offers,
    score_answers,
    write_answers,
)
from sortiment.report.figures import (
    plot_behaviour,
    plot_reliability,
    plot_reliability_by_country,
    plot_scores,
    to_markdown,
)
from sortiment.settings import EvaluationSettings
from sortiment.taxonomy import load_taxonomy

BEHAVIOUR = "behaviour_measurement"
PICTURED = ("country", "department", "slice", "feed")  # a picture takes a fifth of a second; the others are tables
Models = dict[str, Any]


@dg.asset(
    partitions_def=slices,
    backfill_policy=one_run,
    deps=[
        training_sample,
        teacher_soft_labels,
        student_checkpoint,
        fast_student,
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
    """What teacher, students, int8 engine and champion answer for each test offer, how often that is right, and whether
    the answer stays when the title is written otherwise."""
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
    models = {"student": student, "int8": served}
    if (fast := store.current_or_none("fast_student")) is not None:
        models["fast"] = fast
    rewritten = dict(models)  # the champion's behaviour was measured when it was the student
    if champion is not None and champion.version != student.version:
        models["champion"] = champion
    versions = {name: model.version for name, model in models.items()}
    recipes = {
        key: Recipe({**versions, "sample": samples[key].version, "labels": labels[key].version}, {}, CODE_VERSION)
        for key in keys
    }

    load = functools.cache(lambda: {name: _load_model(name, model) for name, model in models.items()})

    def write(folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
        answers = answer_test_offers(
            {key: samples[key].path for key in folders},
            {key: labels[key].path for key in folders},
            json.loads((store.current("teacher_model").path / "classes.json").read_bytes()),
            load(),
            shown,
        )
        return {key: write_answers(answers[key], folder) for key, folder in folders.items()}

    made = store.build_many("student_evaluation", recipes, write)
    for key, evaluation in made.items():
        store.point(evaluation)
        describe_partition(context, key, describe_artifact(evaluation))
    behaviour = _measure_behaviour(storage, market, rewritten, load)
    return dg.MaterializeResult(
        metadata={
            "not_sampled_yet": len(asked) - len(keys),
            **_show_answers(storage, made, settings.evaluation),
            "behaviour": dg.MetadataValue.md(to_markdown(plot_behaviour(behaviour.summary["rows"]))),
            "flip_rates": markdown_table(behaviour.summary["rows"]),
        }
    )


@dg.asset_check(asset=student_evaluation)
def answers_stay_under_other_spellings(storage: StorageResource) -> dg.AssetCheckResult:
    """No kind of change flips more of the student's and the engine's answers than the settings allow."""
    failed = failed_kinds(storage.store.current(BEHAVIOUR).summary["rows"])
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(failed) or "every kind of change stays within its limit",
        metadata={"kinds_beyond_their_limit": len(failed)},
    )


def _load_model(name: str, model: Artifact) -> Any:
    from sortiment.engines import load_engine
    from sortiment.fast import load_fast_classifier
    from sortiment.student import load_classifier

    loaders: dict[str, Callable[[Path], Any]] = {"int8": load_engine, "fast": load_fast_classifier}
    return loaders.get(name, load_classifier)(model.path)


def _measure_behaviour(
    storage: StorageResource, market: MarketResource, models: Mapping[str, Artifact], load: Callable[[], Models]
) -> Artifact:
    """Of all sampled partitions together, found or made: too few offers of one partition would be rewritten."""
    samples, settings = storage.store.current_partitions("training_sample"), market.settings
    recipe = Recipe(
        {"samples": versions_of(samples), **{name: model.version for name, model in models.items()}},
        {"evaluation": settings.evaluation.model_dump(exclude={"bootstrap_rounds"})},
        CODE_VERSION,
    )

    def write(_: Path) -> dict[str, Any]:
        asked = {name: load()[name] for name in models}
        inputs = [name for model in asked.values() for name in model.inputs]
        offers = read_test_offers(list(partition_paths(samples).values()), inputs)
        return {"rows": measure_behaviour(offers, asked, settings.evaluation)}

    return build_and_point(storage.store, BEHAVIOUR, recipe, write)


def _show_answers(
    storage: StorageResource, made: Mapping[str, Artifact], settings: EvaluationSettings
) -> dict[str, dg.MetadataValue[Any] | float]:
    """Scores, measures, calibration and the dearest confusions of the partitions together."""
    answers = read_answers(list(partition_paths(made).values()))
    tree = load_taxonomy(storage.store.current("taxonomy").path).by_id
    paths = {key: category.path for key, category in tree.items()}
    scores, measures, bins = score_answers(answers, settings), measure_answers(answers, paths), bin_answers(answers)
    truth, titles, weights = (answers[name].to_pylist() for name in ("category_id", "title", "weight"))
    worst = find_worst_confusions(truth, answers["student_id"].to_pylist(), titles, weights=weights, paths=paths)
    confusions = [
        {
            "actual": " › ".join(paths.get(row.actual_id, (row.actual_id,))),
            "predicted": " › ".join(paths.get(row.predicted_id, (row.predicted_id,))),
            "offers": row.offers,
            "cost_share": row.cost_share,
            "examples": "; ".join(row.examples),
        }
        for row in worst
    ]
    return {
        "scores": markdown_table([{"model": model, **leaves[OVERALL]} for model, leaves in scores.items()]),
        "measures": markdown_table([{"model": model, **found[OVERALL]} for model, found in measures.items()]),
        "confusions": markdown_table(confusions),
        "reliability": dg.MetadataValue.md(to_markdown(plot_reliability(bins.pop(OVERALL)))),
        "reliability_by_country": dg.MetadataValue.md(to_markdown(plot_reliability_by_country(bins))),
        **{f"by_{what}": (_plot if what in PICTURED else _tabulate)(scores, what) for what in DIMENSIONS},
        **{f"{model}_macro_f1": leaves[OVERALL]["macro_f1"] for model, leaves in scores.items()},
        **{f"{model}_ece": found[OVERALL]["ece"] for model, found in measures.items()},
    }


def _tabulate(scores: dict[str, Any], what: str) -> dg.MarkdownMetadataValue:
    rows = [
        {what: key, "model": model, **leaf}
        for model, found in scores.items()
        for key, leaf in found[f"by_{what}"].items()
    ]
    return markdown_table(sorted(rows, key=lambda row: str(row[what])))


def _plot(scores: dict[str, Any], what: str) -> dg.MarkdownMetadataValue:
    leaves = {model: found[f"by_{what}"] for model, found in scores.items()}
    return dg.MetadataValue.md(to_markdown(plot_scores(leaves, what.replace("_", " "))))
