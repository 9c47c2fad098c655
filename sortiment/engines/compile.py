"""Compiles a student for one target into a folder that `load_engine` reads.

What this machine cannot build becomes a folder that says so: `engine.json` with the reason and the command that would.
Also a command, for environments that hold only what one target needs (AWS Neuron's):
`python -m sortiment.engines.compile STUDENT OUT --target neuron-bf16`.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sortiment.engines.bert_graph import read_bert_shape, write_bert_graph
from sortiment.engines.folders import (
    EngineSpec,
    copy_companions,
    folder_size_mb,
    read_classes,
    read_json,
    read_max_tokens,
    write_engine_spec,
)
from sortiment.engines.quantize import ONNX_FILES, OPENVINO_FILES
from sortiment.engines.targets import Target, find_target
from sortiment.engines.tokens import needed_buckets
from sortiment.errors import EngineError, EngineUnavailable
from sortiment.progress import Progress, silent
from sortiment.settings import EngineSettings

logger = logging.getLogger("sortiment.engines")


@dataclass(frozen=True)
class CompileReport:
    """One compiled target, or why there is none. `size_mb` counts the model's own files."""

    target: str
    built: bool
    size_mb: float
    reason: str | None
    command: str | None


def compile_student(
    student: Path,
    quantized: Path,
    target: str,
    settings: EngineSettings,
    out: Path,
    progress: Progress,
    *,
    max_tokens: int | None = None,
) -> CompileReport:
    """Write the engine folder `out` for one target; int8 targets are compiled from `quantized`, others from `student`.

    max_tokens: None = as the student's tokenizer says. A target that this machine cannot build is not an error.
    Raises EngineError for an unknown target or a folder that cannot be used.
    """
    wanted = find_target(target)
    max_tokens = max_tokens or read_max_tokens(student)
    out.mkdir(parents=True, exist_ok=True)
    spec = _describe(student, wanted, settings, max_tokens)
    with progress(f"compile {target}", total=1, unit="models") as step:
        try:
            spec = BUILDERS[wanted.engine](student, quantized, spec, settings, out)
        except EngineUnavailable as lacking:
            logger.warning("%s is not built: %s", target, lacking)
            reason = f"{lacking.what} ({lacking.value})" if lacking.value else lacking.what
            spec = replace(spec, built=False, reason=reason, command=lacking.fix)
        else:
            copy_companions(quantized if wanted.precision == "int8" else student, out)
        write_engine_spec(out, spec)
        step.advance(note=target if spec.built else f"{target}: not built")
    return CompileReport(target, spec.built, folder_size_mb(out, spec.files), spec.reason, spec.command)


def probe_target(target: str, settings: EngineSettings) -> str | None:
    """None where this machine can build the target, else why not. Part of a compiled folder's version: a machine that
    learns to build it must not find the folder that says it could not."""
    wanted = find_target(target)
    try:
        if wanted.engine == "neuron":
            from sortiment.engines.neuron import find_neuron

            find_neuron(settings.neuron_target)
        if wanted.name == "openvino-bf16":
            _require_bf16()
    except EngineUnavailable as lacking:
        return f"{lacking.what} ({lacking.value})"
    return None


def _describe(student: Path, target: Target, settings: EngineSettings, max_tokens: int) -> EngineSpec:
    read_bert_shape(student)
    return EngineSpec(
        target=target.name,
        engine=target.engine,
        precision=target.precision,
        built=True,
        max_tokens=max_tokens,
        classes=len(read_classes(student)),
        pad_id=int(read_json(student, "config.json").get("pad_token_id") or 0),
        batch_offers=settings.batch_offers,
        token_multiple=settings.token_multiple,
        sort_window=settings.sort_window,
        streams=settings.streams,
    )


