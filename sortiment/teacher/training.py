"""Fitting a teacher: gather labelled offers, fit both models on the training split, mix them on the validation split."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.encoders import EncoderFolder, FeatureCache, offer_texts, prompted
from sortiment.errors import TrainingError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, TeacherSettings
from sortiment.teacher.ensemble import Mixture, fit_mixture, write_teacher
from sortiment.teacher.heads import Floats, balance_weights, fit_head
from sortiment.teacher.ngrams import fit_ngrams

SAMPLE_FILE = "sample.parquet"


@dataclass(frozen=True)
class TeacherReport:
    """What was fitted, and accuracy on the validation and test split (None where a split is empty).

    untaught: categories that occur in the samples and have no training offer: the teacher cannot name them.
    """

    offers: int
    classes: int
    untaught: tuple[str, ...]
    mixture: Mixture
    encoder_accuracy: float | None
    ngram_accuracy: float | None
    validation_accuracy: float | None
    test_accuracy: float | None

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "untaught": list(self.untaught), **asdict(self.mixture)}


def run_training(
    samples: Mapping[str, Path],
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
    out: Path,
    features: Path,
    progress: Progress,
) -> TeacherReport:
    """See `sortiment.teacher.train_teacher`."""
    offers = read_labelled(samples)
    split = np.asarray(offers["split"].to_pylist())
    ids = np.asarray(offers["category_id"].to_pylist(), dtype=object)
    classes = sorted(set(ids[split == "train"]))
    if len(classes) < 2:
        raise TrainingError(
            "a teacher needs offers of two categories at least",
            value=f"{len(classes)} categories with training offers",
            fix="give labelled offers: map `category` in the feed specs",
        )
    index_of = {name: number for number, name in enumerate(classes)}
    labels = np.array([index_of.get(name, -1) for name in ids], np.int64)
    texts = offer_texts({name: offers[name].to_pylist() for name in encoder_settings.inputs}, encoder_settings.inputs)
    prompts = prompted(texts, encoder.family, encoder_settings, offers["country"].to_pylist())
    vectors = FeatureCache(features, encoder, encoder_settings).features(prompts, progress)
    train = np.flatnonzero(split == "train")
    with progress("fit the teacher", total=2, unit="models") as step:
        weight = balance_weights(labels[train], len(classes)) * _training_weight(offers, train)
        head = fit_head(vectors[train], labels[train], len(classes), settings.head_decay, weight)
        step.advance(note="encoder head")
        ngrams = fit_ngrams([texts[row] for row in train], labels[train], len(classes), settings.seed)
        step.advance(note="n-grams")
    held = np.flatnonzero((split != "train") & (labels >= 0))
    encoded, counted = head.logits(vectors[held]), ngrams.scores([texts[row] for row in held])
    validation = split[held] == "validation"
    mixture = fit_mixture(encoded[validation], counted[validation], labels[held][validation])
    mixed = mixture.mix(encoded, counted)
    write_teacher(out, classes, head, ngrams, mixture, {"encoder": encoder.version, "reference": encoder.reference})
    return TeacherReport(
        offers=len(train),
        classes=len(classes),
        untaught=tuple(sorted(set(ids) - set(classes))),
        mixture=mixture,
        encoder_accuracy=_accuracy(encoded[~validation], labels[held][~validation]),
        ngram_accuracy=_accuracy(counted[~validation], labels[held][~validation]),
        validation_accuracy=_accuracy(mixed[validation], labels[held][validation]),
        test_accuracy=_accuracy(mixed[~validation], labels[held][~validation]),
    )


def read_labelled(samples: Mapping[str, Path]) -> pa.Table:
    """Labelled offers of all partitions, in the order of partition and offer_key."""
    tables = [pq.read_table(samples[key] / SAMPLE_FILE) for key in sorted(samples)]
    if not tables:
        raise TrainingError("there is no sample to learn from", fix="materialize training_sample first")
    offers = pa.concat_tables(tables)
    return offers.filter(pc.is_valid(offers["category_id"]))


def _training_weight(offers: pa.Table, rows: Any) -> Floats:
    weights: Floats = offers["training_weight"].to_numpy()[rows].astype(np.float32)
    return weights


def _accuracy(scores: Floats, labels: Any) -> float | None:
    return round(float((scores.argmax(1) == labels).mean()), 6) if len(labels) else None
