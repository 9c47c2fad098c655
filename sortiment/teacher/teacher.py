"""A trained teacher: its experts over one encoder, its classes, and what it says of offers.

    classes.json                    category ids; index = class
    teacher.json                    settings, encoder, the link from scores to probabilities, scores
    encoder_expert.safetensors, ngram_expert.safetensors
    lifts.safetensors               what each class's logarithm is raised by, and in which countries otherwise
    training_offers.safetensors     offer_key, class, and each expert's leverage, by offer_key
    encoder/                        where it was tuned: the encoder that offers are embedded with
    folds.safetensors, folds/       then: what encoders that were tuned without them say of training offers

Leverage and folds let the teacher answer for its own training offers as if it had not seen them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.artifacts import content_version, file_sha256
from sortiment.encoders import EncoderFolder, FeatureCache, prompted
from sortiment.encoders.references import describe_folder
from sortiment.errors import TrainingError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings
from sortiment.teacher.combining import Link
from sortiment.teacher.encoder_expert import EncoderExpert
from sortiment.teacher.folds import Folds
from sortiment.teacher.ngram_expert import NgramExpert
from sortiment.teacher.offers import Offers
from sortiment.teacher.ridge import Floats, leave_one_out
from sortiment.teacher.shares import Lifts
from sortiment.teacher.transfer import TransferTitles

CLASSES_FILE = "classes.json"
TEACHER_FILE = "teacher.json"
TRAINING_FILE = "training_offers.safetensors"
ENCODER, NGRAMS = "encoder", "ngrams"
ENCODER_FOLDER = "encoder"
TEXT_SETTINGS = ("inputs", "prompt", "prompts", "instruction", "max_tokens")


@dataclass(frozen=True)
class TrainingOffers:
    """What the teacher was fitted on, sorted by key. leverage: expert's name to [n]. folds: instead of the leverage of
    an encoder that was tuned."""

    keys: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int64]
    leverage: dict[str, Floats]
    folds: Folds | None = None

    def find(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of `keys` that are training offers, and their positions here."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        rows = np.flatnonzero(self.keys[at] == keys)
        return rows, at[rows]

    def unseen(self, name: str, scores: Floats, at: npt.NDArray[np.int64]) -> Floats:
        """What an expert would say of the offers at these positions had it not seen them. scores: what it says,
        overwritten."""
        if name in self.leverage:
            return leave_one_out(scores, self.labels[at], self.leverage[name][at])
        assert self.folds is not None
        return self.folds.scores(at)

    def unseen_added(self, name: str, scores: Floats, at: npt.NDArray[np.int64]) -> Floats:
        """The same of what the names add to the expert."""
        if name in self.leverage:
            return scores / (1.0 - self.leverage[name][at])[:, None]
        assert self.folds is not None
        return self.folds.added_scores(at)

    def with_names(self, strengths: Mapping[str, float]) -> "TrainingOffers":
        """With folds that take as much of the names as the encoder's expert does."""
        if self.folds is None or ENCODER not in strengths:
            return self
        return replace(self, folds=self.folds.joined(strengths[ENCODER]))


@dataclass(frozen=True)
class Teacher:
    """Answers for offers. encoder: that offers are embedded with. experts by name (`encoder`, `ngrams`). offers_read:
    training offers that it was fitted with, labelled or not. scores: as TeacherReport's."""

    classes: tuple[str, ...]
    version: str
    encoder: EncoderFolder
    encoder_settings: EncoderSettings
    features: FeatureCache
    experts: dict[str, EncoderExpert | NgramExpert]
    link: Link
    lifts: Lifts
    training: TrainingOffers
    offers_read: int
    scores: dict[str, Any]

    def log_probabilities(self, offers: Offers, progress: Progress, ngram_scores: Floats | None = None) -> Floats:
        """Calibrated, float32 [n, classes]. Training offers get what the teacher would say had it not seen them.

        ngram_scores: of these offers, where the n-grams' expert has been asked already; overwritten.
        """
        rows, at = self.training.find(offers.keys)
        scores = self._scores(offers.texts, offers.countries, progress, ngram_scores)
        for name, score in scores.items() if len(rows) else ():
            score[rows] = self.training.unseen(name, score[rows], at)
        return self.link.log_probabilities(scores, self.lifts.of(offers.countries))

    def log_probabilities_of(
        self, titles: TransferTitles, progress: Progress, ngram_scores: Floats | None = None
    ) -> Floats:
        """The same for titles that are nobody's offer."""
        scores = self._scores(titles.texts, titles.countries, progress, ngram_scores)
        return self.link.log_probabilities(scores, self.lifts.of(titles.countries))

    def embed(self, texts: Sequence[str], countries: Sequence[str], progress: Progress) -> Floats:
        """The texts' embeddings, float32 [n, hidden], with their country's prompt; kept in the cache."""
        return text_features(texts, countries, self.features, self.encoder, self.encoder_settings, progress)

    def _scores(
        self, texts: list[str], countries: list[str], progress: Progress, ngram_scores: Floats | None
    ) -> dict[str, Floats]:
        """What each expert says, [n, classes]."""
        scores: dict[str, Floats] = {}
        for name, expert in self.experts.items():
            if isinstance(expert, EncoderExpert):
                scores[name] = expert.scores(self.embed(texts, countries, progress))
            else:
                scores[name] = expert.scores(texts) if ngram_scores is None else ngram_scores
        return scores


