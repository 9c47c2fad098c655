"""What a teacher whose encoder was tuned says of its own training offers: the answers of those who had not seen them.

The body that was tuned without a fold gives embeddings of a space of its own, so each fold has a ridge of its own,
fitted on the other folds' offers there. Kept are the offers' embeddings in their fold's space and these ridges; the
bodies are not: a new offer is the main encoder's business.

    folds.safetensors                        fold of each training offer; its embedding in that fold's space
    folds/N/encoder_expert.safetensors       the ridge of fold N
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.teacher.encoder_expert import EncoderExpert
from sortiment.teacher.names import NameFeatures, NameTexts
from sortiment.teacher.ridge import Floats, Ints

FILE, FOLDER = "folds.safetensors", "folds"
Fit = Callable[[Floats, Ints, NameFeatures | None], tuple[EncoderExpert, EncoderExpert | None]]


@dataclass(frozen=True)
class Folds:
    """fold: of each training offer, by key. features: float32 [n, hidden], each in its own fold's space. experts: by
    fold. added: what the names add to each; empty without names."""

    fold: Ints
    features: Floats
    experts: tuple[EncoderExpert, ...]
    added: tuple[EncoderExpert, ...] = ()

    def scores(self, at: Ints) -> Floats:
        """Of the training offers at some positions, float32 [n, classes]."""
        return self._scores(self.experts, at)

    def added_scores(self, at: Ints) -> Floats:
        """The same of what the names add."""
        return self._scores(self.added, at)

    def joined(self, strength: float) -> "Folds":
        """Experts that hold as much of the names as the main one does."""
        both = zip(self.experts, self.added, strict=True)
        return replace(self, experts=tuple(own.joined(added, strength) for own, added in both), added=())

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"fold": self.fold, "features": self.features.astype(np.float16)}, folder / FILE)
        (folder / FILE).chmod(0o644)
        for number, expert in enumerate(self.experts):
            own = folder / FOLDER / str(number)
            own.mkdir(parents=True, exist_ok=True)
            expert.save(own)

    @classmethod
    def load(cls, folder: Path) -> "Folds | None":
        """None where the encoder was not tuned."""
        from safetensors.numpy import load_file

        if not (folder / FILE).is_file():
            return None
        arrays = load_file(folder / FILE)
        count = len(list((folder / FOLDER).iterdir()))
        experts = tuple(EncoderExpert.load(folder / FOLDER / str(number)) for number in range(count))
        return cls(arrays["fold"], arrays["features"].astype(np.float32), experts)

    def _scores(self, experts: Sequence[EncoderExpert], at: Ints) -> Floats:
        scores = np.empty((len(at), experts[0].coefficients.shape[1]), np.float32)
        for number, expert in enumerate(experts):
            rows = np.flatnonzero(self.fold[at] == number)
            scores[rows] = expert.scores(self.features[at[rows]])
        return scores


def fit_folds(
    fold: Ints,
    features: Sequence[Floats],
    names: NameTexts | None,
    name_vectors: Sequence[npt.NDArray[np.float32]],
    fit: Fit,
) -> Folds:
    """features, name_vectors: by fold, of all training offers and of all names' texts, in that fold's space. fit: an
    expert from features of the offers at some positions."""
    own = np.empty_like(features[0])
    experts, added = [], []
    for number, (offers, texts) in enumerate(zip(features, name_vectors, strict=True)):
        own[fold == number] = offers[fold == number]
        seen = np.flatnonzero(fold != number)
        expert, extra = fit(offers[seen], seen, None if names is None else names.with_vectors(texts))
        experts.append(expert)
        if extra is not None:
            added.append(extra)
    return Folds(fold, own, tuple(experts), tuple(added))
