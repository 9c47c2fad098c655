"""Training a teacher on the labelled training offers of all partitions, and on what their categories are called.

Each expert is fitted in closed form, the link that joins them on the validation offers; both splits that the experts
did not see are scored. A category without training offers cannot be taught: it is left out, and reported.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.blobs import write_atomically
from sortiment.encoders import EncoderFolder, FeatureCache, prompted
from sortiment.errors import TrainingError
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, TeacherSettings
from sortiment.teacher.combining import MIN_OFFERS, Link, fit_link_with_names, lift_classes
from sortiment.teacher.encoder_expert import EncoderExpert, fit_encoder_expert
from sortiment.teacher.names import CategoryNames, NameFeatures, NameTexts, write_names
from sortiment.teacher.ngram_expert import NgramExpert, fit_ngram_expert
from sortiment.teacher.offers import TEST, TRAIN, VALIDATION, Offers, read_offers
from sortiment.teacher.report import TeacherReport, report_training
from sortiment.teacher.ridge import Floats, Ints, class_weights, leave_one_out
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

LEAST_WEIGHT = 0.01  # an offer of no weight would make the equations singular


@dataclass(frozen=True)
class _Fitted:
    """By expert. added: what the categories' names add to it."""

    experts: dict[str, EncoderExpert | NgramExpert]
    leverage: dict[str, Floats]
    added: dict[str, EncoderExpert | NgramExpert]


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
    embedded is not embedded again. names: each category's paths; what they say helps most where offers are few.
    Raises TrainingError for fewer than two categories with training offers, and where no labelled offer is left to
    test on: nothing that follows could be judged, so it is said before hours are spent on it.
    """
    offers = read_offers(samples, encoder_settings.inputs)
    has_label = np.array([label is not None for label in offers.labels], bool)
    unlabelled = offers.take(np.flatnonzero(~has_label & (offers.split == TRAIN)))
    offers = offers.take(np.flatnonzero(has_label))
    classes, untaught = _classes(offers)
    labels = labels_as_classes(offers.labels, classes)
    named = write_names(names or {}, classes, settings.name_landmarks)
    vectors = name_vectors = None
    if ENCODER in settings.experts:
        cache = FeatureCache(features, encoder, encoder_settings)
        vectors = offer_features(offers, cache, encoder, encoder_settings, progress)
        if named is not None:
            texts = prompted(named.texts, encoder.family, encoder_settings)
            name_vectors = named.with_vectors(cache.features(texts, progress))

    train = np.flatnonzero(offers.split == TRAIN)
    train = train[np.argsort(offers.keys[train], kind="stable")]
    fitted = _Fitted({}, {}, {})
    with progress("fit the teacher", total=len(settings.experts), unit="experts") as step:
        for kind in settings.experts:
            known = name_vectors if kind == ENCODER else named
            _fit_expert(kind, fitted, offers, vectors, labels, train, len(classes), settings, known)
            step.advance(note=kind)
    lift = lift_classes(labels[train], len(classes), settings.tail_emphasis)
    link, strengths, linked_on = _fit_link(fitted, offers, vectors, labels, train, lift)
    experts = _join_names(fitted, strengths)

    def embed(some: Offers) -> Floats | None:
        return None if vectors is None else offer_features(some, cache, encoder, encoder_settings, progress)

    answering = _Answering(experts, link, lift)
    lifts = answering.learn_lifts(offers, vectors, labels, train, fitted.leverage, unlabelled, embed, settings)
    held_out = np.flatnonzero(offers.split != TRAIN)
    scores = _score(experts, offers, vectors, held_out)
    report = report_training(
        offers.take(held_out),
        labels[held_out],
        labels[train],
        offers.training_weight[train],
        classes,
        untaught,
        scores,
        link.log_probabilities(scores, lifts.of([offers.countries[row] for row in held_out])),
        link,
        strengths,
        linked_on,
        len(unlabelled),
        sorted(lifts.of_country),
    )
    training = TrainingOffers(offers.keys[train], labels[train], fitted.leverage)
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


def _fit_expert(
    name: str,
    fitted: _Fitted,
    labelled: Offers,
    features: Floats | None,
    labels: Ints,
    train: Ints,
    classes: int,
    settings: TeacherSettings,
    names: NameTexts | NameFeatures | None,
) -> None:
    weights = class_weights(labels[train], classes, settings.class_balance)
    weights = np.maximum(weights * labelled.training_weight[train], np.float32(LEAST_WEIGHT))
    shared: dict[str, Any] = {
        "exact_offers": settings.exact_offers,
        "landmarks": settings.landmarks,
        "seed": settings.seed,
        "names": names,
        "name_regularization": settings.name_regularization,
    }
    expert: EncoderExpert | NgramExpert
    added: EncoderExpert | NgramExpert | None
    if name == ENCODER:
        assert features is not None and not isinstance(names, NameTexts)
        expert, fit, added = fit_encoder_expert(
            features[train],
            labels[train],
            classes,
            weights,
            regularization=settings.encoder_regularization,
            width=settings.encoder_kernel_width,
            **shared,
        )
    else:
        assert not isinstance(names, NameFeatures)
        texts = [labelled.texts[row] for row in train]
        expert, fit, added = fit_ngram_expert(
            texts, labels[train], classes, weights, regularization=settings.ngram_regularization, **shared
        )
    fitted.experts[name] = expert
    fitted.leverage[name] = fit.leverage
    if added is not None:
        fitted.added[name] = added


def _fit_link(
    fitted: _Fitted, labelled: Offers, features: Floats | None, labels: Ints, train: Ints, lift: Floats
) -> tuple[Link, dict[str, float], str]:
    """Fitted on validation offers; where these are few, also on left-out training offers."""
    rows = np.flatnonzero((labelled.split == VALIDATION) & (labels >= 0))
    scores, added = (_score(each, labelled, features, rows) for each in (fitted.experts, fitted.added))
    if len(rows) >= MIN_OFFERS:
        return *fit_link_with_names(scores, added, labels[rows], lift), VALIDATION
    own, more = (_score(each, labelled, features, train) for each in (fitted.experts, fitted.added))
    for name, left_out in own.items():
        leave_one_out(left_out, labels[train], fitted.leverage[name])
        scores[name] = np.concatenate([scores[name], left_out])
    for name, extra in more.items():
        added[name] = np.concatenate([added[name], extra / (1.0 - fitted.leverage[name])[:, None]])
    both = labels[np.concatenate([rows, train])]
    return *fit_link_with_names(scores, added, both, lift), f"{VALIDATION} and left-out {TRAIN}"


def _score(
    experts: Mapping[str, EncoderExpert | NgramExpert], offers: Offers, features: Floats | None, rows: Ints
) -> dict[str, Floats]:
    """Each expert's scores of some offers, [rows, classes]."""
    scores: dict[str, Floats] = {}
    for name, expert in experts.items():
        if isinstance(expert, EncoderExpert):
            assert features is not None
            scores[name] = expert.scores(features[rows])
        else:
            scores[name] = expert.scores([offers.texts[row] for row in rows])
    return scores


