"""Timing engines: every figure is measured in this run, and what is not measured says why."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from sortiment.engines import NAIVE, SpeedRow, benchmark_engines, compile_student, write_benchmark
from sortiment.errors import EngineError
from sortiment.machine import describe_machine
from sortiment.progress import silent
from tests.sortiment.engines.conftest import SETTINGS

DATE = "2026-11-22"


@pytest.fixture(scope="module")
def rows(
    student: Path,
    quantized: Path,
    compiled: dict[str, Path],
    texts: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, SpeedRow]:
    neuron, out = tmp_path_factory.mktemp("neuron"), tmp_path_factory.mktemp("speed")
    compile_student(student, quantized, "neuron-bf16", SETTINGS, neuron, silent)
    engines = {name: compiled[name] for name in ("torch-fp32", "openvino-int8")} | {"neuron-bf16": neuron}
    content = write_benchmark(engines, texts, SETTINGS, out, silent, date=DATE)
    assert json.loads((out / "speed.json").read_text()) == json.loads(json.dumps(content))
    return {row["engine"]: SpeedRow(**row) for row in content["rows"]}


def test_rows_come_in_the_order_given_then_the_naive_baseline(rows: dict[str, SpeedRow]) -> None:
    assert list(rows) == ["torch-fp32", "openvino-int8", "neuron-bf16", NAIVE]


def test_a_built_engine_has_every_figure(rows: dict[str, SpeedRow]) -> None:
    for name in ("torch-fp32", "openvino-int8"):
        missing = [
            key for key, value in asdict(rows[name]).items() if value is None and key not in ("reason", "command")
        ]
        assert missing == []
        row = rows[name]
        assert row.source == "measured here"
        assert row.lowest_offers_per_s <= row.offers_per_s <= row.highest_offers_per_s  # type: ignore[operator]
        assert 0 < row.p50_ms <= row.p99_ms  # type: ignore[operator]
        assert row.peak_memory_mb > 30  # type: ignore[operator]
        assert row.mean_tokens <= row.bucket_tokens <= 24  # type: ignore[operator]


def test_ratios_are_to_the_naive_baseline_of_the_same_run(rows: dict[str, SpeedRow]) -> None:
    naive = rows[NAIVE].offers_per_s
    assert naive
    for name in ("torch-fp32", "openvino-int8"):
        assert rows[name].ratio_to_naive == pytest.approx(rows[name].offers_per_s / naive)  # type: ignore[operator]


def test_parity_is_measured_against_torch(rows: dict[str, SpeedRow]) -> None:
    assert rows["torch-fp32"].agreement == 1.0
    assert rows["torch-fp32"].max_probability_difference == 0.0
    assert rows["openvino-int8"].agreement > 0.8  # type: ignore[operator]


def test_what_was_not_built_has_no_figures_but_a_reason_and_a_command(rows: dict[str, SpeedRow]) -> None:
    row = rows["neuron-bf16"]
    assert (row.built, row.offers_per_s, row.ratio_to_naive) == (False, None, None)
    assert row.source == "not measured"
    assert row.reason
    assert "--target neuron-bf16" in str(row.command)


def test_a_row_says_when_and_on_which_machine(rows: dict[str, SpeedRow]) -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert {(row.date, row.machine) for row in rows.values()} == {(DATE, str(machine))}


def test_no_texts_cannot_be_timed(compiled: dict[str, Path]) -> None:
    with pytest.raises(EngineError, match="no texts"):
        benchmark_engines(compiled, [], SETTINGS, silent, date=DATE)


def test_an_engine_whose_process_dies_is_an_error_with_its_last_words(
    compiled: dict[str, Path], texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "engine.json").write_bytes((compiled["onnx-int8"] / "engine.json").read_bytes())
    (tmp_path / "classes.json").write_text("[]")
    with pytest.raises(EngineError, match=r"onnx-int8 ended.*classes\.json"):
        benchmark_engines({"onnx-int8": tmp_path}, texts, SETTINGS, silent, date=DATE)
