"""Whole words become pieces of their own, and nothing else changes."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from transformers import BertConfig, BertForSequenceClassification

from sortiment.student.words import START, add_words, tokenizer_without_words

PIECES = [("<unk>", 0.0), (START, -3.0), *((letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789,"),
          (START + "green", -4.0), ("tor", -6.0), ("que", -6.0), (START + "tor", -6.0)]  # fmt: skip


@pytest.fixture
def student(tmp_path: Path) -> BertForSequenceClassification:
    """A tiny student; its tokenizer is in tmp_path."""
    tokenizer = Tokenizer(Unigram(PIECES, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(PIECES), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return BertForSequenceClassification(config)


def pieces_of(folder: Path, text: str) -> list[str]:
    tokens: list[str] = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).tokens
    return tokens


def test_a_repeated_word_becomes_one_piece_and_starts_as_the_mean_of_its_pieces(
    tmp_path: Path, student: BertForSequenceClassification
) -> None:
    before = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("torque").ids
    rows = student.bert.embeddings.word_embeddings.weight.detach().clone()
    assert add_words(student, tmp_path, ["torque green", "torque, 12v"], 2, 100) == 1
    assert pieces_of(tmp_path, "torque, green") == [START + "torque", ",", START + "green"]
    table = student.bert.embeddings.word_embeddings.weight.detach()
    assert len(table) == student.config.vocab_size == len(PIECES) + 1
    assert torch.equal(table[: len(PIECES)], rows)
    assert torch.allclose(table[-1], rows[before].mean(0))


def test_other_words_keep_their_pieces(tmp_path: Path, student: BertForSequenceClassification) -> None:
    others = ["green", "to", "quetor", "12v"]
    before = [pieces_of(tmp_path, word) for word in others]
    words = add_words(student, tmp_path, ["torque green", "torque"], 2, 100)
    assert tokenizer_without_words(tmp_path, words).encode("torque").tokens == [START + "tor", "que"]
    assert [pieces_of(tmp_path, word) for word in others] == before


def test_the_most_frequent_words_come_first_and_rare_ones_not_at_all(
    tmp_path: Path, student: BertForSequenceClassification
) -> None:
    texts = ["alpha beta", "alpha beta", "alpha gamma", "delta"]
    assert add_words(student, tmp_path, texts, 2, 1) == 1
    vocabulary = [piece for piece, _ in json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]]
    assert vocabulary[-1] == START + "alpha" and START + "beta" not in vocabulary


def test_a_word_is_counted_once_per_offer(tmp_path: Path, student: BertForSequenceClassification) -> None:
    assert add_words(student, tmp_path, ["alpha alpha alpha", "beta"], 2, 100) == 0
