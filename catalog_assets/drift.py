"""Drift: where the champion's world has changed since its release, slice by slice, beyond chance."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.partitions import one_run, slices
from catalog_assets.predictions import (
    live_champion,
    local_answers,
    local_part,
    new_parts,
    offer_predictions,
    served_engine,
)
from catalog_assets.results import (
    OWNERS,
    build_and_point,
    describe_artifact,
    describe_partition,
    markdown_table,
    versions_of,
)
from catalog_assets.sampling import training_sample
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, ArtifactStore, Recipe
from sortiment.blobs import write_atomically
from sortiment.drift import CODE_VERSION, DriftSide, SliceDrift, measure_drift, read_report
from sortiment.predictions import PREDICTIONS_FILE, read_predictions
from sortiment.report.figures import plot_drift_map, to_markdown

REFERENCE, MEASUREMENT = "reference_predictions", "drift_measurement"
VERDICT_FILE = "verdict.json"
NO_NEW_OFFERS = "not judged: no new offers have come since the samples were drawn"


@dg.asset(
    partitions_def=slices,
    backfill_policy=one_run,
    deps=[training_sample, offer_predictions],
    group_name="drift",
    kinds={"evidently"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def drift_report(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """Whether a slice's new offers are unlike those that the champion was released on, with every signal and why.

    Where no feed is newer than the samples nothing is judged, and earlier verdicts stay.
    """
    store, settings, shown = storage.store, market.settings, progress.of(context.log)
    current = new_predictions(storage)
    if not current:
        return dg.MaterializeResult(metadata={"drifted": "none", "judged": 0, "why": NO_NEW_OFFERS})
    reference = reference_predictions(storage, market)
    champion = live_champion(storage)
    samples = store.current_partitions("training_sample")
    side = DriftSide(
        [str(reference.path / PREDICTIONS_FILE)], [str(each.path / "sample.parquet") for each in samples.values()]
    )
    recipe = Recipe(
        {"reference": reference.version, "current": "+".join(version for version, _, _ in current)},
        settings.drift,
        CODE_VERSION,
    )

    def write(out: Path) -> dict[str, Any]:
        new = DriftSide([predictions for _, predictions, _ in current], [offers for _, _, offers in current])
        known = json.loads((served_engine(storage, champion).path / "classes.json").read_bytes())
        report = measure_drift(side, new, settings.drift, out, shown, known_categories=known)
        return {"drifted": list(report.drifted), "judged": report.judged, "tests": report.tests}

    measured = build_and_point(store, MEASUREMENT, recipe, write)
    report = read_report(measured.path)
    found = {verdict.slice: verdict for verdict in report.slices}
    for key in context.partition_keys:
        verdict = found.get(str(key)) or SliceDrift(str(key), 0, 0, None, (), False, None, NO_NEW_OFFERS)
        artifact = _keep_verdict(store, str(key), verdict, measured)
        page = report.pages.get(str(key))
        shown_page = {"evidently": dg.MetadataValue.path(str(measured.path / page))} if page else {}
        signals = markdown_table([asdict(signal) for signal in verdict.signals])
        describe_partition(context, str(key), describe_artifact(artifact, {"signals": signals, **shown_page}))
    rows = [
        {"partition": each.slice, "score": each.score, "drifted": each.drifted, "offers": each.offers, "why": each.why}
        for each in report.slices
    ]
    return dg.MaterializeResult(
        metadata={
            "drifted": ", ".join(report.drifted) or "none",
            "judged": report.judged,
            "map": dg.MetadataValue.md(to_markdown(plot_drift_map(rows))),
            "verdicts": markdown_table(sorted(rows, key=lambda row: not row["drifted"]), limit=150),
        }
    )


def reference_predictions(storage: StorageResource, market: MarketResource) -> Artifact:
    """What the champion answers for the held-out offers of all samples; made once per champion and samples."""
    from sortiment.engines import load_engine
    from sortiment.predictions import classify_held_out

    store, settings, champion = storage.store, market.settings, live_champion(storage)
    samples, engine, tree = (
        store.current_partitions("training_sample"),
        served_engine(storage, champion),
        store.current("taxonomy"),
    )
    recipe = Recipe(
        {"samples": versions_of(samples), "engine": engine.version, "taxonomy": tree.version},
        settings.predictions,
        CODE_VERSION,
    )
    return store.build(
        REFERENCE,
        recipe,
        lambda out: classify_held_out(
            load_engine(engine.path),
            [sample.path / "sample.parquet" for sample in samples.values()],
            taxonomy=tree.path,
            model_version=champion.model_version,
            settings=settings.predictions,
            out=out,
        ),
    )


def new_predictions(storage: StorageResource) -> list[tuple[str, str, str]]:
    """(version, predictions file, offers file) of each country's parts that no sample has seen yet."""
    found = []
    for country, listed in storage.store.current_partitions("offer_predictions").items():
        fresh = new_parts(storage, country)
        for entry in read_predictions(listed.path):
            if entry["part"] in fresh:
                answers = local_answers(storage, entry["version"], country)
                offers = local_part(storage, entry["part"], country)
                found.append((entry["part"] + entry["model_version"], answers, offers))
    return found


def _keep_verdict(store: ArtifactStore, key: str, verdict: SliceDrift, measured: Artifact) -> Artifact:
    recipe = Recipe({"measurement": measured.version}, {}, CODE_VERSION)

    def write(out: Path) -> dict[str, Any]:
        content = asdict(verdict)
        write_atomically(out / VERDICT_FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
        return {name: content[name] for name in ("drifted", "score", "offers", "why", "judged_by")}

    return build_and_point(store, "drift_report", recipe, write, key)
