"""A stand-in for `torch_neuronx` that keeps to AWS's published contract and computes on the CPU.

`trace` takes the documented keywords only, records its calls, and returns a TorchScript module that refuses any other
shape than the traced one. `DataParallel` without dynamic batching wants exactly `devices x traced batch` rows. What a
real NEFF, its driver and its rounding do is not shown by this.
"""

from types import ModuleType
from typing import Any

import torch

CALLS: list[dict[str, Any]] = []


class FixedShape(torch.nn.Module):
    """A traced program: one input shape, as on Neuron."""

    def __init__(self, program: torch.nn.Module, rows: int, tokens: int) -> None:
        super().__init__()
        self.program = program
        self.rows = rows
        self.tokens = tokens

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if input_ids.size(0) != self.rows or input_ids.size(1) != self.tokens:
            raise ValueError("a Neuron program has one shape")
        answer: torch.Tensor = self.program(input_ids, attention_mask)
        return answer


def trace(
    func: Any,
    example_inputs: Any,
    *,
    compiler_workdir: str | None = None,
    compiler_args: list[str] | None = None,
    inline_weights_to_neff: bool = True,
    cpu_backend: bool = False,
) -> Any:
    assert not cpu_backend or (compiler_args and "--target" in compiler_args), "cpu_backend needs --target"
    if not isinstance(func, torch.nn.Module):
        return func
    CALLS.append({"shape": tuple(example_inputs[0].shape), "args": compiler_args, "cpu_backend": cpu_backend})
    program: Any = torch.jit.trace(func, example_inputs)
    return torch.jit.script(FixedShape(program, *example_inputs[0].shape))


class DataParallel:
    def __init__(
        self, model: Any, device_ids: list[int] | None = None, dim: int = 0, set_dynamic_batching: bool = True
    ) -> None:
        assert dim == 0
        assert not set_dynamic_batching
        self.model, self.devices = model, len(device_ids or [0])

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        parts = [torch.chunk(each, self.devices) for each in inputs]
        return torch.cat([self.model(*each) for each in zip(*parts, strict=True)])


def make_module() -> ModuleType:
    module = ModuleType("torch_neuronx")
    module.trace, module.DataParallel = trace, DataParallel  # type: ignore[attr-defined]
    return module


def make_stub() -> ModuleType:
    """What the public package index holds under this name: it imports and refuses."""

    def refuse(name: str) -> Any:
        raise RuntimeError("WRONG PACKAGE")

    module = ModuleType("torch_neuronx")
    module.__getattr__ = refuse  # type: ignore[method-assign]
    return module
