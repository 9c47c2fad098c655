"""Embeddings do not depend on the company a text is in, and are computed once."""

import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sortiment.encoders import EncoderFolder, FeatureCache, embed, resolve_encoder
from sortiment.encoders.embedding import length_batches
from sortiment.encoders.feature_cache import SHARDS_BEFORE_MERGE, SMALL_TEXTS, text_keys
from sortiment.errors import EncoderError
from sortiment.progress import Step, silent
from sortiment.settings import EncoderSettings

FP32 = EncoderSettings(precision="fp32", engine="openvino")
TEXTS = ["red lamp", "phone", "galaxy smartphone case with cover xl", "", "tea", "espresso coffee 2x", "lamp red"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderFolder:
    return resolve_encoder(str(tiny_encoder), tmp_path_factory.mktemp("cache"), silent)


def test_openvino_and_torch_agree(encoder: EncoderFolder) -> None:
    there = embed(encoder, TEXTS, FP32, silent)
    here = embed(encoder, TEXTS, FP32.model_copy(update={"engine": "torch"}), silent)
    assert there.shape == (len(TEXTS), encoder.hidden)
    np.testing.assert_allclose(there, here, atol=2e-5)


def test_a_text_has_the_same_vector_whatever_stands_beside_it(encoder: EncoderFolder) -> None:
    together = embed(encoder, TEXTS * 9, FP32, silent)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(embed(encoder, [text], FP32, silent)[0], together[row], atol=1e-6)


def test_no_texts_have_no_vectors(encoder: EncoderFolder) -> None:
    assert embed(encoder, [], FP32, silent).shape == (0, encoder.hidden)


def test_the_first_layers_alone_give_other_vectors(encoder: EncoderFolder) -> None:
    assert not np.allclose(embed(encoder, TEXTS, FP32, silent), embed(encoder, TEXTS, FP32, silent, layers=1))


def test_batches_hold_every_text_once_and_hardly_pad() -> None:
    lengths = np.random.default_rng(0).poisson(20, 5_000).astype(np.int64) + 2
    batches = list(length_batches(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(5_000))
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    assert padded < 1.02 * lengths.sum()


def test_weights_that_do_not_fit_the_configuration_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))
    config = (copy / "config.json").read_text(encoding="utf-8")
    (copy / "config.json").write_text(
        config.replace('"num_hidden_layers": 4', '"num_hidden_layers": 6'), encoding="utf-8"
    )
    wrong = resolve_encoder(str(copy), tmp_path, silent)
    with pytest.raises(EncoderError, match="do not fill its transformer"):
        embed(wrong, TEXTS, FP32, silent)


def test_weights_of_another_shape_are_named_with_both_shapes(tiny_encoder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.0.attention.self.query.weight"))
    height, width = weights[name].shape
    weights[name] = np.ascontiguousarray(weights[name][: height - 3])
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(EncoderError, match="do not fit its config") as told:
        embed(resolve_encoder(str(copy), tmp_path, silent), TEXTS, FP32, silent)
    assert f"query.weight is ({height - 3}, {width})" in str(told.value)
    assert f"({height}, {width}), as config.json says" in str(told.value)


class Counting:
    """A progress that counts what was embedded."""

    def __init__(self) -> None:
        self.done = 0

    @contextmanager
    def __call__(self, what: str, total: int | None = None, unit: str = "offers") -> Iterator[Step]:
        yield self

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count


def test_nothing_is_embedded_twice(encoder: EncoderFolder, tmp_path: Path) -> None:
    counted = Counting()
    first = FeatureCache(tmp_path, encoder, FP32).features([*TEXTS, *TEXTS], counted)
    assert counted.done == len(TEXTS)
    again = FeatureCache(tmp_path, encoder, FP32).features([*TEXTS[::-1], "new lamp"], counted)
    assert counted.done == len(TEXTS) + 1
    np.testing.assert_array_equal(first[: len(TEXTS)], again[: len(TEXTS)][::-1])


def test_vectors_of_other_settings_are_kept_apart(encoder: EncoderFolder, tmp_path: Path) -> None:
    shorter = FP32.model_copy(update={"max_tokens": 8})
    assert FeatureCache(tmp_path, encoder, FP32).folder != FeatureCache(tmp_path, encoder, shorter).folder
    assert FeatureCache(tmp_path, encoder, FP32).folder != FeatureCache(tmp_path, encoder, FP32, layers=1).folder


def test_many_small_shards_are_merged_and_hold_the_same(encoder: EncoderFolder, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, encoder, FP32)
    texts = [f"lamp {number}" for number in range(SHARDS_BEFORE_MERGE + 2)]
    one_by_one = np.concatenate([cache.features([text], silent) for text in texts])
    counted = Counting()
    np.testing.assert_array_equal(cache.features(texts, counted), one_by_one)
    assert counted.done == 0
    assert len(list(cache.folder.glob("*.safetensors"))) < 5


def test_a_call_costs_what_it_asks_for_and_not_what_the_cache_holds(encoder: EncoderFolder, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, encoder, FP32)
    every = cache.features([f"lamp {number}" for number in range(6_000)], silent)
    few = [f"lamp {number}" for number in range(0, 6_000, 1_000)]
    cache.features(few, silent)
    tracemalloc.start()
    found = cache.features(few, silent)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, every[::1_000])
    assert peak_bytes < every.nbytes / 10


