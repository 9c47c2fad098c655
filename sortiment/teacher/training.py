"""Training a teacher on the labelled training offers of all partitions, and on what their categories are called.

Where the settings ask for it, the encoder is tuned first. Each expert is fitted in closed form, the link that joins
them on the validation offers; both splits that the experts did not see are scored. A category without training offers
cannot be taught: it is left out, and reported; so are training offers that repeat another country's test.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.blobs import write_atomically
from sortiment.encoders import EncoderFolder, FeatureCache, prompted
from sortiment.errors import TrainingError
from sortiment.progress import Progress, silent
from sortiment.sampling import find_repeats_abroad
from sortiment.settings import EncoderSettings, TeacherSettings
from sortiment.teacher.combining import Link, lift_classes
from sortiment.teacher.encoder_expert import split_offers
from sortiment.teacher.fitting import (
    LEAST_WEIGHT,
    Experts,
    fit_experts,
    fit_experts_link,
    join_names,
    refuse_large_kernels,
    score_offers,
)
from sortiment.teacher.names import CategoryNames, NameTexts, write_names
from sortiment.teacher.offers import TEST, TRAIN, Offers, read_offers
from sortiment.teacher.report import TEACHER, Judged, TeacherReport, report_training
from sortiment.teacher.ridge import Floats, Ints
from sortiment.teacher.shares import Lifts, Shares, correct_lifts, group_offers, spread_evenly
from sortiment.teacher.teacher import (
    CLASSES_FILE,
    ENCODER,
    TEACHER_FILE,
    TrainingOffers,
    labels_as_classes,
    offer_features,
    save_training,
)
from sortiment.teacher.tuning import WORK, Tuned, TuningOffers, tune_encoder
from sortiment.teacher.tuning.dealing import departments_of


def train_teacher(
    samples: Mapping[str, Path],
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
    out: Path,
    features: Path,
    progress: Progress = silent,
    names: CategoryNames | None = None,
) -> TeacherReport:
    """Fit the teacher and write it to `out`.

    samples: partition key to its sample (file or folder). features: the cache of encoder features: what a killed run
    embedded is not embedded again; a tuning that was killed goes on in `out` from its last whole epoch. names: each
    category's paths; what they say helps most where offers are few.
    Raises TrainingError for fewer than two categories with training offers, and where no labelled offer is left to
    test on: nothing that follows could be judged, so it is said before hours are spent on it; where categories are so
    many that the equations would not fit into memory; and what `tune_encoder` raises.
    """
    repeats = find_repeats_abroad(samples)
    offers = read_offers(samples, encoder_settings.inputs, repeats)
    has_label = np.array([label is not None for label in offers.labels], bool)
    unlabelled = offers.take(np.flatnonzero(~has_label & (offers.split == TRAIN)))
    offers = offers.take(np.flatnonzero(has_label))
    classes, untaught = _classes(offers)
    labels = labels_as_classes(offers.labels, classes)
    named = write_names(names or {}, classes, settings.name_landmarks)
    train = np.flatnonzero(offers.split == TRAIN)
    train = train[np.argsort(offers.keys[train], kind="stable")]
    refuse_large_kernels(labels[train], named, settings)
    vectors = name_vectors = tuned = None
    if ENCODER in settings.experts:
        if settings.fine_tuning != "none":
            departments = departments_of(names or {}, classes)
            tuned = _tune(
                encoder, encoder_settings, settings, offers, labels, train, departments, named, out, features, progress
            )
        used = encoder if tuned is None else tuned.encoder
        cache = FeatureCache(features, used, encoder_settings)
        vectors = offer_features(offers, cache, used, encoder_settings, progress)
        if named is not None:
            texts = prompted(named.texts, used.family, encoder_settings)
            name_vectors = named.with_vectors(cache.features(texts, progress))
    fitted = fit_experts(offers, vectors, labels, train, len(classes), settings, named, name_vectors, tuned, progress)
    training = TrainingOffers(offers.keys[train], labels[train], fitted.leverage, fitted.folds)
    lift = lift_classes(labels[train], len(classes), settings.tail_emphasis)
    link, strengths, linked_on = fit_experts_link(fitted, training, offers, vectors, labels, train, lift)
    experts, training = join_names(fitted, strengths), training.with_names(strengths)

    def embed(some: Offers) -> Floats | None:
        return None if vectors is None else offer_features(some, cache, used, encoder_settings, progress)

    answering = _Answering(experts, link, lift)
    lifts = answering.learn_lifts(offers, vectors, train, training, unlabelled, embed, settings)
    held_out = np.flatnonzero(offers.split != TRAIN)
    report = report_training(
        offers.take(held_out),
        labels[held_out],
        labels[train],
        offers.training_weight[train],
        classes,
        untaught,
        answering.judge(offers, vectors, held_out, lifts),
        link,
        strengths,
        linked_on,
        len(unlabelled),
        sorted(lifts.of_country),
        None if tuned is None else tuned.facts,
        repeats,
    )
    _save(out, experts, training, lifts, classes, report, encoder, encoder_settings, settings)
    return report


def _classes(labelled: Offers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Categories with a training offer, sorted, and labelled ones without."""
    every = {str(label) for label in labelled.labels}
    taught = {str(label) for label, split in zip(labelled.labels, labelled.split, strict=True) if split == TRAIN}
    if len(taught) < 2:
        raise TrainingError(
            "a teacher needs labelled training offers of two categories or more",
            value=sorted(taught),
            fix="give labelled offers: map `category` in the feed specs; or draw a larger sample",
        )
    if TEST not in labelled.split:
        raise TrainingError(
            "no labelled offer is in the test split",
            value=f"{len(labelled.split)} labelled offers of {len(every)} categories in the sample",
            allowed="a market with categories of several offers that differ in their titles",
            fix="give more labelled offers of the same categories (one that has a single offer needs it for training; "
            "offers with nearly the same title stay together), or raise sampling.test_share",
        )
    return tuple(sorted(taught)), tuple(sorted(every - taught))


