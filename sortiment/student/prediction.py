"""What every classifier answers, whichever model is behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classification:
    """One row per text.

    index: (offers,) int32 into the classifier's classes. confidence: (offers,) float32, the calibrated probability
    of that class. top_index, top_probability: (offers, k), best first.
    """

    top_index: npt.NDArray[np.int32]
    top_probability: Floats

    @property
    def index(self) -> npt.NDArray[np.int32]:
        return self.top_index[:, 0]

    @property
    def confidence(self) -> Floats:
        return self.top_probability[:, 0]


class Classifier(Protocol):
    """Puts texts into classes. Texts are written by `sortiment.encoders.offer_texts` with the model's `inputs`."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def inputs(self) -> Sequence[str]: ...

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None, batch: int = 64) -> Classification:
        """`countries`: one per text, for that country's temperature; without them the default temperature holds."""


def rank_top(probability: Floats, top_k: int) -> Classification:
    """The best `top_k` columns of each row, best first; of equal ones the lower index first."""
    import torch

    top_k = min(top_k, probability.shape[1])
    if top_k == probability.shape[1]:
        return Classification(*_sort_all(probability))
    found = torch.topk(torch.from_numpy(probability), top_k + 1)
    values, index = found.values.numpy(), found.indices.numpy().astype(np.int32)
    tied = np.flatnonzero((values[:, :-1] == values[:, 1:]).any(1))  # which of these comes first, torch leaves open
    top, shares = index[:, :top_k].copy(), values[:, :top_k].copy()
    if tied.size:
        order, sorted_shares = _sort_all(probability[tied])
        top[tied], shares[tied] = order[:, :top_k], sorted_shares[:, :top_k]
    return Classification(top, shares)


def _sort_all(probability: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
    order = np.argsort(-probability, axis=1, kind="stable")
    return order.astype(np.int32), np.take_along_axis(probability, order, 1)
