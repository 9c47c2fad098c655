"""Compiling: each target from the right source, the same bytes again, and honesty about what cannot be built."""

import json
from pathlib import Path

import pytest

from sortiment.engines import compile_student, load_engine, probe_target
from sortiment.errors import EngineError
from sortiment.progress import silent
from tests.sortiment.engines.conftest import SETTINGS


def test_a_compiled_folder_says_what_it_is(compiled: dict[str, Path]) -> None:
    spec = json.loads((compiled["openvino-int8"] / "engine.json").read_text())
    expected = {
        "target": "openvino-int8", "engine": "openvino", "precision": "int8", "built": True,
        "max_tokens": 24, "classes": 5, "pad_id": 1, "files": ["int8.xml", "int8.bin"],
    }  # fmt: skip
    assert {name: spec[name] for name in expected} == expected


def test_int8_targets_do_not_carry_the_fp32_weights(compiled: dict[str, Path]) -> None:
    assert not (compiled["openvino-int8"] / "model.safetensors").exists()
    assert not (compiled["onnx-int8"] / "model.safetensors").exists()


def test_bf16_weights_take_half_the_room(compiled: dict[str, Path]) -> None:
    sizes = [(compiled[name] / "model.safetensors").stat().st_size for name in ("torch-bf16", "torch-fp32")]
    assert sizes[0] < 0.6 * sizes[1]


def test_compiling_again_gives_the_same_bytes(
    student: Path, quantized: Path, compiled: dict[str, Path], tmp_path: Path
) -> None:
    for target, folder in compiled.items():
        compile_student(student, quantized, target, SETTINGS, tmp_path / target, silent)
        for file in sorted(folder.iterdir()):
            assert file.read_bytes() == (tmp_path / target / file.name).read_bytes(), (target, file.name)


def test_openvino_bf16_is_built_where_the_cpu_has_it_and_explained_where_not(
    student: Path, quantized: Path, texts: list[str], tmp_path: Path
) -> None:
    report = compile_student(student, quantized, "openvino-bf16", SETTINGS, tmp_path, silent)
    if report.built:
        assert len(load_engine(tmp_path).classify(texts).index) == len(texts)
    else:
        assert "bf16" in str(report.reason)
        assert report.command


def test_neuron_without_its_compiler_is_not_an_error_but_a_reason_and_a_command(
    student: Path, quantized: Path, tmp_path: Path
) -> None:
    report = compile_student(student, quantized, "neuron-bf16", SETTINGS, tmp_path, silent)
    assert not report.built
    assert "torch_neuronx" in str(report.reason)
    assert report.command is not None
    assert f"-m sortiment.engines.compile {student}" in report.command
    assert "--buckets 8 16 24" in report.command
    assert [file.name for file in tmp_path.iterdir()] == ["engine.json"]


def test_an_unknown_target_is_refused_with_the_known_ones(student: Path, quantized: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"'tpu'.*allowed: torch-fp32, torch-bf16"):
        compile_student(student, quantized, "tpu", SETTINGS, tmp_path, silent)


def test_an_int8_target_without_a_quantized_student_is_an_error(student: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"lacks a file.*quantized_student"):
        compile_student(student, student, "onnx-int8", SETTINGS, tmp_path, silent)


def test_a_probe_says_what_can_be_built_here_and_why_not() -> None:
    assert probe_target("openvino-int8", SETTINGS) is None
    assert "torch_neuronx" in str(probe_target("neuron-bf16", SETTINGS))
    with pytest.raises(EngineError, match="no such compile target"):
        probe_target("tpu", SETTINGS)