def test_what_another_process_writes_or_merges_is_found(encoder: EncoderFolder, tmp_path: Path) -> None:
    own, other = FeatureCache(tmp_path, encoder, FP32), FeatureCache(tmp_path, encoder, FP32)
    texts = [f"lamp {number}" for number in range(SHARDS_BEFORE_MERGE + 2)]
    own.features(texts[:1], silent)
    shards = set(own.folder.glob("*.safetensors"))
    vectors = np.concatenate([other.features([text], silent) for text in texts])
    other.features(texts, silent)
    assert not shards & set(own.folder.glob("*.safetensors"))
    counted = Counting()
    np.testing.assert_array_equal(own.features(texts, counted), vectors)
    assert counted.done == 0


def test_a_large_shard_is_not_written_again(encoder: EncoderFolder, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, encoder, FP32)
    cache.features(["tea"], silent)
    keys = text_keys([f"lamp {number}" for number in range(SMALL_TEXTS)]).view("<u8").reshape(-1, 2)
    large = cache.folder / "large.safetensors"
    save_file({"keys": keys, "vectors": np.zeros((SMALL_TEXTS, encoder.hidden), np.float16)}, large)
    few = [f"phone {number}" for number in range(SHARDS_BEFORE_MERGE + 1)]
    for text in few:
        cache.features([text], silent)
    cache.features(few, silent)
    assert large.is_file()
    assert len(list(cache.folder.glob("*.safetensors"))) < 5


def test_a_damaged_shard_is_named(encoder: EncoderFolder, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, encoder, FP32)
    cache.features(TEXTS, silent)
    shard = next(cache.folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(EncoderError, match=shard.name):
        cache.features(TEXTS, silent)


def test_a_killed_run_keeps_its_shards_and_ends_as_an_undisturbed_one(encoder: EncoderFolder, tmp_path: Path) -> None:
    texts = [f"{word} {number}" for word in ("lamp", "phone", "chair with cover") for number in range(4_000)]
    program = f"""
from pathlib import Path
from sortiment.encoders import FeatureCache, resolve_encoder
from sortiment.progress import silent
from sortiment.settings import EncoderSettings
texts = [f"{{word}} {{number}}" for word in ("lamp", "phone", "chair with cover") for number in range(4_000)]
encoder = resolve_encoder({str(encoder.path)!r}, Path({str(encoder.cache)!r}), silent)
settings = EncoderSettings(precision="fp32", engine="openvino")
FeatureCache(Path({str(tmp_path / "killed")!r}), encoder, settings).features(texts, silent)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    cache = FeatureCache(tmp_path / "killed", encoder, FP32)
    deadline = time.monotonic() + 60
    while not list(cache.folder.glob("*.safetensors")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = list(cache.folder.glob("*.safetensors"))
    assert kept
    counted = Counting()
    resumed = cache.features(texts, counted)
    assert counted.done < len(texts)
    np.testing.assert_array_equal(resumed, FeatureCache(tmp_path / "whole", encoder, FP32).features(texts, silent))
