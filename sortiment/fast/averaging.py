"""The averaging network: what no sum of class scores says, that words mean another thing together.

Each word, pair of words and run of characters has a vector; a text's is their weighed sum, brought to unit spread, and
two dense layers make class scores of it (Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for
Text Classification"). A word's vector is summed beforehand, as its class scores are, so a text costs its words' rows
and two small products. It learns from all that the teacher answered, most of it titles that no shop wrote, and learns
the more the more of these there are: what it says of a word beside another comes from there. While it learns, its
states are drawn to the encoder's embeddings (`sortiment/student/alignment.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sortiment.errors import TrainingError
from sortiment.fast import passes_for
from sortiment.fast.features import Features
from sortiment.fast.network import DenseLayers, Floats
from sortiment.progress import Step
from sortiment.settings import FastSettings
from sortiment.student.alignment import Alignment, Embeddings
from sortiment.student.epochs import rate_share
from sortiment.student.lesson import distillation_loss

START_SPREAD = 0.1  # of the vectors before the first step
FAST_STREAM = 30  # of random numbers

Rows = npt.NDArray[np.int64]
# index, probability and rest of some of the corpus's rows, as `sortiment.student.targets.Targets.of` gives them
Answers = Callable[[Rows], tuple[npt.NDArray[np.int64], Floats, Floats]]


@dataclass(frozen=True)
class Averaging:
    """rows: [table rows, width], the vectors of words and pairs. runs: [runs, width]. layers: ready to score, `classes`
    outputs. losses: of each pass, mean."""

    rows: Floats
    runs: Floats
    layers: DenseLayers
    losses: tuple[float, ...]


def teach_averaging(
    features: Features,
    rows: Rows,
    answers: Answers,
    classes: int,
    settings: FastSettings,
    step: Step,
    embeddings: Embeddings | None = None,
) -> Averaging:
    """features: of all texts to learn from; rows: which of the corpus's they are; answers: what each should be told.
    embeddings: where `settings.alignment` asks for them. The same bytes for the same inputs and cores. Raises
    TrainingError where the loss is not a number."""
    seed = settings.seed
    torch.manual_seed(seed)
    parts = features.composed()
    table = nn.EmbeddingBag(parts.shape[1], settings.width, mode="sum", sparse=True)
    nn.init.normal_(table.weight, std=START_SPREAD)
    outputs = classes + 1  # the last one stays unused, as in students
    layers = DenseLayers(settings.width, settings.hidden, outputs, settings.dropout)
    learning = nn.ModuleDict({"layers": layers})
    alignment = None
    if embeddings is not None:
        alignment = Alignment(embeddings, settings.alignment, settings.hidden + settings.width, seed)
        learning["alignment"] = alignment
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SparseAdam(list(table.parameters()), lr=settings.learning_rate),
        torch.optim.AdamW(learning.parameters(), lr=settings.learning_rate),
    ]
    texts, passes = parts.shape[0], passes_for(parts.shape[0], settings)
    steps, done, losses = passes * -(-texts // settings.batch_offers), 0, []
    for epoch in range(passes):
        order, total = np.random.default_rng([seed, FAST_STREAM, epoch]).permutation(texts), 0.0
        for at in range(0, texts, settings.batch_offers):
            batch = order[at : at + settings.batch_offers]
            some = parts[batch]
            flat, starts, weights = (torch.from_numpy(part) for part in (some.indices, some.indptr[:-1], some.data))
            index, probability, rest = (torch.from_numpy(part) for part in answers(rows[batch]))
            states = layers.states(table(flat, starts, per_sample_weights=weights))
            loss = distillation_loss(layers.outer(states), index, probability, rest, temperature=1.0)
            if alignment is not None:
                loss = loss + alignment.loss(states, rows[batch], 1.0 - done / steps)
            value = float(loss.detach())
            if not np.isfinite(value):
                raise TrainingError(
                    f"the fast student's loss is not a number at step {done}",
                    value=value,
                    fix="lower fast.learning_rate; fast.width 0 leaves the averaging network out",
                )
            share = rate_share(done, steps, settings.warmup_share)
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = settings.learning_rate * share
                optimizer.zero_grad()
            torch.autograd.backward(loss)
            for optimizer in optimizers:
                optimizer.step()
            done += 1
            total += value * len(batch)
            step.advance(len(batch), f"loss {value:.3f}")
        losses.append(round(total / texts, 4))
    vectors: Floats = table.weight.detach().numpy()
    own, runs = vectors[: features.table_rows], vectors[features.table_rows :]
    spelled: Floats = features.spelling[: features.table_rows] @ runs
    spelled += features.own[: features.table_rows, None] * own
    return Averaging(spelled, runs, _without_unused(layers), tuple(losses))


def _without_unused(layers: DenseLayers) -> DenseLayers:
    outer = nn.Linear(layers.outer.in_features, layers.outer.out_features - 1)
    with torch.no_grad():
        outer.weight.copy_(layers.outer.weight[:-1])
        outer.bias.copy_(layers.outer.bias[:-1])
    layers.outer = outer
    return layers.requires_grad_(False).eval()
