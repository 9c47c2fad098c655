"""Embedding alignment: while the student learns, its state of an offer is drawn to the encoder's embedding of it.

A soft label says which of the classes a title is like; the embedding says it of every other title too, also where no
class tells two words apart. Embeddings are taken less their mean, without which all of them are alike (e5's have a
cosine of 0.7 and more), and met through a linear map that learns along and is thrown away, so that the head is free to
read what it needs. They come from the feature cache, where the teacher has left them; what is not there is embedded.
The encoder is always `encoder.reference` as it came: a teacher that tunes its own (`teacher.fine_tuning`) leaves other
embeddings, so students embed their texts once more. The categories' names have no part in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sortiment.encoders import FeatureCache, prompted
from sortiment.errors import TrainingError
from sortiment.progress import Progress
from sortiment.student.corpus import Corpus

NOT_ALIGNED = -1
MAP_STREAM = 12  # of random numbers
MAP = "alignment."

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Embeddings:
    """vectors: float16 [texts, hidden], their mean taken off. place: of each corpus row, its row in `vectors`, or
    NOT_ALIGNED. space: what they were computed with, as the cache tells it."""

    vectors: npt.NDArray[np.float16]
    place: Rows
    space: dict[str, Any]


class Alignment(nn.Module):
    """weight: of the distance in the loss. hidden: the student's width. map: [embeddings' width, hidden], at first the
    identity where these are the same."""

    def __init__(self, embeddings: Embeddings, weight: float, hidden: int, seed: int) -> None:
        super().__init__()
        self.embeddings, self.weight = embeddings, weight
        width = embeddings.vectors.shape[1]
        chance = torch.Generator().manual_seed(seed + MAP_STREAM)
        start = nn.init.orthogonal_(torch.empty(width, hidden), generator=chance)
        self.map = nn.Parameter(torch.eye(hidden) if width == hidden else start)

    def loss(self, states: Tensor, rows: Rows, left: float) -> Tensor:
        """weight times the mean of 1 - cosine over the batch, in which a name's is 0. states: (rows, hidden). left: the
        share of the training that is still to come, with which the pull fades."""
        place = self.embeddings.place[rows]
        aligned = np.flatnonzero(place != NOT_ALIGNED)
        own = states[torch.from_numpy(aligned).to(states.device)] @ self.map.T
        wanted = torch.from_numpy(self.embeddings.vectors[place[aligned]]).to(states.device)
        distance = 1.0 - nn.functional.cosine_similarity(own.float(), wanted.float(), dim=1)
        return left * self.weight * distance.sum() / len(rows)

    def named_weights(self) -> dict[str, Tensor]:
        """What learns along, by name."""
        return {MAP + name: weight for name, weight in self.named_parameters()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Put back what `named_weights` gave."""
        with torch.no_grad():
            for name, weight in self.named_weights().items():
                weight.copy_(saved[name])


def read_embeddings(
    corpus: Corpus, rows: Rows, features: FeatureCache | None, weight: float, progress: Progress
) -> Embeddings | None:
    """What the encoder says of the texts among the rows; None where it has no weight.

    Raises TrainingError where no cache was given.
    """
    if not weight:
        return None
    if features is None:
        raise TrainingError(
            "`alignment` needs the encoder's embeddings, and no cache of them was given",
            value=weight,
            allowed="0, or a feature cache (`features=`)",
        )
    texts = np.unique(rows[~corpus.is_name[rows]])
    embedder = features.embedder
    countries = [corpus.countries[country] for country in corpus.country[texts]]
    written = prompted([corpus.texts[row] for row in texts], embedder.encoder.family, embedder.settings, countries)
    vectors = features.features(written, progress)
    vectors -= vectors.mean(0)
    place = np.full(len(corpus), NOT_ALIGNED, np.int64)
    place[texts] = np.arange(len(texts))
    return Embeddings(vectors.astype(np.float16), place, features.space)