def load_teacher(folder: Path, encoder: EncoderFolder, encoder_settings: EncoderSettings, features: Path) -> Teacher:
    """The teacher in a folder that `train_teacher` wrote. encoder: that it was trained on; where it was tuned, the
    teacher brings its own. features: the cache of encoder features.

    Raises TrainingError where it was trained on another encoder, or on offers that were written differently for it.
    """
    file = folder / TEACHER_FILE
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        classes = json.loads((folder / CLASSES_FILE).read_text(encoding="utf-8"))
        lifts = Lifts.load(folder)
    except FileNotFoundError as error:
        raise TrainingError(
            "this folder holds no teacher that this version can read",
            value=str(folder),
            fix="materialize teacher_model first",
        ) from error
    if description["encoder"]["version"] != encoder.version:
        raise TrainingError(
            "the teacher was trained on another encoder",
            value=f"{encoder.reference} {encoder.version}",
            allowed=f"{description['encoder']['reference']} {description['encoder']['version']}",
            fix="give that encoder, or train the teacher again",
        )
    for name in TEXT_SETTINGS:
        trained, given = description["encoder_settings"][name], encoder_settings.model_dump(mode="json")[name]
        if trained != given:
            raise TrainingError(
                "the teacher was trained on offers that were written otherwise",
                value=f"encoder.{name}: {given!r}",
                allowed=repr(trained),
                fix="put the setting back, or train the teacher again",
            )
    if (folder / ENCODER_FOLDER).is_dir():
        encoder = describe_folder(f"{encoder.reference}, fine-tuned", folder / ENCODER_FOLDER, encoder.cache)
    training, report = _load_training(folder), description["report"]
    loaders: dict[str, Any] = {ENCODER: EncoderExpert.load, NGRAMS: NgramExpert.load}
    experts = {name: loaders[name](folder) for name in description["link"]["shares"]}
    return Teacher(
        classes=tuple(classes),
        version=content_version(
            {str(part.relative_to(folder)): file_sha256(part) for part in sorted(folder.rglob("*.safetensors"))}
        ),
        encoder=encoder,
        encoder_settings=encoder_settings,
        features=FeatureCache(features, encoder, encoder_settings),
        experts=experts,
        link=Link(**description["link"]),
        lifts=lifts,
        training=training,
        offers_read=report["training_offers"] + report["unlabelled_offers"],
        scores=report["scores"],
    )


def offer_features(
    offers: Offers, cache: FeatureCache, encoder: EncoderFolder, settings: EncoderSettings, progress: Progress
) -> Floats:
    """The offers' embeddings, float32 [n, hidden], with their country's prompt."""
    return text_features(offers.texts, offers.countries, cache, encoder, settings, progress)


def text_features(
    texts: Sequence[str],
    countries: Sequence[str],
    cache: FeatureCache,
    encoder: EncoderFolder,
    settings: EncoderSettings,
    progress: Progress,
) -> Floats:
    """The same for texts of these countries."""
    return cache.features(prompted(texts, encoder.family, settings, countries), progress)


def save_training(folder: Path, training: TrainingOffers) -> None:
    from safetensors.numpy import save_file

    leverage = {f"leverage_{name}": values for name, values in training.leverage.items()}
    save_file({"keys": training.keys, "labels": training.labels, **leverage}, folder / TRAINING_FILE)
    (folder / TRAINING_FILE).chmod(0o644)
    if training.folds is not None:
        training.folds.save(folder)


def _load_training(folder: Path) -> TrainingOffers:
    from safetensors.numpy import load_file

    arrays = load_file(folder / TRAINING_FILE)
    leverage = {name.removeprefix("leverage_"): array for name, array in arrays.items() if name.startswith("leverage_")}
    return TrainingOffers(arrays["keys"], arrays["labels"], leverage, Folds.load(folder))


def labels_as_classes(labels: Sequence[str | None], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each label's class; -1 for none and for categories that are not a class."""
    position = {category: index for index, category in enumerate(classes)}
    return np.array([-1 if label is None else position.get(label, -1) for label in labels], np.int64)
