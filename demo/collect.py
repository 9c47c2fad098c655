"""Gathers `report.json` from what the run left behind: artifacts, the release log, the journal, the instance.

Nothing is computed that an asset computed already, and nothing is typed by hand.
"""

import json
import platform
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from catalog_assets.evaluation import BEHAVIOUR
from demo.collect_data import collect_imbalance, collect_market, collect_quarantine, collect_sampling
from demo.drive import Driver
from demo.journal import Journal
from demo.market import DemoMarket
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, package_versions
from sortiment.drift import read_report
from sortiment.evaluation import (
    OVERALL,
    bin_answers,
    find_worst_confusions,
    measure_answers,
    read_answers,
    score_answers,
)
from sortiment.feeds import offer_key
from sortiment.machine import describe_machine
from sortiment.release import ReleaseLog
from sortiment.report import ModelScores, Report
from sortiment.report.rows import ReleaseRow
from sortiment.taxonomy import UNLABELLED, load_taxonomy

PACKAGES = ("dagster", "duckdb", "torch", "transformers", "lightning", "openvino", "onnxruntime", "nncf", "evidently")
MEASUREMENT = "drift_measurement"
MODELS = ("teacher", "student", "int8", "fast", "champion")


def collect_report(demo: DemoMarket, journal: Journal, driver: Driver) -> Report:
    """The whole report of a finished demo."""
    storage = demo.profile.storage()
    sections = {
        "market": collect_market(demo, storage),
        "run": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": _command(demo),
            "home": str(demo.profile.home),
            "repeat": [
                {"command": "make ui", "what": "browse the lineage, the partitions and the plots"},
                {"command": "sortiment classify IN OUT", "what": "classify a file of your own with the champion"},
            ],
        },
        "seconds": {"total": round(sum(journal.seconds().values()), 1), "stages": journal.seconds()},
        "imbalance": collect_imbalance(storage),
        "sampling": collect_sampling(demo, storage),
        "quarantine": collect_quarantine(storage),
        **_scores(demo, journal, storage),
        "speed": _rows(storage, "engine_benchmark"),
        "cost": _cost(storage),
        "ranking": _rows(storage, "encoder_ranking"),
        "drift": _drift(journal, storage, driver),
        "releases": [ReleaseRow.from_event(event) for event in ReleaseLog(storage.blobs).events()],
        "champion": _champion(storage),
        "not_done": [*_not_done(storage), *_not_shown(journal, storage)],
        "machine": _machine(),
        "settings": demo.settings.model_dump(mode="json"),
        "versions": {"python": platform.python_version(), **package_versions(PACKAGES)},
    }
    return Report.model_validate(sections)


def _command(demo: DemoMarket) -> str:
    feeds = " ".join(str(spec.folder / f"{spec.name}.yaml") for spec in demo.specs)
    return f'make demo FEED="{feeds}"' if feeds else "make demo"


def _scores(demo: DemoMarket, journal: Journal, storage: StorageResource) -> dict[str, Any]:
    """Scores at the first release (`scores`) and now (`scores_after_retraining`), and what they rest on."""
    store = storage.store
    first = store.find("release_decision", journal.facts("release")["decision"])
    assert first is not None, "the first release's decision is kept"
    latest = store.current("release_decision")
    answers = read_answers([found.path for found in store.current_partitions("student_evaluation").values()])
    student = _first_student(storage)
    tree = load_taxonomy(store.current("taxonomy").path).by_id
    names = {key: " › ".join(category.path) for key, category in tree.items()}
    paths = {key: category.path for key, category in tree.items()}
    confusions = find_worst_confusions(
        answers["category_id"].to_pylist(),
        answers["student_id"].to_pylist(),
        answers["title"].to_pylist(),
        weights=answers["weight"].to_pylist(),
        paths=paths,
    )
    bins = bin_answers(answers)
    sections: dict[str, Any] = {
        "scores": _model_scores(first),
        "scores_after_retraining": _model_scores(latest),
        "confusions": [
            {
                "actual": names.get(row.actual_id, row.actual_id),
                "predicted": names.get(row.predicted_id, row.predicted_id),
                "offers": row.offers,
                "share": row.share,
                "distance": row.distance,
                "cost_share": row.cost_share,
                "examples": row.examples,
            }
            for row in confusions
        ],
        "reliability": bins.pop(OVERALL),
        "reliability_by_country": bins,
        "measures": measure_answers(answers, paths),
        "behaviour": store.current(BEHAVIOUR).summary["rows"],
        "training": {"student": [{"epoch": n, "loss": loss} for n, loss in enumerate(student.summary["losses"], 1)]},
    }
    if demo.synthetic:
        truth = score_answers(_with_truth(demo, answers), demo.settings.evaluation)
        sections["scores_truth"] = {model: ModelScores.from_leaves(leaves) for model, leaves in truth.items()}
    return sections


def _model_scores(decision: Artifact) -> dict[str, ModelScores]:
    content = json.loads((decision.path / "scores.json").read_bytes())
    return {model: ModelScores.from_leaves(content[model]) for model in MODELS if model in content}


def _first_student(storage: StorageResource) -> Artifact:
    event = ReleaseLog(storage.blobs).events()[0]
    found = storage.store.find("student_checkpoint", event.artifacts["student_checkpoint"])
    assert found is not None, "released students are kept"
    return found


