"""The Neuron path against a stand-in that keeps to AWS's contract. Nothing here ran on a Neuron device."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sortiment.engines import compile_student, load_engine
from sortiment.engines.folders import read_engine_spec
from sortiment.engines.neuron import run_padded
from sortiment.engines.tokens import Batch
from sortiment.errors import EngineUnavailable
from sortiment.progress import silent
from tests.sortiment.engines import neuron_stand_in
from tests.sortiment.engines.conftest import SETTINGS

# TorchScript is deprecated in the torch of this environment; torch-neuronx pins an older one and is TorchScript.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore::torch.jit.TracerWarning")


@pytest.fixture(scope="module")
def traced(student: Path, quantized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder compiled by the stand-in, which recorded its calls."""
    out = tmp_path_factory.mktemp("neuron")
    neuron_stand_in.CALLS.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_neuronx", neuron_stand_in.make_module())
        report = compile_student(student, quantized, "neuron-bf16", SETTINGS, out, silent)
    assert report.built, report.reason
    return out


def test_one_program_is_traced_per_bucket_with_the_published_options(traced: Path) -> None:
    calls = neuron_stand_in.CALLS
    assert [call["shape"] for call in calls] == [(4, 8), (4, 16), (4, 24)]
    assert calls[0]["args"] == [
        "--target", "inf2", "--model-type", "transformer", "--auto-cast", "matmult", "--auto-cast-type", "bf16",
    ]  # fmt: skip
    assert calls[0]["cpu_backend"] is not Path("/dev/neuron0").exists()
    spec = read_engine_spec(traced)
    assert (spec.buckets, spec.batch_offers) == ((8, 16, 24), 8)


def test_texts_are_routed_padded_and_sliced_to_the_same_answers_as_torch(
    traced: Path, compiled: dict[str, Path], texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_neuronx", neuron_stand_in.make_module())
    reference = load_engine(compiled["torch-fp32"]).compute_logits(texts)
    np.testing.assert_allclose(load_engine(traced).compute_logits(texts), reference, rtol=1e-3, atol=1e-3)


def test_a_short_batch_is_padded_with_its_first_row_and_cut_again() -> None:
    import torch

    seen = []

    def program(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((ids.clone(), mask.clone()))
        return ids.float()

    ids = np.array([[1, 2], [3, 4]])
    answers = run_padded(program, Batch(np.array([7, 9]), ids, np.ones_like(ids)), 5)
    assert answers.tolist() == [[1, 2], [3, 4]]
    assert seen[0][0].tolist() == [[1, 2], [3, 4], [1, 2], [1, 2], [1, 2]]
    assert seen[0][1].sum() == 10


def test_the_stub_of_the_public_index_is_no_compiler(
    student: Path, quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_neuronx", neuron_stand_in.make_stub())
    report = compile_student(student, quantized, "neuron-bf16", SETTINGS, tmp_path, silent)
    assert not report.built
    assert "WRONG PACKAGE" in str(report.reason)


def test_a_compiler_that_fails_is_a_reason_with_the_command(
    student: Path, quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = neuron_stand_in.make_module()
    works = module.trace

    def fail(func: object, example_inputs: object, **options: object) -> object:
        if callable(func) and not hasattr(func, "parameters"):
            return works(func, example_inputs, **options)
        raise RuntimeError("neuronx-cc: unsupported operator erf")

    module.trace = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_neuronx", module)
    report = compile_student(student, quantized, "neuron-bf16", SETTINGS, tmp_path, silent)
    assert "unsupported operator erf" in str(report.reason)
    assert report.command


def test_running_without_neuron_cores_says_what_to_run_instead(traced: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"no NeuronCores.*openvino-int8"):
        load_engine(traced)
