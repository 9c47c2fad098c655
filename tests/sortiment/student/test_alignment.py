"""Drawing the student's state to the teacher encoder's embeddings, on a tiny network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sortiment.encoders import FeatureCache
from sortiment.encoders.references import describe_folder
from sortiment.errors import TrainingError
from sortiment.progress import silent
from sortiment.settings import EncoderSettings, StudentSettings
from sortiment.student.alignment import Alignment, Embeddings
from sortiment.student.body import first_token_features, load_student
from sortiment.student.corpus import read_corpus
from sortiment.student.scoring import map_rows
from sortiment.student.starting import tokenize_texts
from tests.sortiment.student.distilling import Killed, distill, hashes_of, killed_after

ENCODER = EncoderSettings(precision="fp32", max_tokens=16)
NAMES = {"tea": [("food", "tea time")], "lamps": [("home", "light")]}
OFFERS = 2 * 6 * (36 + 60)  # training offers of the tiny market


def cache_of(encoder: Path, market: Any, root: Path, share: float = 1.0) -> FeatureCache:
    """A cache that holds the embeddings of the market's offers, or of a part of them."""
    cache = FeatureCache(root / "features", describe_folder("tiny", encoder, root / "derived"), ENCODER)
    texts = read_corpus(market.samples, market.soft_labels, market.classes, ENCODER.inputs).texts
    cache.features(texts[: round(share * len(texts))], silent)
    return cache


def nearness(student: Path, market: Any, cache: FeatureCache) -> float:
    """How alike the student's states and the embeddings see all offers."""
    texts = read_corpus(market.samples, market.soft_labels, market.classes, ENCODER.inputs).texts
    network = load_student(student)
    tokens = tokenize_texts(student, texts, network, ENCODER)
    states = map_rows(network, tokens, np.arange(len(texts)), first_token_features, bf16=False)
    return score_structure(states, cache.features(texts, silent))


def score_structure(states: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """How far distances between states follow distances between embeddings: correlation of their cosines."""
    cosines = []
    for vectors in (states, wanted):
        centred = vectors - vectors.mean(0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        cosines.append((centred @ centred.T)[np.triu_indices(len(centred), 1)])
    return float(np.corrcoef(*cosines)[0, 1])


def test_an_aligned_student_is_nearer_to_its_teachers_embeddings_and_still_learns(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    cache = cache_of(tiny_encoder, tiny_market, tmp_path)
    aligned = quick_settings.model_copy(update={"alignment": 10.0})
    distill(tiny_market, tiny_encoder, quick_settings, tmp_path / "without", names=NAMES)
    distill(tiny_market, tiny_encoder, quick_settings, tmp_path / "off", names=NAMES, features=cache)
    report = distill(tiny_market, tiny_encoder, aligned, tmp_path / "aligned", names=NAMES, features=cache)
    assert hashes_of(tmp_path / "off") == hashes_of(tmp_path / "without")
    near, far = (nearness(tmp_path / name, tiny_market, cache) for name in ("aligned", "without"))
    assert near > far + 0.1
    assert report.summary()["macro_f1"] > 0.95


def test_a_wider_encoder_is_met_through_a_map_that_is_thrown_away_and_a_killed_run_keeps(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    (tmp_path / "wide").mkdir()
    cache = cache_of(workshop.encoder(tmp_path / "wide", hidden=48), tiny_market, tmp_path)
    aligned = quick_settings.model_copy(update={"alignment": 1.0})
    distill(tiny_market, tiny_encoder, aligned, tmp_path / "whole", features=cache)
    with pytest.raises(Killed):
        distill(
            tiny_market, tiny_encoder, aligned, tmp_path / "out", features=cache, progress=killed_after(OFFERS + 300)
        )
    with safe_open(tmp_path / "out" / ".training" / "epoch.safetensors", "np") as state:
        assert {name for name in state.keys() if "alignment" in name} == {  # noqa: SIM118
            "weights.alignment.map", "optimizer.alignment.map|step",
            "optimizer.alignment.map|exp_avg", "optimizer.alignment.map|exp_avg_sq",
        }  # fmt: skip
    assert distill(tiny_market, tiny_encoder, aligned, tmp_path / "out", features=cache).resumed_epochs == 1
    assert hashes_of(tmp_path / "out") == hashes_of(tmp_path / "whole")
    with safe_open(tmp_path / "whole" / "model.safetensors", "np") as network:
        assert not [name for name in network.keys() if "alignment" in name]  # noqa: SIM118


def test_what_has_no_embedding_yet_is_embedded(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    aligned = quick_settings.model_copy(update={"alignment": 1.0})
    for name, share in (("whole", 1.0), ("half", 0.5)):
        cache = cache_of(tiny_encoder, tiny_market, tmp_path / name, share=share)
        distill(tiny_market, tiny_encoder, aligned, tmp_path / name / "out", features=cache)
    assert hashes_of(tmp_path / "half" / "out") == hashes_of(tmp_path / "whole" / "out")


def test_an_alignment_without_a_cache_is_refused_before_anything_is_computed(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    aligned = quick_settings.model_copy(update={"alignment": 1.0})
    with pytest.raises(TrainingError, match=r"no cache of them was given; seen: 1\.0; allowed: 0, or a feature cache"):
        distill(tiny_market, tiny_encoder, aligned, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_retraining_pulls_nothing(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    distill(tiny_market, tiny_encoder, quick_settings, tmp_path / "first")
    for name, weight in (("aligned", 1.0), ("plain", 0.0)):
        settings = quick_settings.model_copy(update={"alignment": weight})
        distill(tiny_market, tiny_encoder, settings, tmp_path / name, start_from=tmp_path / "first")
    assert hashes_of(tmp_path / "aligned") == hashes_of(tmp_path / "plain")


def test_names_pull_nothing() -> None:
    embeddings = Embeddings(np.eye(2, 3, dtype=np.float16), np.array([0, -1, 1]), {})
    alignment = Alignment(embeddings, weight=2.0, hidden=3, seed=0)
    states = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 9.0], [0.0, -1.0, 0.0]])
    rows = np.arange(3)
    assert float(alignment.loss(states, rows, 1.0).detach()) == pytest.approx(2.0 * (0.0 + 0.0 + 2.0) / 3)
    assert float(alignment.loss(states[1:2], rows[1:2], 1.0).detach()) == 0.0
    assert float(alignment.loss(states, rows, 0.25).detach()) == pytest.approx(0.25 * 4.0 / 3)
    assert list(alignment.named_weights()) == ["alignment.map"]
