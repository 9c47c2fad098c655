"""The student made fast: int8, compiled for each target, timed on this machine."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from catalog_assets.partitions import one_run, targets
from catalog_assets.results import (
    OWNERS,
    build_and_point,
    describe_artifact,
    markdown_table,
    materialized,
    partition_paths,
    versions_of,
)
from catalog_assets.sampling import training_sample
from catalog_assets.student import student_checkpoint
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Artifact, Recipe
from sortiment.encoders import offer_texts
from sortiment.engines import CODE_VERSION, read_inputs
from sortiment.report.figures import plot_speed, to_markdown

PACKAGES = ("onnx", "onnxruntime", "openvino", "nncf", "torch")
# The knobs that decide an artifact are part of its version.
QUANTIZING = {"calibration_offers", "agreement_offers", "batch_offers", "token_multiple"}
TIMING = {"benchmark_seconds", "benchmark_repeats", "benchmark_offers"}
BESIDE_COMPILING = {"targets", "calibration_offers", "agreement_offers", *TIMING}
STAGE: dict[str, Any] = {"group_name": "engines", "owners": OWNERS, "code_version": CODE_VERSION}


@dg.asset(deps=[training_sample, student_checkpoint], kinds={"openvino", "onnx"}, pool="training", **STAGE)
def quantized_student(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """The student in int8 for OpenVINO and ONNX Runtime, its ranges set on training offers; agreement with fp32."""
    from sortiment.engines import quantize_student

    store, settings = storage.store, market.settings
    student, samples = store.current("student_checkpoint"), store.current_partitions("training_sample")
    recipe = Recipe(
        {"student": student.version, "samples": versions_of(samples)},
        settings.engines.model_dump(mode="json", include=QUANTIZING),
        CODE_VERSION,
        PACKAGES,
    )

    def write(out: Path) -> dict[str, Any]:
        needed = settings.engines.calibration_offers + settings.engines.agreement_offers
        texts = read_texts(partition_paths(samples), read_inputs(student.path), "train", needed)
        report = quantize_student(student.path, texts, settings.engines, out, progress.of(context.log))
        return {"parity": [asdict(row) for row in report.parity], "fp32_mb": report.fp32_mb}

    quantized = build_and_point(store, "quantized_student", recipe, write)
    return materialized(quantized, {"parity": markdown_table(quantized.summary["parity"])})


@dg.asset(
    partitions_def=targets,
    backfill_policy=one_run,
    deps=[student_checkpoint, quantized_student],
    kinds={"openvino", "onnx", "neuron"},
    **STAGE,
)
def compiled_student(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """The student ready to serve, one folder per target. What this machine cannot build is named with the command."""
    from sortiment.engines import compile_student, probe_target

    store, settings = storage.store, market.settings.engines
    student, quantized = store.current("student_checkpoint"), store.current("quantized_student")
    for target in context.partition_keys:
        inputs = {
            "student": student.version,
            "quantized": quantized.version,
            "lacking": probe_target(target, settings) or "nothing",
        }
        recipe = Recipe(inputs, settings.model_dump(mode="json", exclude=BESIDE_COMPILING), CODE_VERSION, PACKAGES)
        compiled = build_and_point(
            store,
            "compiled_student",
            recipe,
            lambda out, target=target: asdict(
                compile_student(student.path, quantized.path, target, settings, out, progress.of(context.log))
            ),
            target,
        )
        context.add_asset_metadata(describe_artifact(compiled), partition_key=target)
    return dg.MaterializeResult(metadata={"targets": ", ".join(context.partition_keys)})


@dg.asset(deps=[training_sample, compiled_student], kinds={"table"}, pool="training", **STAGE)
def engine_benchmark(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """Offers per second, latency, memory and agreement of every compiled engine, measured here in one run."""
    from sortiment.engines import write_benchmark
    from sortiment.machine import describe_machine

    store, settings = storage.store, market.settings
    engines = current_engines(storage)
    samples = store.current_partitions("training_sample")
    machine = str(describe_machine())
    recipe = Recipe(
        {"engines": versions_of(engines), "samples": versions_of(samples), "machine": machine},
        settings.engines,
        CODE_VERSION,
        PACKAGES,
    )

    def write(out: Path) -> dict[str, Any]:
        inputs = read_inputs(store.current("student_checkpoint").path)
        texts = read_texts(partition_paths(samples), inputs, "test", settings.engines.benchmark_offers)
        today = datetime.now(UTC).date().isoformat()
        return write_benchmark(
            partition_paths(engines), texts, settings.engines, out, progress.of(context.log), date=today
        )

    benchmark = build_and_point(store, "engine_benchmark", recipe, write)
    rows = benchmark.summary["rows"]
    shown = {"speed": dg.MetadataValue.md(to_markdown(plot_speed(rows))), "engines": markdown_table(rows)}
    return materialized(benchmark, shown)


def current_engines(storage: StorageResource) -> dict[str, Artifact]:
    """Target to compiled student, built or not, of the current student only."""
    student = storage.store.current("student_checkpoint").version
    found = storage.store.current_partitions("compiled_student")
    return {target: each for target, each in found.items() if each.manifest["inputs"]["student"] == student}


def read_texts(samples: dict[str, Path], inputs: tuple[str, ...], split: str, limit: int) -> list[str]:
    """Model inputs of a split, at most `limit`, evenly from all partitions, in the order of partition and offer_key."""
    tables = [pq.read_table(folder / "sample.parquet", filters=[("split", "=", split)]) for folder in samples.values()]
    texts = [
        text for table in tables for text in offer_texts({name: table[name].to_pylist() for name in inputs}, inputs)
    ]
    step = max(len(texts) / limit, 1.0) if limit else 1.0
    return [texts[int(place * step)] for place in range(min(limit, len(texts)))]
