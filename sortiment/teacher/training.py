"""Training a teacher on the labelled training offers of all partitions, and on what their categories are called.

Each expert is fitted in closed form, the link that joins them on the validation offers; both splits that the experts
did not see are scored. A category without training offers cannot be taught: it is left out, and reported.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.blobs import write_atomically
from sortiment.encoders import EncoderFolder, FeatureCache, prompted
from sortiment.errors import TrainingError
from sortiment.evaluation import calibration_error, score
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, EvaluationSettings, TeacherSettings
from sortiment.teacher.combining import MIN_OFFERS, Link, fit_link_with_names, lift_classes
from sortiment.teacher.encoder_expert import EncoderExpert, fit_encoder_expert
from sortiment.teacher.names import CategoryNames, NameFeatures, NameTexts, write_names
from sortiment.teacher.ngram_expert import NgramExpert, fit_ngram_expert
from sortiment.teacher.offers import TEST, TRAIN, VALIDATION, Offers, read_offers
from sortiment.teacher.ridge import Floats, Ints, class_weights, leave_one_out
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
class TeacherReport:
    """What was trained and how good it is.

    classes: taught. untaught: categories that occur in the samples and have no training offer: the teacher cannot
    name them. single_offer_classes: taught from one offer. suspect_offers: trained on with less weight. link: from
    scores to probabilities, fitted on the split `linked_on`. names: how strongly each expert takes what the categories'
    names add; empty where they did not help, or were not given. scores: split (validation, test) to model (teacher and
    each expert alone) to `{offers, accuracy, macro_f1, ...}`; offers of an untaught category count as wrong.
    calibration_error: of the teacher on the test offers.
    """

    training_offers: int
    classes: int
    untaught: tuple[str, ...]
    single_offer_classes: int
    suspect_offers: int
    link: Link
    linked_on: str
    names: dict[str, float]
    scores: dict[str, dict[str, dict[str, Any]]]
    calibration_error: float | None

    def summary(self) -> dict[str, Any]:
        """The report as JSON."""
        return {**asdict(self), "untaught": list(self.untaught)}


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
    Raises TrainingError for fewer than two categories with training offers.
    """
    offers = read_offers(samples, encoder_settings.inputs)
    offers = offers.take(np.flatnonzero([label is not None for label in offers.labels]))
    classes, untaught = _classes(offers)
    labels = labels_as_classes(offers.labels, classes)
    named = write_names(names or {}, classes, settings.name_landmarks, settings.name_regularization)
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
    held_out = np.flatnonzero(offers.split != TRAIN)
    scores = _score(experts, offers, vectors, held_out)
    together = link.log_probabilities(scores, lift)
    report = _report(
        offers.take(held_out),
        labels[held_out],
        labels[train],
        offers.training_weight[train],
        classes,
        untaught,
        scores,
        together,
        link,
        strengths,
        linked_on,
    )
    training = TrainingOffers(offers.keys[train], labels[train], fitted.leverage)
    _save(out, experts, training, classes, report, encoder, encoder_settings, settings)
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
            names=names,
            **shared,
        )
    else:
        assert not isinstance(names, NameFeatures)
        texts = [labelled.texts[row] for row in train]
        expert, fit, added = fit_ngram_expert(
            texts, labels[train], classes, weights, regularization=settings.ngram_regularization, names=names, **shared
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


def _report(
    held_out: Offers,
    labels: Ints,
    taught: Ints,
    training_weight: Floats,
    classes: tuple[str, ...],
    untaught: tuple[str, ...],
    scores: Mapping[str, Floats],
    together: Floats,
    link: Link,
    strengths: Mapping[str, float],
    linked_on: str,
) -> TeacherReport:
    """labels, scores, together: of the held-out offers. taught, training_weight: classes and weights of the others."""
    split_scores: dict[str, dict[str, dict[str, Any]]] = {}
    for split in (VALIDATION, TEST):
        rows = np.flatnonzero(held_out.split == split)
        if len(rows):
            truth = [str(held_out.labels[row]) for row in rows]
            split_scores[split] = {
                name: score(truth, np.array(classes)[answers[rows].argmax(1)], {}, EvaluationSettings())["overall"]
                for name, answers in {"teacher": together, **scores}.items()
            }
    counts = np.bincount(taught, minlength=len(classes))
    test = np.flatnonzero(held_out.split == TEST)
    return TeacherReport(
        training_offers=len(taught),
        classes=len(classes),
        untaught=untaught,
        single_offer_classes=int((counts == 1).sum()),
        suspect_offers=int((training_weight < 1.0).sum()),
        link=link,
        linked_on=linked_on,
        names=dict(strengths),
        scores=split_scores,
        calibration_error=(
            calibration_error(np.exp(together[test].max(1)), together[test].argmax(1) == labels[test])
            if len(test)
            else None
        ),
    )


def _save(
    out: Path,
    experts: Mapping[str, EncoderExpert | NgramExpert],
    training: TrainingOffers,
    classes: tuple[str, ...],
    report: TeacherReport,
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for expert in experts.values():
        expert.save(out)
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