def _build_torch(student: Path, quantized: Path, spec: EngineSpec, settings: EngineSettings, out: Path) -> EngineSpec:
    if spec.precision == "bf16":
        import torch
        from safetensors.torch import load_file, save_file

        weights = load_file(student / "model.safetensors")
        save_file({name: value.to(torch.bfloat16) for name, value in weights.items()}, out / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip
    else:
        shutil.copyfile(student / "model.safetensors", out / "model.safetensors")
    return replace(spec, files=("model.safetensors",))


def _build_openvino(
    student: Path, quantized: Path, spec: EngineSpec, settings: EngineSettings, out: Path
) -> EngineSpec:
    if spec.precision == "int8":
        return replace(spec, files=_copy_quantized(quantized, OPENVINO_FILES, out))
    import openvino

    _require_bf16()
    core = openvino.Core()
    graph = out / "model.onnx"
    write_bert_graph(student, graph)
    openvino.save_model(core.read_model(graph), out / "model.xml", compress_to_fp16=True)
    graph.unlink()
    return replace(spec, files=("model.xml", "model.bin"))


def _require_bf16() -> None:
    import openvino

    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineUnavailable(
            "this CPU has no bf16 instructions",
            value=core.get_property("CPU", "FULL_DEVICE_NAME"),
            fix="materialize compiled_student for openvino-bf16 on a CPU with AVX512_BF16 or AMX (c7i, c7a, m7i)",
        )


def _build_onnx(student: Path, quantized: Path, spec: EngineSpec, settings: EngineSettings, out: Path) -> EngineSpec:
    return replace(spec, files=_copy_quantized(quantized, ONNX_FILES, out))


def _build_neuron(student: Path, quantized: Path, spec: EngineSpec, settings: EngineSettings, out: Path) -> EngineSpec:
    """Every program, or EngineUnavailable with the command: a compiler's own error is a reason, logged in full."""
    from sortiment.engines.neuron import CORES, compiler_arguments, neuron_command, trace_student

    buckets = needed_buckets(settings.neuron_buckets, spec.max_tokens)
    chip, batch_offers = settings.neuron_target, settings.neuron_batch_offers
    command = neuron_command(
        student,
        Path("compiled-neuron-bf16"),
        chip=chip,
        batch_offers=batch_offers,
        buckets=buckets,
        max_tokens=spec.max_tokens,
    )
    try:
        files = trace_student(student, out, buckets, batch_offers, chip)
    except EngineUnavailable as lacking:
        raise EngineUnavailable(lacking.what, value=lacking.value, allowed=lacking.allowed, fix=command) from lacking
    except Exception as error:  # neuronx-cc's failures have no common class
        logger.exception("neuronx-cc did not compile the student")
        raise EngineUnavailable(
            "the Neuron compiler failed", value=f"{type(error).__name__}: {error}", fix=command
        ) from error  # fmt: skip
    return replace(
        spec,
        files=files,
        buckets=buckets,
        batch_offers=batch_offers * CORES,
        options={"cores": CORES, "batch_offers_per_core": batch_offers, "compiler": compiler_arguments(chip)},
    )


Builder = Callable[[Path, Path, EngineSpec, EngineSettings, Path], EngineSpec]
BUILDERS: dict[str, Builder] = {
    "torch": _build_torch,
    "openvino": _build_openvino,
    "onnx": _build_onnx,
    "neuron": _build_neuron,
}


def _copy_quantized(quantized: Path, names: tuple[str, ...], out: Path) -> tuple[str, ...]:
    for name in names:
        if not (quantized / name).is_file():
            raise EngineError(
                "the quantized student lacks a file",
                value=str(quantized / name),
                fix="materialize quantized_student again",
            )
        shutil.copyfile(quantized / name, out / name)
    return names


def main(arguments: list[str]) -> int:
    """The command. Exit code 0 = built, 1 = not built."""
    parser = argparse.ArgumentParser(prog="python -m sortiment.engines.compile", description=__doc__)
    parser.add_argument("student", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--quantized", type=Path, help="folder of quantized_student, for int8 targets")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--chip", default=EngineSettings().neuron_target)
    parser.add_argument("--batch-offers", type=int, default=EngineSettings().neuron_batch_offers)
    parser.add_argument("--buckets", type=int, nargs="+", default=list(EngineSettings().neuron_buckets))
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = EngineSettings(
        neuron_target=given.chip, neuron_batch_offers=given.batch_offers, neuron_buckets=tuple(given.buckets)
    )
    report = compile_student(
        given.student,
        given.quantized or given.student,
        given.target,
        settings,
        given.out,
        silent,
        max_tokens=given.max_tokens,
    )
    logger.info("%s: %s", report.target, f"built, {report.size_mb:.0f} MB" if report.built else report.reason)
    return 0 if report.built else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
