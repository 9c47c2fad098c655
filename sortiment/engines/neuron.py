"""AWS Neuron (Inferentia2): one fixed-shape program per length bucket, traced on any Linux machine, run on the chip.

A Neuron program has one shape, so a student becomes several (16, 32 and 64 tokens by default), a router sends each
text to the smallest that holds it, and the last batch of a bucket is padded with empty rows whose answers are cut off.
Tracing needs no chip (`cpu_backend=True`); running does. Nothing here ran on a Neuron device in this project: the calls
follow AWS's published contract of `torch_neuronx.trace` and `torch_neuronx.DataParallel`, and tests run them against a
stand-in that keeps to it.

Source: https://awsdocs-neuron.readthedocs-hosted.com/en/latest/frameworks/torch/torch-neuronx/api-reference-guide/
"""

import importlib
import logging
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.engines.folders import EngineSpec
from sortiment.engines.tokens import Batch, Floats, Take
from sortiment.errors import EngineUnavailable

CORES = 2  # NeuronCores of one Inferentia2 chip: inf2.xlarge and inf2.8xlarge
PACKAGES = (
    "torch-neuronx==2.9.*",
    "neuronx-cc==2.*",
    "tokenizers",
    "safetensors",
    "numpy",
    "pydantic",
    "pyyaml",
)
DEVICE = Path("/dev/neuron0")
logger = logging.getLogger("sortiment.engines")


def compiler_arguments(chip: str) -> list[str]:
    """neuronx-cc options: matrix products in bf16, the rest (softmax, layer norm) in fp32."""
    return ["--target", chip, "--model-type", "transformer", "--auto-cast", "matmult", "--auto-cast-type", "bf16"]


def find_neuron(chip: str) -> Any:
    """The torch_neuronx module, after it compiled `x + 1`. Raises EngineUnavailable with the reason.

    Whether the package is installed says nothing: the public index holds a stub of the same name.
    """
    import torch

    try:
        neuron = importlib.import_module("torch_neuronx")
        neuron.trace(lambda x: x + 1, torch.zeros(1, 4), **trace_options(chip))
    except Exception as error:  # a stub, a missing compiler, a missing driver: each raises its own kind
        seen = (str(error).strip().splitlines() or [""])[0][:160]
        raise EngineUnavailable(
            "this machine cannot compile for AWS Neuron",
            value=f"{type(error).__name__}: {seen}",
            allowed="Linux with torch-neuronx and neuronx-cc from AWS Neuron's own package index",
        ) from error
    return neuron


def trace_options(chip: str) -> dict[str, Any]:
    """Keywords for `torch_neuronx.trace`: without a device, tracing runs on the CPU."""
    options: dict[str, Any] = {"compiler_args": compiler_arguments(chip)}
    if not DEVICE.exists():
        options["cpu_backend"] = True
    return options


def trace_student(student: Path, out: Path, buckets: Iterable[int], batch_offers: int, chip: str) -> tuple[str, ...]:
    """Write `neuron-<tokens>.pt` per bucket: int64 ids and mask [batch_offers, tokens] in, fp32 logits out.

    Returns the file names, shortest bucket first. Raises EngineUnavailable, and whatever the compiler raises.
    """
    import torch

    from sortiment.engines.torch_bert import load_torch_bert

    neuron, model = find_neuron(chip), load_torch_bert(student)
    files = []
    for tokens in sorted(buckets):
        shape = (batch_offers, tokens)
        example = (torch.zeros(shape, dtype=torch.long), torch.ones(shape, dtype=torch.long))
        with torch.no_grad():
            program = neuron.trace(
                model, example, compiler_workdir=str(out / f"neuronx-cc-{tokens}"), **trace_options(chip)
            )
        files.append(f"neuron-{tokens}.pt")
        torch.jit.save(program, str(out / files[-1]))
    return tuple(files)


def neuron_command(
    student: Path, out: Path, *, chip: str, batch_offers: int, buckets: Iterable[int], max_tokens: int
) -> str:
    """The shell commands that compile the student in a Neuron environment of their own, run in this repository."""
    packages = shlex.join(PACKAGES)
    call = [
        "neuron-env/bin/python", "-m", "sortiment.engines.compile", str(student), str(out), "--target", "neuron-bf16",
        "--chip", chip, "--batch-offers", str(batch_offers), "--max-tokens", str(max_tokens),
        "--buckets", *map(str, buckets),
    ]  # fmt: skip
    return (
        "python3 -m venv neuron-env && neuron-env/bin/pip install "
        f"--extra-index-url https://pip.repos.neuron.amazonaws.com {packages} && {shlex.join(call)}"
    )


def run_padded(program: Callable[[Any, Any], Any], batch: Batch, batch_offers: int) -> Floats:
    """Logits of a batch of at most `batch_offers` rows from a program of exactly that many: pad, run, slice.

    A padding row repeats the first row, so that no row is all padding (softmax over nothing).
    """
    import torch

    rows = len(batch.rows)
    places = np.concatenate([np.arange(rows), np.zeros(batch_offers - rows, np.int64)])
    logits = program(torch.from_numpy(batch.ids[places]), torch.from_numpy(batch.mask[places]))
    answers: Floats = np.asarray(logits.float().numpy()[:rows], np.float32)
    return answers


class NeuronSession:
    """The programs of a folder on this machine's NeuronCores, one batch after the other.

    `spec.batch_offers` rows are split over the cores by DataParallel, each core getting the traced batch size.
    """

    def __init__(self, folder: Path, spec: EngineSpec) -> None:
        import torch

        try:
            neuron = importlib.import_module("torch_neuronx")
            load: Any = torch.jit.load
            cores = int(spec.options["cores"])
            self.programs = {
                tokens: neuron.DataParallel(
                    load(str(folder / name)), device_ids=list(range(cores)), set_dynamic_batching=False
                )
                for tokens, name in zip(spec.buckets, spec.files, strict=True)
            }
        except Exception as error:  # the runtime raises RuntimeError, the public index's stub its own kind
            seen = (str(error).strip().splitlines() or [""])[0][:160]
            raise EngineUnavailable(
                "this machine has no NeuronCores to run on",
                value=f"{type(error).__name__}: {seen}",
                allowed="an inf2 instance with the Neuron driver and torch-neuronx",
                fix="run this folder on inf2.xlarge, or compile another target: openvino-int8 runs on any x86 CPU",
            ) from error
        self.batch_offers = spec.batch_offers
        self.note = f"bf16, {cores} NeuronCores, buckets {', '.join(map(str, spec.buckets))}"

    def run(self, batches: Iterable[Batch], take: Take) -> None:
        """Batches must be of the programs' buckets, as `plan_spec` makes them."""
        for batch in batches:
            take(batch, run_padded(self.programs[batch.ids.shape[1]], batch, self.batch_offers))
