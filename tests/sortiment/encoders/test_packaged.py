"""The packaged weights, converted, are the packaged weights."""

import json
import math

import numpy as np
import pytest
from tokenizers import Tokenizer

from sortiment.encoders import EncoderFolder, embed, resolve_encoder
from sortiment.progress import silent
from sortiment.settings import EncoderSettings

TITLES = ["Waschmaschine 8 kg", "washing machine 8 kg", "Smartphone Hülle", "Kaffeebohnen 1 kg", "coffee beans 1 kg"]


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> EncoderFolder:
    return resolve_encoder("package:multilingual-e5-small", tmp_path_factory.mktemp("cache"), silent)


@pytest.mark.slow
def test_the_conversion_is_checked_against_the_engine_it_came_with(packaged: EncoderFolder) -> None:
    check = json.loads((packaged.path / "conversion_check.json").read_text(encoding="utf-8"))
    assert check["cosine_min"] >= 0.999
    assert check["token_counts_equal"]
    assert (packaged.hidden, packaged.layers, packaged.family) == (384, 12, "e5")


@pytest.mark.slow
def test_the_tokenizer_is_xlm_robertas(packaged: EncoderFolder) -> None:
    tokenizer = Tokenizer.from_file(str(packaged.path / "tokenizer.json"))
    # XLM-RoBERTa's ids
    assert tokenizer.encode("query: how much protein").ids[:4] == [0, 41, 1294, 12]
    assert tokenizer.encode("½ Ｗ").tokens == ["<s>", "▁1⁄2", "▁W", "</s>"]


@pytest.mark.slow
def test_translations_are_nearer_than_other_products(packaged: EncoderFolder) -> None:
    vectors = embed(packaged, ["query: " + title for title in TITLES], EncoderSettings(), silent)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    assert cosine[0, 1] > max(cosine[0, 2:])
    assert cosine[3, 4] > max(cosine[3, :3])
    assert math.isfinite(float(cosine.sum()))
