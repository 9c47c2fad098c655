"""Nothing ships without a gate: the challenger against the champion on every slice, and a log that undoes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.engines import compiled_student, current_engines
from catalog_assets.evaluation import student_evaluation
from catalog_assets.results import OWNERS, build_and_point, markdown_table, materialized, partition_paths, versions_of
from resources.market import MarketResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, ArtifactStore, Recipe
from sortiment.blobs import write_atomically
from sortiment.errors import ReleaseError
from sortiment.evaluation import read_answers, score_answers
from sortiment.release import CODE_VERSION, Champion, ReleaseDecision, ReleaseLog, judge_answers
from sortiment.report.figures import plot_releases, to_markdown
from sortiment.report.rows import ReleaseRow

STAGE: dict[str, Any] = {"group_name": "release", "owners": OWNERS, "code_version": CODE_VERSION}
BY = "champion asset"
PROMOTE = "train another, or overrule: `sortiment release promote {} --reason ...`"
JUDGED = {"student_checkpoint": "student", "compiled_student": "engine", "target": "target", "taxonomy": "taxonomy"}
"""What is released, as the release log and as the inputs of the decision name it."""


@dg.asset(deps=[student_evaluation, compiled_student], kinds={"table"}, **STAGE)
def release_decision(market: MarketResource, storage: StorageResource) -> dg.MaterializeResult[Any]:
    """Whether the current student may take the champion's place: every gate with its numbers and its reason."""
    store, settings = storage.store, market.settings
    student, served = store.current("student_checkpoint"), served_now(storage, market)
    evaluations = store.current_partitions("student_evaluation")
    inputs = {
        "student": student.version,
        "engine": served.version,
        "target": settings.predictions.target,
        "taxonomy": store.current("taxonomy").version,
        "evaluations": versions_of(evaluations),
    }
    against = find_compared(evaluations, student, served, ReleaseLog(storage.blobs).champion())
    if against is not None:
        inputs["champion"] = against
    recipe = Recipe(inputs, settings.release, CODE_VERSION)

    def write(out: Path) -> dict[str, Any]:
        answers = read_answers(list(partition_paths(evaluations).values()))
        scores = score_answers(answers, settings.evaluation)
        write_atomically(out / "scores.json", json.dumps(scores, indent=1, sort_keys=True).encode())
        decision = judge_answers(answers, scores, settings.release, against=against)
        return {**decision.as_json(), "scores": {model: leaves["overall"] for model, leaves in scores.items()}}

    decision = build_and_point(store, "release_decision", recipe, write)
    gates = [
        {key: gate[key] for key in ("gate", "slice", "offers", "passed", "why")} for gate in decision.summary["gates"]
    ]
    worst_first = sorted(gates, key=lambda gate: gate["passed"])
    return materialized(decision, {"gates": markdown_table(worst_first, limit=60)})


@dg.asset_check(asset=release_decision)
def challenger_passes_the_gates(storage: StorageResource) -> dg.AssetCheckResult:
    """The challenger is good enough everywhere. Where it is not, the champion stays; the reasons say why."""
    decision = storage.store.current("release_decision").summary
    return dg.AssetCheckResult(
        passed=decision["passed"],
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(decision["reasons"]) or f"passed {len(decision['gates'])} gates",
        metadata={model: leaf["macro_f1"] for model, leaf in decision["scores"].items()},
    )


