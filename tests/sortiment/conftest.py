"""For the stages that learn: a tiny encoder with random weights and a tiny market, real in everything but size."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.settings import StudentSettings
from sortiment.teacher.labelling import TRANSFER_SCHEMA

WORDS = {
    "phones": ["phone", "smartphone", "galaxy"],
    "cases": ["case", "cover", "bumper"],
    "coffee": ["coffee", "espresso", "arabica"],
    "tea": ["tea", "oolong", "matcha"],
    "lamps": ["lamp", "bulb", "lantern"],
    "chairs": ["chair", "stool", "armchair"],
}
DEPARTMENTS = {"electronics": ["phones", "cases"], "food": ["coffee", "tea"], "home": ["lamps", "chairs"]}
NOISE_WORDS = ["red", "new", "set", "pro", "2x", "xl", "best", "with", "for", "mini"]
COUNTRIES = ("DE", "GB")


@dataclass(frozen=True)
class TinyMarket:
    """Artifact folders by partition, as the earlier stages write them."""

    samples: dict[str, Path]
    soft_labels: dict[str, Path]
    classes: list[str]


@dataclass(frozen=True)
class Workshop:
    """Makes artifact folders as the earlier stages write them."""

    market: Callable[..., TinyMarket]
    sample: Callable[..., Path]
    soft_labels: Callable[..., Path]
    encoder: Callable[..., Path]


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    return Workshop(make_market, write_sample, write_soft_labels, write_encoder)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_market(tmp_path_factory: pytest.TempPathFactory) -> TinyMarket:
    """Two countries, three departments, 60 labelled offers per category and country, and unlabelled offers."""
    return make_market(tmp_path_factory.mktemp("market"), per_category=60, unlabelled=60)


@pytest.fixture(scope="session")
def quick_settings() -> StudentSettings:
    return StudentSettings(
        epochs=2, least_steps=0, batch_offers=32, learning_rate=3e-3, head_multiple=8, precision="fp32", device="cpu",
        alignment=0.0,
    )  # fmt: skip


def write_encoder(folder: Path, hidden: int = 32) -> Path:
    """Four layers with random weights; a unigram vocabulary of whole words and single letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    from sortiment.student.directory import write_json, write_network

    words = sorted({word for group in WORDS.values() for word in group} | set(NOISE_WORDS) | {"cactus", "ficus"})
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in words] + [
        (letter, -8.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "model_max_length": 512},
    )
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=80,
        pad_token_id=1,
        initializer_range=0.3,
        architectures=["BertForSequenceClassification"],
    )
    torch.manual_seed(3)
    write_network(BertForSequenceClassification(config), folder)
    return folder


def make_market(
    root: Path,
    per_category: int,
    unlabelled: int,
    teacher_knows: list[str] | None = None,
    departments: dict[str, list[str]] | None = None,
    words: dict[str, list[str]] | None = None,
    countries: tuple[str, ...] = COUNTRIES,
) -> TinyMarket:
    """Artifact folders of a market whose teacher is right on what it knows, and gives 5 % to other classes. No title
    is in two countries."""
    words = words or WORDS
    departments = departments or DEPARTMENTS
    classes = teacher_knows or sorted(WORDS)
    draw = np.random.default_rng(5)
    samples, soft_labels = {}, {}
    elsewhere: dict[str, str] = {}

    def write_title(name: str, country: str) -> str:
        while True:
            title = " ".join(draw.permutation([draw.choice(words[name]), *draw.choice(NOISE_WORDS, 2)]))
            if elsewhere.setdefault(title, country) == country:
                return title

    for country in countries:
        for department, members in [
            *departments.items(),
            ("unlabelled", [name for group in departments.values() for name in group]),
        ]:
            key = f"{country}|{department}"
            count = unlabelled if department == "unlabelled" else per_category
            truth = [name for name in members for _ in range(count)]
            titles = [write_title(name, country) for name in truth]
            splits = (
                ["train"] * len(truth)
                if department == "unlabelled"
                else [("train", "train", "train", "validation", "test")[row % 5] for row in range(len(truth))]
            )
            labels = [None if department == "unlabelled" else name for name in truth]
            samples[key] = write_sample(root / "sample" / key, country, titles, labels, splits)
            soft_labels[key] = write_soft_labels(root / "soft" / key, samples[key], truth, classes)
    return TinyMarket(samples, soft_labels, classes)


def write_sample(folder: Path, country: str, titles: list[str], labels: list[str | None], splits: list[str]) -> Path:
    folder.mkdir(parents=True)
    count = len(titles)
    empty = pa.nulls(count, pa.string())
    keys = np.arange(count, dtype=np.uint64)
    table = {
        "offer_key": keys,
        "country": [country] * count,
        "shop_id": empty,
        "title": pa.array(titles, pa.string()),
        "brand": empty,
        "description": empty,
        "shop_category": empty,
        "price": pa.nulls(count, pa.float64()),
        "category_id": pa.array(labels, pa.string()),
        "department": empty,
        "feed": ["tiny"] * count,
        "split": pa.array(splits, pa.string()),
        "slice": empty,
        "inclusion_probability": np.ones(count),
        "suspect": np.zeros(count, bool),
        "product_key": pa.nulls(count, pa.uint64()),
        "gtin_key": pa.nulls(count, pa.uint64()),
    }
    pq.write_table(pa.table(table), folder / "sample.parquet")
    return folder


def write_soft_labels(folder: Path, sample: Path, opinions: list[str], classes: list[str], sure: float = 0.95) -> Path:
    """A teacher that gives `sure` to the opinion where it is a class of its own, else spreads evenly; top 2."""
    folder.mkdir(parents=True)
    keys = pq.read_table(sample / "sample.parquet", columns=["offer_key"])["offer_key"]
    index, logit, rest = [], [], []
    for opinion in opinions:
        known = opinion in classes
        best = classes.index(opinion) if known else 0
        first = sure if known else 1 / len(classes)
        second = (1 - first) / (len(classes) - 1)
        index.append([best, (best + 1) % len(classes)])
        logit.append([float(np.log(first)), float(np.log(second))])
        rest.append(max(0.0, 1 - first - second))
    table = {
        "offer_key": keys,
        "top_index": pa.array(index, pa.list_(pa.int32())),
        "top_logit": pa.array(logit, pa.list_(pa.float32())),
        "rest_mass": pa.array(rest, pa.float32()),
    }
    pq.write_table(pa.table(table), folder / "soft_labels.parquet")
    pq.write_table(TRANSFER_SCHEMA.empty_table(), folder / "transfer_labels.parquet")
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    return folder
