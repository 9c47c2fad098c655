"""Fitting the teacher's experts on the labelled training offers, each in closed form, and the link that joins them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sortiment.progress import Progress
from sortiment.settings import TeacherSettings
from sortiment.teacher.combining import MIN_OFFERS, Link, fit_link_with_names, rows_to_fit
from sortiment.teacher.encoder_expert import EncoderExpert, fit_encoder_expert
from sortiment.teacher.folds import Folds, fit_folds
from sortiment.teacher.names import NameFeatures, NameTexts
from sortiment.teacher.ngram_expert import NgramExpert, fit_ngram_expert
from sortiment.teacher.offers import TRAIN, VALIDATION, Offers
from sortiment.teacher.ridge import (
    BYTES_EXACT,
    BYTES_ON_LANDMARKS,
    Floats,
    Ints,
    class_weights,
    landmarks_per_class,
    refuse_large_kernel,
)
from sortiment.teacher.teacher import ENCODER, TrainingOffers
from sortiment.teacher.tuning import Tuned

LEAST_WEIGHT = 0.01  # an offer of no weight would make the equations singular
Experts = Mapping[str, EncoderExpert | NgramExpert]


@dataclass(frozen=True)
class Fitted:
    """By expert. leverage: of the training offers; a tuned encoder has folds instead. added: what the categories'
    names add to it."""

    experts: dict[str, EncoderExpert | NgramExpert]
    leverage: dict[str, Floats]
    added: dict[str, EncoderExpert | NgramExpert]
    folds: Folds | None


def refuse_large_kernels(labels: Ints, named: NameTexts | None, settings: TeacherSettings) -> None:
    """Raises TrainingError where categories are so many that what they ask for does not fit into memory, whatever the
    settings' other limits. labels: of the training offers."""
    if len(labels) > settings.exact_offers:
        count = int(landmarks_per_class(labels, settings.landmarks).sum())
        fix = "lower teacher.landmarks, or train on fewer categories: each has two landmarks or more"
        refuse_large_kernel(count, "landmarks", BYTES_ON_LANDMARKS, settings.kernel_mb, fix)
    if named is not None:
        fix = "lower teacher.name_landmarks, or train on fewer categories: each has a name"
        refuse_large_kernel(len(named.classes), "category names", BYTES_EXACT, settings.kernel_mb, fix)


def fit_experts(
    labelled: Offers,
    features: Floats | None,
    labels: Ints,
    train: Ints,
    classes: int,
    settings: TeacherSettings,
    named: NameTexts | None,
    name_features: NameFeatures | None,
    tuned: Tuned | None,
    progress: Progress,
) -> Fitted:
    """features: of all labelled offers, [n, hidden]. train: the rows to fit on. named: texts of the classes' names,
    name_features: the same as the encoder sees them. tuned: where the encoder was tuned on these offers."""
    fitted = Fitted({}, {}, {}, None)
    weights = class_weights(labels[train], classes, settings.class_balance)
    weights = np.maximum(weights * labelled.training_weight[train], np.float32(LEAST_WEIGHT))
    shared: dict[str, Any] = {
        "exact_offers": settings.exact_offers,
        "landmarks": settings.landmarks,
        "seed": settings.seed,
        "name_regularization": settings.name_regularization,
    }
    by_meaning = {"regularization": settings.encoder_regularization, "width": settings.encoder_kernel_width, **shared}
    own = labels[train]
    folds: Folds | None = None
    with progress("fit the teacher", total=len(settings.experts), unit="experts") as step:
        for kind in settings.experts:
            expert: EncoderExpert | NgramExpert
            added: EncoderExpert | NgramExpert | None
            if kind == ENCODER:
                assert features is not None
                expert, fit, added = fit_encoder_expert(
                    features[train], own, classes, weights, names=name_features, **by_meaning
                )
            else:
                texts = [labelled.texts[row] for row in train]
                regularization = settings.ngram_regularization
                expert, fit, added = fit_ngram_expert(
                    texts, own, classes, weights, names=named, regularization=regularization, **shared
                )
            fitted.experts[kind] = expert
            if added is not None:
                fitted.added[kind] = added
            if kind == ENCODER and tuned is not None:

                def fit_fold(
                    some: Floats, at: Ints, names: NameFeatures | None
                ) -> tuple[EncoderExpert, EncoderExpert | None]:
                    expert, _, added = fit_encoder_expert(
                        some, own[at], classes, weights[at], names=names, **by_meaning
                    )
                    return expert, added

                folds = fit_folds(tuned.fold, tuned.features, named, tuned.names, fit_fold)
            else:
                fitted.leverage[kind] = fit.leverage
            step.advance(note=kind)
    return Fitted(fitted.experts, fitted.leverage, fitted.added, folds)


def fit_experts_link(
    fitted: Fitted,
    training: TrainingOffers,
    labelled: Offers,
    features: Floats | None,
    labels: Ints,
    train: Ints,
    lift: Floats,
) -> tuple[Link, dict[str, float], str]:
    """Fitted on validation offers; where these are few, also on training offers as if not seen. Also: how strongly
    each expert takes its names, and on what the link was fitted."""
    rows = np.flatnonzero((labelled.split == VALIDATION) & (labels >= 0))
    classes = len(lift)
    if len(rows) >= MIN_OFFERS:
        rows = rows[rows_to_fit(len(rows), classes)]
        scores, added = (score_offers(each, labelled, features, rows) for each in (fitted.experts, fitted.added))
        return *fit_link_with_names(scores, added, labels[rows], lift), VALIDATION
    chosen = rows_to_fit(len(rows) + len(train), classes)
    rows, seen = rows[chosen[chosen < len(rows)]], chosen[chosen >= len(rows)] - len(rows)
    both = labels[np.concatenate([rows, train[seen]])]
    scores, added = (score_offers(each, labelled, features, rows) for each in (fitted.experts, fitted.added))
    own, more = (score_offers(each, labelled, features, train[seen]) for each in (fitted.experts, fitted.added))
    for name, some in own.items():
        scores[name] = np.concatenate([scores[name], training.unseen(name, some, seen)])
    for name, some in more.items():
        added[name] = np.concatenate([added[name], training.unseen_added(name, some, seen)])
    return *fit_link_with_names(scores, added, both, lift), f"{VALIDATION} and left-out {TRAIN}"


def score_offers(experts: Experts, offers: Offers, features: Floats | None, rows: Ints) -> dict[str, Floats]:
    """Each expert's scores of some offers, [rows, classes]."""
    scores: dict[str, Floats] = {}
    for name, expert in experts.items():
        if isinstance(expert, EncoderExpert):
            assert features is not None
            scores[name] = expert.scores(features[rows])
        else:
            scores[name] = expert.scores([offers.texts[row] for row in rows])
    return scores


def join_names(fitted: Fitted, strengths: Mapping[str, float]) -> dict[str, EncoderExpert | NgramExpert]:
    """Each expert with as much of its names as the link gives it."""
    experts = dict(fitted.experts)
    for name, strength in strengths.items():
        experts[name] = experts[name].joined(fitted.added[name], strength)  # type: ignore[arg-type]
    return experts