def _with_truth(demo: DemoMarket, answers: pa.Table) -> pa.Table:
    """The answers with the truth of the synthetic market in place of the shops' labels."""
    truth: dict[int, str] = {}
    for file in demo.profile.market_resource().truth_files:
        table = pq.read_table(file, columns=["country", "shop_id", "offer_id", "category_id"]).to_pydict()
        keys = map(offer_key, table["country"], table["shop_id"], table["offer_id"])
        truth.update(zip(keys, table["category_id"], strict=True))
    known = [truth[key] for key in answers["offer_key"].to_pylist()]
    place = answers.schema.get_field_index("category_id")
    return answers.set_column(place, "category_id", pa.array(known, pa.string()))


def _rows(storage: StorageResource, asset: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = storage.store.current(asset).summary["rows"]
    return rows


def _cost(storage: StorageResource) -> dict[str, Any]:
    content = storage.store.current("instance_choice").summary
    return {name: content[name] for name in ("rows", "choice", "region", "prices_as_of", "unknown", "why")}


def _drift(journal: Journal, storage: StorageResource, driver: Driver) -> dict[str, Any] | None:
    """None where there was no second day. Scores after it are None where no drift was found: nothing was made anew."""
    if not journal.done("drift"):
        return None
    arrived, before = journal.facts("day-2"), journal.facts("before")
    found_it = journal.done("after")
    unscored = {"offers": 0, "undrifted": None, "champion": None, "student": None}
    after = journal.facts("after") if found_it else unscored
    undrifted = before["student"] if after["undrifted"] is None else after["undrifted"]
    verdicts = storage.store.current_partitions("drift_report")
    measured = storage.store.find(MEASUREMENT, next(iter(verdicts.values())).manifest["inputs"]["measurement"])
    assert measured is not None, "the verdicts are of this measurement"
    report = read_report(measured.path)
    relabelled = relabelled_partitions(driver, journal)
    live = "student" if found_it and journal.facts("release-2")["passed"] else "champion"
    lost, won = _difference(undrifted, after["champion"]), _difference(after[live], after["champion"])
    decisions = [
        {
            "partition": found.slice,
            "score": found.score,
            "threshold": 1.0,
            "drifted": found.drifted,
            "offers": found.offers,
            "action": "re-labelled" if found.slice in relabelled else "left alone" if found.judged else "not judged",
            "why": found.why,
        }
        for found in report.slices
        if not found.slice.endswith(f"|{UNLABELLED}")
    ]
    own = [found for found in report.slices if found.slice == arrived["partition"]]
    return {
        "partition": arrived["partition"],
        "why": own[0].why if own else f"not judged: {arrived['partition']} has no offers to compare",
        "scenario": arrived["scenario"],
        "before": undrifted,
        "drifted": after["champion"],
        "after": after[live],
        "recovered_share": won / lost if lost and won is not None and lost > 0 else None,
        "test_offers": {"first_day": before["offers"], "second_day": after["offers"]},
        "before_on_first_day": before["student"],
        "partitions_relabelled": relabelled,
        "signals": [signal for found in own for signal in found.signals],
        "decisions": decisions,
        "evidently": {found: str(measured.path / page) for found, page in report.pages.items()},
    }


def relabelled_partitions(driver: Driver, journal: Journal) -> list[str]:
    """Partitions whose soft labels were materialized again after the teacher's own step, by the instance's records.

    What a killed run of that step had materialized came before the run that ended it, and counts as the first time.
    """
    records = read_materializations(driver.instance, "teacher_soft_labels")
    first_run = journal.facts("teacher")["run_id"]
    last = max(record.storage_id for record in records if record.run_id == first_run)
    return sorted({str(record.partition_key) for record in records if record.storage_id > last})


def read_materializations(instance: dg.DagsterInstance, asset: str) -> list[dg.EventLogRecord]:
    """Every materialization record of an asset, newest first; the instance hands out pages of a thousand."""
    records: list[dg.EventLogRecord] = []
    cursor = None
    while True:
        page = instance.fetch_materializations(dg.AssetKey(asset), limit=1000, cursor=cursor)
        records += page.records
        if not page.has_more:
            return records
        cursor = page.cursor


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _champion(storage: StorageResource) -> dict[str, Any] | None:
    live = ReleaseLog(storage.blobs).champion()
    return None if live is None else {"version": live.model_version, "number": live.number, "promoted_at": live.at}


def _not_done(storage: StorageResource) -> list[dict[str, Any]]:
    """What this machine could not build, with the command that would; read from the targets themselves."""
    rows = []
    for target, compiled in storage.store.current_partitions("compiled_student").items():
        summary = compiled.summary
        if not summary["built"]:
            rows.append({"what": f"compile and time {target}", "why": summary["reason"], "command": summary["command"]})
    return rows


def _not_shown(journal: Journal, storage: StorageResource) -> list[dict[str, Any]]:
    """Which part of the loop this market did not let happen, and why."""
    release = journal.facts("release")
    if not release["passed"]:
        decision = storage.store.find("release_decision", release["decision"])
        assert decision is not None, "the first release's decision is kept"
        reasons = "; ".join(decision.summary["reasons"])
        later = "there is no champion whose offers could drift"
        return [
            {"what": "release a champion", "why": reasons, "section": "releases"},
            {"what": "bring a second day", "why": later, "section": "drift"},
        ]
    arrived = journal.facts("day-2")
    if arrived["partition"] is None:
        return [{"what": "bring a second day", "why": arrived["why"], "section": "drift"}]
    return []


def _machine() -> dict[str, Any]:
    machine = describe_machine()
    return {"cpu": machine.cpu, "cores": machine.cores, "flags": list(machine.flags), "memory_gb": machine.memory_gb}
