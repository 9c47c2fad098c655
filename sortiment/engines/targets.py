"""What a student can be compiled for: one row per target, the partitions of `compiled_student`.

int8 and Neuron are parallel branches: neuronx-cc has no int8, so `neuron-bf16` is compiled from the student checkpoint.
"""

from dataclasses import dataclass
from typing import Literal

from sortiment.errors import EngineError

EngineName = Literal["torch", "openvino", "onnx", "neuron"]
Precision = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True)
class Target:
    """One engine at one precision. `batch_independent`: an offer's logits do not depend on what shares its batch,
    beyond the rounding of a differently shaped matrix product."""

    name: str
    engine: EngineName
    precision: Precision
    batch_independent: bool
    title: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("torch-fp32", "torch", "fp32", True, "PyTorch, fp32: the reference"),
        Target("torch-bf16", "torch", "bf16", True, "PyTorch, bf16 weights and activations"),
        Target("openvino-bf16", "openvino", "bf16", True, "OpenVINO, bf16 arithmetic"),
        Target("openvino-int8", "openvino", "int8", True, "OpenVINO, int8 with fixed ranges (NNCF), bf16 between"),
        Target("onnx-int8", "onnx", "int8", False, "ONNX Runtime, int8 with ranges measured per batch"),
        Target("neuron-bf16", "neuron", "bf16", True, "AWS Neuron (Inferentia2), bf16, one program per length bucket"),
    )
}
REFERENCE = "torch-fp32"


def find_target(name: str) -> Target:
    """The target of this name. Raises EngineError that lists the names."""
    if name not in TARGETS:
        raise EngineError(
            "there is no such compile target",
            value=name,
            allowed=", ".join(TARGETS),
            fix="correct `engines.targets` in the market's settings",
        )
    return TARGETS[name]