def _join_names(fitted: _Fitted, strengths: Mapping[str, float]) -> dict[str, EncoderExpert | NgramExpert]:
    """Each expert with as much of its names as the link gives it."""
    experts = dict(fitted.experts)
    for name, strength in strengths.items():
        experts[name] = experts[name].joined(fitted.added[name], strength)  # type: ignore[arg-type]
    return experts


@dataclass(frozen=True)
class _Answering:
    """The teacher as far as it is: lift as the link was fitted with."""

    experts: Mapping[str, EncoderExpert | NgramExpert]
    link: Link
    lift: Floats

    def learn_lifts(
        self,
        labelled: Offers,
        features: Floats | None,
        labels: Ints,
        train: Ints,
        leverage: Mapping[str, Floats],
        unlabelled: Offers,
        embed: Callable[[Offers], Floats | None],
        settings: TeacherSettings,
    ) -> Lifts:
        """How much likelier classes are than among the labels (`shares`). leverage: of the offers `train`."""
        groups = group_offers(unlabelled.countries, {labelled.countries[row] for row in train})
        if not groups or not settings.share_offers:
            return Lifts(self.lift, {})
        some = spread_evenly(len(train), settings.share_offers)
        scores = _score(self.experts, labelled, features, train[some])
        for name, own in scores.items():
            leave_one_out(own, labels[train[some]], leverage[name][some])
        expected = self._mean(scores, len(train))
        seen: dict[str, Shares] = {}
        for name, rows in groups.items():
            offers = unlabelled.take(rows[spread_evenly(len(rows), settings.share_offers)])
            scores = _score(self.experts, offers, embed(offers), np.arange(len(offers)))
            seen[name] = self._mean(scores, len(rows))
        return correct_lifts(self.lift, expected, seen)

    def _mean(self, scores: Mapping[str, Floats], of: int) -> Shares:
        answers = self.link.log_probabilities(scores, self.lift)
        return Shares(np.exp(answers).mean(0, dtype=np.float64), len(answers), of)


def _save(
    out: Path,
    experts: Mapping[str, EncoderExpert | NgramExpert],
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
    write_atomically(out / TEACHER_FILE, _json(description))


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
