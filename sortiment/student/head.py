"""The head before the first step: a softmax regression on the untrained body's features (LP-FT).

A body that meets a random head first unlearns; one that meets a fitted head starts from a useful model. Kumar et al.
2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution". The features' mean and
spread go into the pooler's dense layer, so that the network stays a stock architecture.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from sortiment.errors import TrainingError
from sortiment.student.body import count_classes, first_token_features, pooler_of
from sortiment.student.corpus import NO_CLASS
from sortiment.student.scoring import map_rows
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens

TANH_SCALE = 0.5  # a standardized feature of 1 becomes tanh(0.5): nearly linear where most features are
FIT_EPOCHS = 12
LEAST_STEPS = 240  # few offers need more passes
FIT_BATCH = 512
FIT_LEARNING_RATE = 0.02
FIT_L2 = 1e-4
LEAST_SHARE = 1e-5  # rarer classes are lifted as if they were as frequent
LEAST_SPREAD = 0.01  # of the mean: a feature that hardly varies is not blown up


def fit_head(
    student: BertForSequenceClassification,
    tokens: Tokens,
    targets: Targets,
    rows: npt.NDArray[np.int64],
    classes: int,
    first_new: int,
    seed: int,
    bf16: bool,
) -> None:
    """Fit the outputs `first_new` to `classes` on the rows' features, in place; other outputs stay as they are.

    With first_new = 0 the pooler is set to standardize the features first.
    """
    device = student.classifier.weight.device
    features = map_rows(student, tokens, rows, first_token_features, bf16)
    if not np.isfinite(features).all():
        raise TrainingError(
            "the encoder's features are not a number",
            value=f"{int((~np.isfinite(features)).any(1).sum())} of {len(rows)} offers",
            fix="convert or download the encoder again, or set student.precision to fp32",
        )
    dense = pooler_of(student)
    if first_new == 0:
        mean, spread = features.mean(0), features.std(0) + LEAST_SPREAD
        with torch.no_grad():
            dense.weight.copy_(torch.diag(torch.from_numpy(TANH_SCALE / spread)))
            dense.bias.copy_(torch.from_numpy(-TANH_SCALE * mean / spread))
    with torch.no_grad():
        pooled = torch.tanh(dense(torch.from_numpy(features).to(device)))
    wanted = _dense_targets(targets, rows, classes).to(device)
    head = student.classifier
    old_weight, old_bias = head.weight[:first_new].detach(), head.bias[:first_new].detach()
    weight = torch.zeros(classes - first_new, pooled.shape[1], device=device, requires_grad=True)
    frequency = wanted[:, first_new:].mean(0)
    bias = torch.log(frequency + 1e-5).clone().requires_grad_()
    optimizer = torch.optim.Adam([weight, bias], lr=FIT_LEARNING_RATE)
    order = np.random.default_rng([seed, 1])
    per_epoch = -(-len(rows) // FIT_BATCH)
    epochs = max(FIT_EPOCHS, -(-LEAST_STEPS // per_epoch))
    steps = epochs * per_epoch
    done = 0
    for _ in range(epochs):
        shuffled = torch.from_numpy(order.permutation(len(rows))).to(device)
        for batch in torch.split(shuffled, FIT_BATCH):
            optimizer.param_groups[0]["lr"] = FIT_LEARNING_RATE * (1 - done / steps)
            logits = pooled[batch] @ torch.cat([old_weight, weight]).T + torch.cat([old_bias, bias])
            loss = -(wanted[batch] * torch.log_softmax(logits, 1)).sum(1).mean() + FIT_L2 * weight.square().sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            done += 1
    with torch.no_grad():
        head.weight[first_new:classes] = weight
        head.bias[first_new:classes] = bias
    assert count_classes(student) == classes


def emphasize_tail(
    student: BertForSequenceClassification,
    targets: Targets,
    rows: npt.NDArray[np.int64],
    classes: int,
    emphasis: float,
) -> None:
    """Lower each class's bias by `emphasis` times the logarithm of its share of the rows' targets, in place.

    Cross-entropy is timid about small classes (logit adjustment, Menon et al. 2021).
    """
    index, probability, rest = targets.of(rows)
    listed = index != NO_CLASS
    mass = np.bincount(index[listed], weights=probability[listed], minlength=classes) + rest.sum() / classes
    lift = -emphasis * np.log(np.maximum(mass / len(rows), LEAST_SHARE) * classes)
    with torch.no_grad():
        student.classifier.bias[:classes] += torch.from_numpy(lift).to(student.classifier.bias)


def choose_rows(
    labels: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], most: int, seed: int
) -> npt.NDArray[np.int64]:
    """At most `most` of the rows, ascending: rare classes whole, common ones and unlabelled offers thinned alike."""
    if len(rows) <= most:
        return rows
    shuffled = np.random.default_rng([seed, 2]).permutation(rows)
    own = labels[shuffled]
    order = np.argsort(own, kind="stable")
    starts = np.searchsorted(own[order], own[order], side="left")
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - starts
    rank[own == NO_CLASS] //= 8  # offers without a label are one group, and the largest
    return np.sort(shuffled[np.argsort(rank, kind="stable")[:most]])


def _dense_targets(targets: Targets, rows: npt.NDArray[np.int64], classes: int) -> Tensor:
    """(rows, classes), the remaining mass spread evenly."""
    dense = np.repeat((targets.rest[rows] / classes)[:, None], classes, 1)
    index, probability = targets.index[rows], targets.probability[rows]
    at, slot = np.nonzero(index != NO_CLASS)
    np.add.at(dense, (at, index[at, slot]), probability[at, slot])
    return torch.from_numpy(dense.astype(np.float32))
