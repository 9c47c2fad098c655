"""Writing a student as a Hugging Face directory whose bytes depend on the student alone."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from transformers import BertForSequenceClassification

from sortiment.blobs import write_atomically

VOCABULARY_FILE = "vocabulary.json"  # what trimming saved and changed
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentencepiece.bpe.model",
    "pieces.json",
    VOCABULARY_FILE,
)


def write_network(student: BertForSequenceClassification, out: Path) -> None:
    """config.json and model.safetensors."""
    config = student.config.to_dict()
    config.pop("_name_or_path", None)
    config.pop("transformers_version", None)
    config["id2label"] = {str(index): name for index, name in config["id2label"].items()}
    write_json(out / "config.json", config)
    temporary = out / ".model.safetensors.tmp"
    weights = {name: value.detach().cpu().contiguous() for name, value in student.state_dict().items()}
    safetensors.torch.save_file(weights, temporary, metadata={"format": "pt"})
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(out / "model.safetensors")


def copy_tokenizer(source: Path, out: Path, max_tokens: int) -> None:
    """The tokenizer's files, its own length limit set to `max_tokens`."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    file = out / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    write_json(file, config | {"model_max_length": max_tokens})


def lowercase_tokenizer(folder: Path) -> None:
    """Make tokenizer.json write every text in lower case first.

    Shops shout (HANDYHÜLLE, Handyhülle): a cased vocabulary cuts the shouted word into other and more pieces.
    """
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    normalizer = content["normalizer"]
    steps = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    if not any(step["type"] in ("Lowercase", "BertNormalizer") for step in steps):
        content["normalizer"] = {"type": "Sequence", "normalizers": [*steps, {"type": "Lowercase"}]}
        write_atomically(file, json.dumps(content, ensure_ascii=False).encode())


def write_json(file: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Sorted, indented JSON, atomically."""
    write_atomically(file, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
