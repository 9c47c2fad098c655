"""Asking an engine about many offers: equal texts once, everything else in the order it came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sortiment.encoders import offer_texts
from sortiment.taxonomy import load_taxonomy

NO_CLASS = -1


class Answers(Protocol):
    """What an engine answers, one entry per text: class index, calibrated confidence, lead over the second class."""

    @property
    def index(self) -> npt.NDArray[np.int32]: ...
    @property
    def confidence(self) -> npt.NDArray[np.float32]: ...
    @property
    def margin(self) -> npt.NDArray[np.float32]: ...


class Classifier(Protocol):
    """What is needed of `sortiment.engines.Engine`."""

    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def inputs(self) -> Sequence[str]:
        """The offer columns that make a text, as the model was trained."""

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> Answers: ...


@dataclass(frozen=True)
class Answered:
    """One entry per offer. `index` is NO_CLASS and the numbers NaN where there was no text to classify.

    asked: texts that the engine computed; the other offers had the same text and country as one of them.
    """

    index: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    asked: int


@dataclass(frozen=True)
class ClassNames:
    """Per class index of an engine: category id, department, path; the last two None where the tree lacks the id."""

    ids: tuple[str, ...]
    departments: tuple[str | None, ...]
    paths: tuple[tuple[str, ...] | None, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Categories that the model knows and the tree no longer has."""
        return tuple(name for name, path in zip(self.ids, self.paths, strict=True) if path is None)


def name_classes(classes: Sequence[str], taxonomy: Path) -> ClassNames:
    """Look an engine's classes up in the taxonomy artifact's folder."""
    by_id = load_taxonomy(taxonomy).by_id
    found = [by_id.get(name) for name in classes]
    return ClassNames(
        ids=tuple(classes),
        departments=tuple(None if category is None else category.department for category in found),
        paths=tuple(None if category is None else tuple(category.path) for category in found),
    )


def answer_offers(
    engine: Classifier,
    columns: Mapping[str, Sequence[str | None]],
    countries: Sequence[str] | None,
) -> Answered:
    """Classify offers given as columns, the engine's `inputs` among them. `countries`: one per offer."""
    texts = offer_texts(columns, engine.inputs)
    keys = list(zip(texts, countries, strict=True)) if countries is not None else [(text, "") for text in texts]
    places: dict[tuple[str, str], int] = {}
    for key in keys:
        if key[0].strip():
            places.setdefault(key, len(places))
    index = np.full(len(keys), NO_CLASS, np.int32)
    confidence = np.full(len(keys), np.nan, np.float32)
    margin = np.full(len(keys), np.nan, np.float32)
    if places:
        answers = engine.classify(
            [text for text, _ in places], [country for _, country in places] if countries is not None else None
        )
        place = np.array([places.get(key, NO_CLASS) for key in keys], np.int64)
        asked = place != NO_CLASS
        index[asked] = answers.index[place[asked]]
        confidence[asked] = answers.confidence[place[asked]]
        margin[asked] = answers.margin[place[asked]]
    return Answered(index, confidence, margin, len(places))
