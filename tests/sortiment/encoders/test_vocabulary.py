"""Trimming keeps what texts use exactly, and says what it changed for others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel, AutoTokenizer

from sortiment.encoders import EncoderFolder, embed, resolve_encoder, trim_vocabulary
from sortiment.errors import EncoderError
from sortiment.progress import silent
from sortiment.settings import EncoderSettings

FP32 = EncoderSettings(precision="fp32")
USED = ["red lamp", "phone case", "espresso 2x"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderFolder:
    return resolve_encoder(str(tiny_encoder), tmp_path_factory.mktemp("cache"), silent)


def test_texts_in_use_keep_their_pieces_and_vectors(encoder: EncoderFolder, tmp_path: Path) -> None:
    report = trim_vocabulary(encoder, USED, tmp_path / "small", FP32, silent)
    small = resolve_encoder(str(tmp_path / "small"), tmp_path, silent)
    assert report.pieces_after == small.vocabulary < report.pieces_before
    assert report.bytes_after < report.bytes_before
    np.testing.assert_allclose(embed(small, USED, FP32, silent), embed(encoder, USED, FP32, silent), atol=1e-6)


def test_the_trimmed_folder_loads_with_plain_transformers(encoder: EncoderFolder, tmp_path: Path) -> None:
    trim_vocabulary(encoder, USED, tmp_path / "small", FP32, silent)
    before, after = AutoTokenizer.from_pretrained(encoder.path), AutoTokenizer.from_pretrained(tmp_path / "small")
    assert after.tokenize("red lamp") == before.tokenize("red lamp")
    assert AutoModel.from_pretrained(tmp_path / "small").config.vocab_size == len(after)


def test_the_report_says_which_share_of_other_texts_changed(encoder: EncoderFolder, tmp_path: Path) -> None:
    held_out = ["lamp red", "matcha tea", "case", "oolong"]
    report = trim_vocabulary(encoder, USED, tmp_path / "small", FP32, silent, held_out=held_out)
    assert report.changed_share == 0.5
    assert report.cosine_min is not None and report.cosine_min < report.cosine_mean < 1.0  # type: ignore[operator]


def test_further_pieces_are_kept_until_few_other_texts_are_expected_to_change(
    encoder: EncoderFolder, tmp_path: Path
) -> None:
    held_out = ["lamp red", "matcha tea", "case", "oolong"]
    report = trim_vocabulary(encoder, USED, tmp_path / "all", FP32, silent, held_out=held_out, changed_titles=0.0)
    assert report.changed_share == 0.0
    assert report.cosine_mean == report.cosine_min == 1.0
    repeated = [*USED, "lamp red 2x", "espresso case phone"]
    enough = trim_vocabulary(encoder, repeated, tmp_path / "enough", FP32, silent, changed_titles=0.0)
    assert enough.pieces_after == trim_vocabulary(encoder, repeated, tmp_path / "used", FP32, silent).pieces_after


def test_pieces_that_one_product_s_titles_alone_have_count_as_missing_elsewhere(
    encoder: EncoderFolder, tmp_path: Path
) -> None:
    """Two titles of each product: by title none has a piece of its own, by product all have; names are not judged."""
    titles = ["red lamp", "lamp red", "phone case", "case phone", "espresso 2x", "2x espresso"]

    def trim(name: str, products: list[int]) -> int:
        numbers = np.array(products, np.uint64)
        report = trim_vocabulary(
            encoder, titles, tmp_path / name, FP32, silent, products=numbers, changed_titles=0.0
        )  # fmt: skip
        return report.pieces_after

    used = trim("names", [0, 0, 0, 0, 0, 0])
    assert trim("title", [1, 2, 3, 4, 5, 6]) == used
    assert trim("product", [1, 1, 2, 2, 3, 3]) > used


def test_a_new_word_is_still_spelled_letter_by_letter(encoder: EncoderFolder, tmp_path: Path) -> None:
    trim_vocabulary(encoder, USED, tmp_path / "small", FP32, silent)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "small")
    assert tokenizer.unk_token_id not in tokenizer("oolong")["input_ids"]


def test_a_tokenizer_of_another_kind_is_refused(encoder: EncoderFolder, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(encoder.path, tmp_path / "copy"))
    content = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"] = {"type": "BPE", "vocab": {}, "merges": []}
    (copy / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(EncoderError, match="BPE"):
        trim_vocabulary(resolve_encoder(str(copy), tmp_path, silent), USED, tmp_path / "small", FP32, silent)
