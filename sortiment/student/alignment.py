"""Embedding alignment: while the student learns, its state of an offer is drawn to the teacher encoder's embedding.

The embedding is the one that the teacher has looked at, read from the feature cache by the offer's text: nothing is
embedded for this. Where the encoder is wider or narrower than the student, a linear map between them learns along and
is thrown away after training. The categories' names have no part in it.
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
from sortiment.settings import StudentSettings
from sortiment.student.corpus import Corpus

NOT_ALIGNED = -1
MAP_STREAM = 12  # of random numbers
MAP = "alignment."

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Embeddings:
    """vectors: float32 [offers, hidden]. place: of each corpus row, its row in `vectors`, or NOT_ALIGNED. space: what
    they were computed with, as the cache tells it."""

    vectors: Vectors
    place: Rows
    space: dict[str, Any]


class Alignment(nn.Module):
    """weight: of the distance in the loss. hidden: the student's width. map: [embeddings' width, hidden] where these
    differ."""

    def __init__(self, embeddings: Embeddings, weight: float, hidden: int, seed: int) -> None:
        super().__init__()
        self.embeddings, self.weight = embeddings, weight
        self.map: nn.Parameter | None = None
        width = embeddings.vectors.shape[1]
        if width != hidden:
            chance = torch.Generator().manual_seed(seed + MAP_STREAM)
            self.map = nn.Parameter(nn.init.orthogonal_(torch.empty(width, hidden), generator=chance))

    def loss(self, states: Tensor, rows: Rows) -> Tensor:
        """weight times the mean of 1 - cosine over the batch, in which a name's is 0. states: (rows, hidden)."""
        place = self.embeddings.place[rows]
        aligned = np.flatnonzero(place != NOT_ALIGNED)
        own = states[torch.from_numpy(aligned).to(states.device)]
        if self.map is not None:
            own = own @ self.map.T
        wanted = torch.from_numpy(self.embeddings.vectors[place[aligned]]).to(states.device)
        distance = 1.0 - nn.functional.cosine_similarity(own.float(), wanted, dim=1)
        return self.weight * distance.sum() / len(rows)

    def named_weights(self) -> dict[str, Tensor]:
        """What learns along, by name; nothing where the sizes are the same."""
        return {MAP + name: weight for name, weight in self.named_parameters()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Put back what `named_weights` gave."""
        with torch.no_grad():
            for name, weight in self.named_weights().items():
                weight.copy_(saved[name])


def read_embeddings(
    corpus: Corpus, rows: Rows, features: FeatureCache | None, settings: StudentSettings
) -> Embeddings | None:
    """What the teacher's encoder said of the offers among the rows; None where the settings do not ask for it.

    Raises TrainingError where an offer is not in the cache.
    """
    if not settings.alignment:
        return None
    fix = "materialize teacher_soft_labels with the present encoder settings and `encoder` among teacher.experts, "
    fix += "or set student.alignment to 0"
    if features is None:
        raise TrainingError(
            "student.alignment needs the embeddings of the teacher's encoder, and none were given",
            value=settings.alignment,
            allowed="0, or a feature cache (`distill_student(features=...)`)",
            fix=fix,
        )
    offers = np.unique(rows[~corpus.is_name[rows]])
    embedder = features.embedder
    countries = [corpus.countries[country] for country in corpus.country[offers]]
    texts = prompted([corpus.texts[row] for row in offers], embedder.encoder.family, embedder.settings, countries)
    vectors, there = features.find(texts)
    if not there.all():
        raise TrainingError(
            "student.alignment needs the teacher encoder's embedding of every training offer, and some are not there",
            value=f"{int((~there).sum()):,} of {len(offers):,} are missing in {features.folder}",
            allowed="all of them",
            fix=fix,
        )
    place = np.full(len(corpus), NOT_ALIGNED, np.int64)
    place[offers] = np.arange(len(offers))
    return Embeddings(vectors, place, features.space)
