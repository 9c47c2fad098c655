"""The ONNX graph computes what transformers computes, and nothing is exported that it would get wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sortiment.engines.bert_graph import write_bert_graph
from sortiment.errors import EngineError


def compute_both(student: Path, graph: Path, ids: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import onnxruntime
    import torch
    from transformers import BertForSequenceClassification

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    ours = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    model = BertForSequenceClassification.from_pretrained(student).eval()
    with torch.no_grad():
        theirs = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    return ours, theirs


@pytest.fixture(scope="module")
def graph(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_bert_graph(student, file)
    return file


@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (1, 40), (5, 9), (16, 24)])
def test_the_graph_gives_the_logits_of_transformers_for_every_shape(
    student: Path, graph: Path, rows: int, tokens: int
) -> None:
    draw = np.random.default_rng(tokens)
    ids = draw.integers(0, 28, (rows, tokens))
    mask = (np.arange(tokens)[None, :] < draw.integers(1, tokens + 1, rows)[:, None]).astype(np.int64)
    ours, theirs = compute_both(student, graph, ids, mask)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_padding_does_not_change_the_logits(student: Path, graph: Path) -> None:
    ids = np.random.default_rng(0).integers(4, 28, (3, 7))
    padded = np.concatenate([ids, np.ones((3, 12), np.int64)], axis=1)
    mask = np.concatenate([np.ones_like(ids), np.zeros((3, 12), np.int64)], axis=1)
    alone, _ = compute_both(student, graph, ids, np.ones_like(ids))
    beside, _ = compute_both(student, graph, padded, mask)
    np.testing.assert_allclose(alone, beside, rtol=1e-4, atol=1e-4)


def test_the_same_student_gives_the_same_bytes(student: Path, graph: Path, tmp_path: Path) -> None:
    write_bert_graph(student, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == graph.read_bytes()


def test_another_architecture_is_refused_by_name(student: Path, tmp_path: Path) -> None:
    config = json.loads((student / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["RobertaForSequenceClassification"]}))
    with pytest.raises(EngineError, match=r"RobertaForSequenceClassification.*allowed: BertForSequenceClassification"):
        write_bert_graph(tmp_path, tmp_path / "model.onnx")


def test_an_unknown_activation_is_refused(student: Path, tmp_path: Path) -> None:
    config = json.loads((student / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "silu"}))
    with pytest.raises(EngineError, match="silu"):
        write_bert_graph(tmp_path, tmp_path / "model.onnx")


def test_weights_that_are_not_finite_are_refused_before_anything_is_written(student: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = Path(shutil.copytree(student, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["classifier.weight"][0, 0] = np.nan
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(EngineError, match=r"not all finite.*classifier\.weight"):
        write_bert_graph(broken, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_missing_tensor_is_named(student: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = Path(shutil.copytree(student, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    del weights["bert.pooler.dense.bias"]
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(EngineError, match=r"bert\.pooler\.dense\.bias"):
        write_bert_graph(broken, tmp_path / "model.onnx")
