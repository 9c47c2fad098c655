"""Loaded engines: the same answers as torch, in the texts' order, whatever they are batched with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sortiment.engines import TARGETS, Engine, load_engine
from sortiment.engines.engine import rank_top
from sortiment.errors import EngineError, EngineUnavailable, SortimentError
from tests.sortiment.engines.conftest import CLASSES


@pytest.fixture(scope="module")
def engines(compiled: dict[str, Path]) -> dict[str, Engine]:
    return {target: load_engine(folder, threads=1) for target, folder in compiled.items()}


@pytest.mark.parametrize(("target", "agreement"), [("torch-bf16", 0.95), ("openvino-int8", 0.8), ("onnx-int8", 0.8)])
def test_every_engine_answers_like_torch(
    engines: dict[str, Engine], texts: list[str], target: str, agreement: float
) -> None:
    reference, other = engines["torch-fp32"].classify(texts), engines[target].classify(texts)
    assert (reference.index == other.index).mean() >= agreement
    assert len(set(reference.index.tolist())) > 1


def test_torch_is_exactly_what_transformers_says(student: Path, engines: dict[str, Engine], texts: list[str]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(student / "tokenizer.json"))
    model = AutoModelForSequenceClassification.from_pretrained(student).eval()
    logits = engines["torch-fp32"].compute_logits(texts)
    for place in (0, 17, 149):
        ids = torch.tensor([tokenizer(texts[place], truncation=True, max_length=24)["input_ids"]])
        with torch.no_grad():
            alone = model(input_ids=ids).logits[0, : len(CLASSES)].numpy()
        np.testing.assert_allclose(logits[place], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", ["torch-fp32", "openvino-int8", "onnx-int8"])
def test_the_same_texts_give_the_same_answers(engines: dict[str, Engine], texts: list[str], target: str) -> None:
    first, second = engines[target].classify(texts), engines[target].classify(texts)
    assert np.array_equal(first.index, second.index)
    assert np.array_equal(first.confidence, second.confidence)
    assert np.array_equal(first.margin, second.margin)


@pytest.mark.parametrize("target", ["torch-fp32", "openvino-int8"])
def test_an_answer_does_not_depend_on_what_shares_the_batch(
    engines: dict[str, Engine], texts: list[str], target: str
) -> None:
    assert TARGETS[target].batch_independent
    together, backwards = engines[target].classify(texts), engines[target].classify(texts[::-1])
    alone = [engines[target].classify([text]).confidence[0] for text in texts[:20]]
    np.testing.assert_allclose(together.confidence, backwards.confidence[::-1], atol=2e-2)
    np.testing.assert_allclose(together.confidence[:20], alone, atol=2e-2)


def test_dynamic_int8_says_that_it_depends_on_the_batch(engines: dict[str, Engine], texts: list[str]) -> None:
    assert not TARGETS["onnx-int8"].batch_independent
    together = engines["onnx-int8"].classify(texts).confidence[:20]
    alone = np.array([engines["onnx-int8"].classify([text]).confidence[0] for text in texts[:20]])
    assert np.abs(together - alone).max() > 0


def test_confidence_is_calibrated_by_country(engines: dict[str, Engine], texts: list[str]) -> None:
    engine = engines["torch-fp32"]
    plain, german = engine.classify(texts), engine.classify(texts, ["DE"] * len(texts))
    french, unknown = engine.classify(texts, ["FR"] * len(texts)), engine.classify(texts, ["XX"] * len(texts))
    assert np.array_equal(plain.index, german.index)
    assert (german.confidence <= plain.confidence).all()
    assert (french.confidence >= plain.confidence).all()
    assert np.array_equal(unknown.confidence, plain.confidence)


def test_scores_sum_to_one_over_the_known_classes(engines: dict[str, Engine], texts: list[str]) -> None:
    shares = engines["openvino-int8"].score(texts)
    assert shares.shape == (len(texts), len(CLASSES))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("target", ["torch-fp32", "openvino-int8", "onnx-int8"])
def test_odd_texts_get_an_answer(engines: dict[str, Engine], target: str) -> None:
    odd = ["", " ", "🦄", "lamp " * 400, "Ünïcödé", "\x00"]
    answers = engines[target].classify(odd, ["DE"] * len(odd))
    assert np.isfinite(answers.confidence).all()
    assert ((answers.index >= 0) & (answers.index < len(CLASSES))).all()


def test_no_texts_give_no_answers(engines: dict[str, Engine]) -> None:
    for engine in engines.values():
        assert len(engine.classify([]).index) == 0
        assert engine.score([], []).shape == (0, len(CLASSES))


def test_a_text_that_is_no_text_is_named(engines: dict[str, Engine]) -> None:
    with pytest.raises(EngineError, match=r"not a string.*seen: 7"):
        engines["torch-fp32"].classify(["lamp", 7])  # type: ignore[list-item]


def test_an_engine_knows_the_columns_of_its_texts(engines: dict[str, Engine]) -> None:
    assert engines["onnx-int8"].inputs == ("title", "brand")
    assert engines["onnx-int8"].classes == tuple(CLASSES)


def test_countries_must_be_as_many_as_texts(engines: dict[str, Engine]) -> None:
    with pytest.raises(SortimentError, match="differ in number"):
        engines["torch-fp32"].classify(["a title", "another"], ["DE"])


def test_ties_go_to_the_lower_class() -> None:
    index, _, margin = rank_top(np.array([[0.4, 0.4, 0.2]], np.float32))
    assert (index[0], margin[0]) == (0, 0)


def test_a_single_class_is_certain() -> None:
    index, confidence, margin = rank_top(np.ones((2, 1), np.float32))
    assert (index.tolist(), confidence.tolist(), margin.tolist()) == ([0, 0], [1, 1], [1, 1])


def test_a_head_with_fewer_outputs_than_classes_is_refused(compiled: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(compiled["onnx-int8"], tmp_path / "engine"))
    (folder / "classes.json").write_text(json.dumps([f"c{place}" for place in range(50)]))
    with pytest.raises(EngineError, match="fewer outputs"):
        load_engine(folder).classify(["lamp"])


def test_a_folder_that_was_not_built_says_how_to_build_it(compiled: dict[str, Path], tmp_path: Path) -> None:
    spec = json.loads((compiled["onnx-int8"] / "engine.json").read_text())
    (tmp_path / "engine.json").write_text(
        json.dumps(spec | {"built": False, "reason": "no chip", "command": "go there"})
    )
    with pytest.raises(EngineUnavailable, match=r"no chip.*to do: go there"):
        load_engine(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", '{"target": "x"}'])
def test_a_damaged_engine_file_is_an_error_not_a_traceback(tmp_path: Path, damage: str) -> None:
    (tmp_path / "engine.json").write_text(damage)
    with pytest.raises(EngineError, match=r"materialize"):
        load_engine(tmp_path)
