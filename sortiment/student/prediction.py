"""What every classifier answers, whichever model is behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Classification:
    """One row per text.

    index: (offers,) int32 into the classifier's classes. confidence: (offers,) float32, the calibrated probability
    of that class. top_index, top_probability: (offers, k), best first.
    """

    top_index: npt.NDArray[np.int32]
    top_probability: npt.NDArray[np.float32]

    @property
    def index(self) -> npt.NDArray[np.int32]:
        return self.top_index[:, 0]

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        return self.top_probability[:, 0]


class Classifier(Protocol):
    """Puts texts into classes. Texts are written by `sortiment.encoders.offer_texts` with the model's `inputs`."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def inputs(self) -> Sequence[str]: ...

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None, batch: int = 64) -> Classification:
        """`countries`: one per text, for that country's temperature; without them the default temperature holds."""


def rank_top(probability: npt.NDArray[np.float32], top_k: int) -> Classification:
    """The best `top_k` columns of each row, best first; of equal ones the lower index first."""
    top_k = min(top_k, probability.shape[1])
    if top_k == probability.shape[1]:
        best = np.broadcast_to(np.arange(top_k), probability.shape)
    else:
        best = np.sort(np.argpartition(-probability, top_k - 1, axis=1)[:, :top_k], axis=1)
    values = np.take_along_axis(probability, best, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return Classification(
        np.take_along_axis(best, order, 1).astype(np.int32), np.take_along_axis(values, order, 1).astype(np.float32)
    )
