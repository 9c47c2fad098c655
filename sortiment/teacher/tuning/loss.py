"""What a mistake costs: the tail's part in it, and the hierarchy's.

    loss = weight * ((1 - s) * -log p(label) + s * -log p(label's department)),    s = department_share

A mistake inside the department costs only the first term; a department's probability is the sum of its classes'. The
tail is helped in one of two ways: an offer weighs (offers of its class) ^ -strength (`balanced`; Cui et al. 2019 weigh
by class in the same spirit), or the logits that the loss sees are raised by strength * log(class's share of the
offers), which the network must overcome for small classes (`adjusted`: the logit-adjusted loss of Menon et al. 2021).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sortiment.settings import TuningSettings
from sortiment.teacher.combining import lift_classes
from sortiment.teacher.ridge import Floats, Ints, class_weights


@dataclass(frozen=True)
class Objective:
    """labels, weights: of each offer. lift: what each class's logit is raised by. department: of each class."""

    labels: Tensor
    weights: Tensor
    lift: Tensor
    department: Tensor
    department_share: float

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Mean over some offers. logits: [rows, classes]."""
        labels = self.labels[rows]
        answers = torch.log_softmax(logits + self.lift, 1)
        cost = -answers.gather(1, labels[:, None])[:, 0]
        if self.department_share:
            inside = self.department[None, :] == self.department[labels][:, None]
            department = torch.logsumexp(answers.masked_fill(~inside, float("-inf")), 1)
            cost = (1 - self.department_share) * cost - self.department_share * department
        return (self.weights[rows] * cost).mean()


def make_objective(
    labels: Ints, weights: Floats, classes: int, departments: Ints, taught: Ints, settings: TuningSettings, device: str
) -> Objective:
    """weights: of each offer, before the tail's. taught: the rows that are learned; the others are not counted."""
    strength = settings.tail_strength
    own, lift = weights, np.zeros(classes, np.float32)
    if settings.tail_loss == "balanced":
        own = weights.copy()
        own[taught] *= class_weights(labels[taught], classes, strength)
    else:
        lift = -lift_classes(labels[taught], classes, strength)
    return Objective(
        labels=torch.from_numpy(labels).to(device),
        weights=torch.from_numpy(own / max(float(own[taught].mean()), 1e-6)).to(device),
        lift=torch.from_numpy(lift).to(device),
        department=torch.from_numpy(departments).to(device),
        department_share=settings.department_share,
    )
