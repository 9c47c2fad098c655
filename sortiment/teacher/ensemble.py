"""Two opinions as one: each made a probability by its own temperature, then averaged with weights from validation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sortiment.artifacts import write_atomically
from sortiment.encoders import EncoderFolder, FeatureCache, prompted
from sortiment.errors import TrainingError
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings
from sortiment.teacher.heads import Classes, Floats, LinearHead
from sortiment.teacher.ngrams import NgramModel

CLASSES_FILE, TEACHER_FILE = "classes.json", "teacher.json"
HEAD_FILE, NGRAMS_FILE = "head.safetensors", "ngrams.safetensors"
TEMPERATURES = np.exp(np.linspace(np.log(0.05), np.log(5.0), 47))
SHARES = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Mixture:
    """encoder_share: weight of the encoder's probabilities; the n-gram model has the rest."""

    encoder_temperature: float
    ngram_temperature: float
    encoder_share: float

    def mix(self, encoder: Floats, ngrams: Floats) -> Floats:
        """Probabilities (offers, classes) from both models' scores."""
        mixed: Floats = self.encoder_share * soften(encoder, self.encoder_temperature) + (
            1 - self.encoder_share
        ) * soften(ngrams, self.ngram_temperature)
        return mixed


@dataclass(frozen=True)
class Teacher:
    """A fitted teacher with the encoder that it reads through. classes: category ids, index = class."""

    classes: tuple[str, ...]
    head: LinearHead
    ngrams: NgramModel
    mixture: Mixture
    encoder: EncoderFolder
    encoder_settings: EncoderSettings
    features: FeatureCache

    def probabilities(self, texts: Sequence[str], countries: Sequence[str], progress: Progress = silent) -> Floats:
        """(offers, classes), calibrated on validation offers; features come from the cache where they are known."""
        if not len(texts):
            return np.zeros((0, len(self.classes)), np.float32)
        prompts = prompted(texts, self.encoder.family, self.encoder_settings, countries)
        encoded = self.head.logits(self.features.features(prompts, progress))
        return self.mixture.mix(encoded, self.ngrams.scores(texts))


def soften(scores: Floats, temperature: float) -> Floats:
    """Softmax of scores / temperature, by rows."""
    scaled = (scores - scores.max(1, keepdims=True)) / temperature
    raised = np.exp(scaled)
    result: Floats = (raised / raised.sum(1, keepdims=True)).astype(np.float32)
    return result


def fit_mixture(encoder: Floats, ngrams: Floats, labels: Classes) -> Mixture:
    """Temperatures and share that make the labels of held-out offers most likely; a plain average without any."""
    if not len(labels):
        return Mixture(1.0, 0.2, 0.5)
    rows = np.arange(len(labels))
    encoder_temperature = _fit_temperature(encoder, labels)
    ngram_temperature = _fit_temperature(ngrams, labels)
    of_encoder = soften(encoder, encoder_temperature)[rows, labels]
    of_ngrams = soften(ngrams, ngram_temperature)[rows, labels]
    losses = [-np.log(np.maximum(share * of_encoder + (1 - share) * of_ngrams, 1e-9)).mean() for share in SHARES]
    return Mixture(encoder_temperature, ngram_temperature, float(SHARES[int(np.argmin(losses))]))


def write_teacher(
    out: Path, classes: Sequence[str], head: LinearHead, ngrams: NgramModel, mixture: Mixture, facts: Mapping[str, object]
) -> None:
    """Write the teacher's files into the folder."""
    from safetensors.numpy import save

    write_atomically(out / CLASSES_FILE, json.dumps(list(classes), ensure_ascii=False).encode())
    write_atomically(out / HEAD_FILE, save(head.tensors()))
    write_atomically(out / NGRAMS_FILE, save(ngrams.tensors()))
    content = {"mixture": asdict(mixture), "ngram_table": ngrams.table, **facts}
    write_atomically(out / TEACHER_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_teacher(folder: Path, encoder: EncoderFolder, encoder_settings: EncoderSettings, features: Path) -> Teacher:
    """What `write_teacher` wrote. Raises TrainingError where another encoder is given than it was fitted on."""
    from safetensors.numpy import load_file

    content = json.loads((folder / TEACHER_FILE).read_bytes())
    if content["encoder"] != encoder.version:
        raise TrainingError(
            "the teacher was fitted on another encoder",
            value=encoder.reference,
            allowed=f"the encoder of version {content['encoder']}",
            fix="materialize teacher_model again, or put settings.encoder back",
        )
    head, ngrams = load_file(folder / HEAD_FILE), load_file(folder / NGRAMS_FILE)
    return Teacher(
        tuple(json.loads((folder / CLASSES_FILE).read_bytes())),
        LinearHead(**head),
        NgramModel(content["ngram_table"], **ngrams),
        Mixture(**content["mixture"]),
        encoder,
        encoder_settings,
        FeatureCache(features, encoder, encoder_settings),
    )


def _fit_temperature(scores: Floats, labels: Classes) -> float:
    rows = np.arange(len(labels))
    losses = [-np.log(np.maximum(soften(scores, value)[rows, labels], 1e-9)).mean() for value in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])