@dg.asset(deps=[release_decision], kinds={"json"}, **STAGE)
def champion(context: dg.AssetExecutionContext, storage: StorageResource) -> dg.MaterializeResult[Any]:
    """The model that is live: what the decision was made for, whatever was trained since. A challenger that passed
    takes its place; one that did not is logged and held back, and one that somebody rolled back stays down until a
    person promotes it."""
    store, log = storage.store, ReleaseLog(storage.blobs)
    decided = store.current("release_decision")
    artifacts, decision = judged_artifacts(decided), ReleaseDecision.from_json(decided.summary)
    student = artifacts["student_checkpoint"]
    withdrawn = log.withdrawn().get(student)
    if decision.passed and withdrawn is not None:
        outcome = {
            "action": "held back",
            "reason": f"it was rolled back by {withdrawn}",
            "fix": PROMOTE.format(student),
        }
    else:
        if decision.passed:
            refuse_gone(store, artifacts)
        record = log.promote if decision.passed else log.refuse
        event = record(student, artifacts, decision, datetime.now(UTC), BY)
        outcome = {"action": event.action, "reason": event.reason, "release": str(event.number)}
    live = log.champion()
    rows = [ReleaseRow.from_event(event) for event in log.events()]
    return dg.MaterializeResult(
        metadata={
            "live": live.model_version if live else "none",
            **outcome,
            "log": markdown_table(
                [
                    {"number": row.number, "action": row.action, "model": row.version, "reason": row.reason}
                    for row in rows
                ]
            ),
            "timeline": dg.MetadataValue.md(to_markdown(plot_releases(rows))),
        },
        data_version=dg.DataVersion(live.model_version if live else "none"),
    )


def served_now(storage: StorageResource, market: MarketResource) -> Artifact:
    """The current student's engine for the target that serves. Raises ReleaseError where it was not compiled."""
    target = market.settings.predictions.target
    found = current_engines(storage).get(target)
    if found is None:
        raise ReleaseError(
            "the student was not compiled for the target that serves",
            value=target,
            fix=f"materialize compiled_student for {target}, then student_evaluation",
        )
    return found


def judged_artifacts(decided: Artifact) -> dict[str, str]:
    """What the decision was made for, under the names of the release log. Raises ReleaseError where it does not say, as
    decisions of earlier versions do not."""
    inputs = decided.manifest["inputs"]
    lacking = [name for name in JUDGED.values() if name not in inputs]
    if lacking:
        raise ReleaseError(
            "the release decision does not say what it was made for",
            value=f"{decided.version} lacks {', '.join(lacking)}",
            fix="materialize release_decision again",
        )
    return {asset: inputs[name] for asset, name in JUDGED.items()} | {"release_decision": decided.version}


def refuse_gone(store: ArtifactStore, artifacts: Mapping[str, str]) -> None:
    """Raises ReleaseError where what the decision was made for is not there any more."""
    partitions = {"student_checkpoint": None, "compiled_student": artifacts["target"], "taxonomy": None}
    gone = [
        f"{asset} {artifacts[asset]}"
        for asset, partition in partitions.items()
        if store.find(asset, artifacts[asset], partition) is None
    ]
    if gone:
        raise ReleaseError(
            "what the release decision was made for is gone",
            value=", ".join(gone),
            fix="materialize it again, then student_evaluation and release_decision",
        )


def find_compared(
    evaluations: Mapping[str, Artifact], student: Artifact, served: Artifact, live: Champion | None
) -> str | None:
    """The champion's version that the evaluations compare this student with; None where there was none.

    Raises ReleaseError where some are of another student or engine, or compare with a champion that is not live any
    more. A student that is live already was compared with the champion before it: its decision stays what it was.
    """
    found = {
        key: tuple(each.manifest["inputs"].get(name) for name in ("student", "int8", "champion"))
        for key, each in evaluations.items()
    }
    earlier = live.model_version if live is not None else None
    compared = next(iter(found.values()))[2] if found else None
    wanted = (student.version, served.version, compared if earlier == student.version else earlier)
    stale = sorted(key for key, seen in found.items() if seen != wanted)
    if stale or not found:
        raise ReleaseError(
            f"{len(stale)} of {len(found)} partitions were not evaluated with this student, its engine and champion",
            value=", ".join(stale[:10]),
            fix="materialize student_evaluation for all partitions, then release_decision",
        )
    return wanted[2]
