"""Quantizing: both int8 forms agree with the student, and the same inputs give the same bytes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sortiment.engines import quantize_student
from sortiment.engines.quantize import compare_probabilities
from sortiment.errors import EngineError
from sortiment.progress import silent
from tests.sortiment.engines.conftest import SETTINGS, make_texts


def test_both_forms_agree_with_the_student(quantized: Path) -> None:
    report = json.loads((quantized / "quantize.json").read_text())
    assert [row["model"] for row in report["parity"]] == ["openvino-int8", "onnx-int8"]
    assert report["graph_difference"] < 1e-3
    assert not report["seen_in_calibration"]
    for row in report["parity"]:
        assert row["agreement"] >= 0.8, "random weights decide narrowly; a trained student agrees in 98 %"
        assert row["offers"] == 48
        assert 0 < row["size_mb"] < 1


def test_the_folder_holds_what_the_contract_says(quantized: Path) -> None:
    names = {file.name for file in quantized.iterdir()}
    assert names == {
        "config.json", "tokenizer.json", "tokenizer_config.json", "student.json", "classes.json", "calibration.json",
        "int8.xml", "int8.bin", "int8.onnx", "quantize.json",
    }  # fmt: skip


def test_the_same_student_and_texts_give_the_same_bytes(
    student: Path, quantized: Path, texts: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quantize_student(student, texts, SETTINGS, tmp_path, silent)
    assert not caplog.records, "advice that does not concern this graph reaches nobody"
    for file in sorted(tmp_path.iterdir()):
        assert file.read_bytes() == (quantized / file.name).read_bytes(), file.name


def test_one_text_is_not_enough(student: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="too few texts"):
        quantize_student(student, make_texts(1), SETTINGS, tmp_path, silent)


def test_a_student_without_classes_is_refused(student: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(student, tmp_path / "broken"))
    (broken / "classes.json").unlink()
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(EngineError, match=r"classes\.json is missing"):
        quantize_student(broken, make_texts(30), SETTINGS, out, silent)


def test_a_failing_worker_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    from sortiment.engines.processes import run_worker

    with pytest.raises(EngineError, match=r"nncf_worker ended with code 1.*absent\.json"):
        run_worker("sortiment.engines.nncf_worker", str(tmp_path / "absent.json"))


def test_parity_counts_the_same_class_and_the_largest_difference() -> None:
    one = np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    other = np.array([[0.8, 0.2], [0.7, 0.3]], np.float32)
    parity = compare_probabilities("x", one, other)
    assert (parity.agreement, round(parity.max_probability_difference, 6)) == (0.5, 0.3)
