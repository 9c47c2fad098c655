"""The head before the body moves: logistic regression on the frozen encoder's standardized embeddings (LP-FT).

A body that meets a random head first unlearns (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution"). The head is a means: the teacher's answers come from the ridge on the tuned
embeddings.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sortiment.teacher.ridge import Floats, Ints
from sortiment.teacher.tuning.loss import Objective

EPOCHS = 12
LEAST_STEPS = 240  # few offers need more passes
BATCH = 512
LEARNING_RATE = 0.02
LEAST_SPREAD = 1e-4


class Head(nn.Module):
    """center, scale: [hidden], what standardizes an embedding; a linear layer to the classes behind it."""

    def __init__(self, center: Tensor, scale: Tensor, classes: int) -> None:
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)
        self.linear = nn.Linear(len(center), classes)

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.linear((pooled - self.center) * self.scale)
        return logits


def fit_head(
    vectors: Floats, rows: Ints, objective: Objective, classes: int, decay: float, seed: int, device: str
) -> Head:
    """A head fitted on the embeddings of some rows. vectors: [n, hidden]. decay: its L2 penalty."""
    known = torch.from_numpy(vectors[rows]).to(device)
    scale = 1.0 / known.std(0, unbiased=False).clamp(min=LEAST_SPREAD)
    head = Head(known.mean(0), scale, classes).to(device)
    nn.init.zeros_(head.linear.weight)
    nn.init.zeros_(head.linear.bias)
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    taught = torch.from_numpy(rows).to(device)
    draw = np.random.default_rng([seed, 32])
    per_epoch = -(-len(rows) // BATCH)
    epochs = max(EPOCHS, -(-LEAST_STEPS // per_epoch))
    done = 0
    for _ in range(epochs):
        order = torch.from_numpy(draw.permutation(len(rows))).to(device)
        for batch in torch.split(order, BATCH):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - done / (epochs * per_epoch))
            loss = objective.loss(head(known[batch]), taught[batch]) + decay * head.linear.weight.square().sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            done += 1
    return head
