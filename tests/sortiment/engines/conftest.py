"""A tiny real student: a BERT of two layers with random weights, its own tokenizer, five classes and three unused."""

import json
from pathlib import Path

import numpy as np
import pytest

from sortiment.engines import compile_student, quantize_student
from sortiment.progress import silent
from sortiment.settings import EngineSettings

WORDS = [
    f"{stem}{ending}" for stem in ("lamp", "shoe", "phone", "case", "drill", "pan") for ending in ("", "s", "en", "x")
]
CLASSES = ["c-lamp", "c-shoe", "c-phone", "c-drill", "c-pan"]
SETTINGS = EngineSettings(
    calibration_offers=24,
    agreement_offers=48,
    batch_offers=8,
    sort_window=64,
    neuron_buckets=(8, 16),
    neuron_batch_offers=4,
    benchmark_seconds=0.3,
    benchmark_repeats=2,
    benchmark_offers=64,
)


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Titles of 1 to 25 words."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(1, 26)).tolist()) for _ in range(count)]


def write_tiny_student(folder: Path, seed: int = 0) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    vocabulary = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    width = len(CLASSES) + 3
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40, pad_token_id=1, num_labels=width, initializer_range=0.3,
    )  # fmt: skip
    config.id2label = dict(enumerate([*CLASSES, "unused-5", "unused-6", "unused-7"]))
    student = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        student.classifier.weight.mul_(4)
        student.classifier.bias[len(CLASSES) :] = -10_000.0
    student.save_pretrained(folder)
    for name, content in {
        "classes.json": CLASSES,
        "calibration.json": {"temperature": {"DE": 2.0, "FR": 0.5}, "default": 1.0},
        "tokenizer_config.json": {"model_max_length": 24},
        "student.json": {"inputs": ["title", "brand"]},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return make_texts(150)


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def quantized(student: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quantized")
    quantize_student(student, texts, SETTINGS, out, silent)
    return out


@pytest.fixture(scope="session")
def compiled(student: Path, quantized: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every target that a plain CPU can build, by name."""
    folders = {}
    for target in ("torch-fp32", "torch-bf16", "openvino-int8", "onnx-int8"):
        folders[target] = tmp_path_factory.mktemp(target)
        assert compile_student(student, quantized, target, SETTINGS, folders[target], silent).built
    return folders