def _tune(
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
    labelled: Offers,
    labels: Ints,
    train: Ints,
    departments: Ints,
    named: NameTexts | None,
    out: Path,
    features: Path,
    progress: Progress,
) -> Tuned:
    """The encoder, tuned on the training offers; its head begins on what the untuned one makes of them."""
    some = labelled.take(train)
    cache = FeatureCache(features, encoder, encoder_settings)
    offers = TuningOffers(
        texts=prompted(some.texts, encoder.family, encoder_settings, some.countries),
        vectors=offer_features(some, cache, encoder, encoder_settings, progress),
        labels=labels[train],
        weights=np.maximum(some.training_weight, np.float32(LEAST_WEIGHT)),
        classes=len(departments),
        departments=departments,
        names=() if named is None else prompted(named.texts, encoder.family, encoder_settings),
    )
    return tune_encoder(encoder, encoder_settings, settings, offers, out, progress)


@dataclass(frozen=True)
class _Answering:
    """The teacher as far as it is: lift as the link was fitted with."""

    experts: Experts
    link: Link
    lift: Floats

    def learn_lifts(
        self,
        labelled: Offers,
        features: Floats | None,
        train: Ints,
        training: TrainingOffers,
        unlabelled: Offers,
        embed: Callable[[Offers], Floats | None],
        settings: TeacherSettings,
    ) -> Lifts:
        """How much likelier classes are than among the labels (`shares`). train: rows of the training offers."""
        groups = group_offers(unlabelled.countries, {labelled.countries[row] for row in train})
        if not groups or not settings.share_offers:
            return Lifts(self.lift, {})
        some = spread_evenly(len(train), settings.share_offers)
        scores = score_offers(self.experts, labelled, features, train[some])
        scores = {name: training.unseen(name, seen, some) for name, seen in scores.items()}
        expected = self._mean(scores, len(train))
        seen: dict[str, Shares] = {}
        for name, rows in groups.items():
            offers = unlabelled.take(rows[spread_evenly(len(rows), settings.share_offers)])
            scores = score_offers(self.experts, offers, embed(offers), np.arange(len(offers)))
            seen[name] = self._mean(scores, len(rows))
        return correct_lifts(self.lift, expected, seen)

    def judge(self, labelled: Offers, features: Floats | None, rows: Ints, lifts: Lifts) -> Judged:
        """Some offers' best classes, a part of the offers at a time."""
        best = {name: np.zeros(len(rows), np.int64) for name in (TEACHER, *self.experts)}
        confidence = np.zeros(len(rows), np.float32)
        for part in split_offers(len(rows), len(self.lift)):
            scores = score_offers(self.experts, labelled, features, rows[part])
            lift = lifts.of([labelled.countries[row] for row in rows[part]])
            answers = self.link.log_probabilities(scores, lift)
            for name, each in {TEACHER: answers, **scores}.items():
                best[name][part] = each.argmax(1)
            confidence[part] = answers.max(1)
        return Judged(best, confidence)

    def _mean(self, scores: Mapping[str, Floats], of: int) -> Shares:
        answers = self.link.log_probabilities(scores, self.lift)
        return Shares(np.exp(answers).mean(0, dtype=np.float64), len(answers), of)


def _save(
    out: Path,
    experts: Experts,
    training: TrainingOffers,
    lifts: Lifts,
    classes: tuple[str, ...],
    report: TeacherReport,
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for expert in experts.values():
        expert.save(out)
    lifts.save(out)
    save_training(out, training)
    write_atomically(out / CLASSES_FILE, _json(list(classes)))
    description = {
        "encoder": {"reference": encoder.reference, "version": encoder.version, "family": encoder.family},
        "encoder_settings": encoder_settings.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "link": asdict(report.link),
        "report": report.summary(),
    }
    shutil.rmtree(out / WORK, ignore_errors=True)
    write_atomically(out / TEACHER_FILE, _json(description))  # last: its presence says that the teacher is finished


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
