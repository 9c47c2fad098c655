"""Gathers `report.json` from what the run left behind: artifacts, the release log, the journal, the instance.

Nothing is computed that an asset computed already, and nothing is typed by hand.
"""

import json
import platform
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from catalog_assets.evaluation import BEHAVIOUR
from demo.drive import Driver
from demo.journal import Journal
from demo.market import DemoMarket
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, package_versions
from sortiment.drift import read_report
from sortiment.engines.machine import describe_machine
from sortiment.evaluation import (
    OVERALL,
    bin_answers,
    find_worst_confusions,
    measure_answers,
    read_answers,
    score_answers,
)
from sortiment.feeds import OfferPart, offer_key, read_left_out, read_listing, read_quarantine
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
        "market": _market(demo, storage),
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
        "imbalance": _imbalance(storage),
        "sampling": _sampling(demo, storage),
        "quarantine": _quarantine(storage),
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


def _market(demo: DemoMarket, storage: StorageResource) -> dict[str, Any]:
    store = storage.store
    parts = read_listing(store.current("feed_files").path, store)
    tree = load_taxonomy(store.current("taxonomy").path)
    labelled = sum(found.labelled for part in parts for found in part.report.countries.values())
    offers = sum(found.offers for part in parts for found in part.report.countries.values())
    by_country: dict[str, Counter[str]] = {}
    for part in parts:
        for country, found in part.report.countries.items():
            counts = by_country.setdefault(country, Counter())
            counts["offers"] += found.offers
            counts["unlabelled"] += found.offers - found.labelled
    for country, census in store.current_partitions("offer_census").items():
        if country in by_country:  # others have left the feeds
            by_country[country].update({name: census.summary[name] for name in ("categories", "shops")})
    return {
        "name": demo.profile.market,
        "synthetic": demo.synthetic,
        "countries": sorted(by_country),
        "departments": sorted(tree.department_names),
        "categories": len(tree.categories),
        "offers": offers,
        "unlabelled": offers - labelled,
        "feeds": [
            {
                "name": f"{part.feed}: {part.source_file}",
                "rows": part.report.rows_read,
                "loaded": part.report.rows_loaded,
                "quarantined": part.report.rows_quarantined,
                "countries": list(part.countries),
                "held_back": part.report.held_back,
            }
            for part in parts
        ],
        "by_country": {country: dict(counts) for country, counts in sorted(by_country.items())},
        "empty_columns": _empty_columns(parts),
    }


def _empty_columns(parts: list[OfferPart]) -> dict[str, list[str]]:
    """Of each feed, the mapped columns that no row of any of its files fills; feeds without such left out."""
    empty: dict[str, set[str]] = {}
    for part in parts:
        if part.report.rows_read:
            empty[part.feed] = empty.get(part.feed, set(part.report.empty)) & set(part.report.empty)
    return {feed: sorted(columns) for feed, columns in sorted(empty.items()) if columns}


def _imbalance(storage: StorageResource) -> list[dict[str, Any]]:
    tree = load_taxonomy(storage.store.current("taxonomy").path).by_id
    rows: dict[str, dict[str, Any]] = {}
    for census in storage.store.current_partitions("offer_census").values():
        for row in pq.read_table(census.path / "census.parquet").to_pylist():
            found = rows.setdefault(
                row["category_id"],
                {
                    "category_id": row["category_id"],
                    "path": list(tree[row["category_id"]].path) if row["category_id"] in tree else [],
                    "department": row["department"],
                    "slice": row["slice"],
                    "offers": 0,
                    "sampled": 0,
                },
            )
            found["offers"] += row["offers"]
            found["sampled"] += row["in_sample"]
    return sorted(rows.values(), key=lambda row: (-row["offers"], row["category_id"]))


def _sampling(demo: DemoMarket, storage: StorageResource) -> dict[str, Any]:
    censuses = storage.store.current_partitions("offer_census").values()
    total: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    departments: dict[str, Counter[str]] = {}
    shops: dict[str, Counter[str]] = {}
    for census in censuses:
        summary = census.summary
        for name in (
            "offers",
            "in_sample",
            "unlabelled_in_sample",
            "cut_by_category_cap",
            "cut_by_shop_cap",
            "suspects",
        ):
            total[name] += summary[name]
        splits.update(summary["splits"])
        for file, key, groups in (("departments", "department", departments), ("shops", "shop_id", shops)):
            for row in pq.read_table(census.path / f"{file}.parquet").to_pylist():
                counts = groups.setdefault(row[key] or "no shop", Counter())
                for name, value in (
                    ("offers", row["offers"]),
                    ("sampled", row["in_sample"]),
                    ("cut_by_shop_cap", row["cut_by_shop_cap"]),
                ):
                    counts[name] += value
    largest_shops = sorted(shops.items(), key=lambda item: (-item[1]["offers"], item[0]))[:40]
    return {
        "offers": total["offers"],
        "sampled": total["in_sample"],
        "unlabelled_sampled": total["unlabelled_in_sample"],
        "per_category": demo.settings.sampling.per_category,
        "cut_by_category_cap": total["cut_by_category_cap"],
        "cut_by_shop_cap": total["cut_by_shop_cap"],
        "suspects": total["suspects"],
        "tested_abroad": storage.store.current("teacher_model").summary["left_out_offers"],
        "splits": dict(splits),
        "skipped": [why for census in censuses for why in census.summary["skipped"]],
        "by_department": [{"name": name, **counts} for name, counts in sorted(departments.items())],
        "by_shop": [{"name": name, **counts} for name, counts in largest_shops],
    }


def _quarantine(storage: StorageResource) -> dict[str, Any]:
    listing = storage.store.current("feed_files").path
    parts = read_listing(listing, storage.store)
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(part.report.quarantined)
    return {
        "rows": sum(reasons.values()),
        "read": sum(part.report.rows_read for part in parts),
        "by_reason": dict(reasons.most_common()),
        "by_file": {part.source_file: part.report.rows_quarantined for part in parts if part.report.rows_quarantined},
        "examples": read_quarantine(parts, limit=12),
        "left_out": [
            {"feed": file.feed, "source_file": file.source_file, "problem": file.problem, "kept": bool(file.kept)}
            for file in read_left_out(listing)
        ],
    }


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
