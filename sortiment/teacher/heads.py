"""The class head on an encoder's frozen features: multinomial logistic regression on standardized features.

Solved by L-BFGS on the whole batch, which for thousands of offers and hundreds of classes takes seconds (Kumar et al.
2022 head a fine-tuning with such a probe). Offers of rare categories weigh more, by the root of the imbalance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

ITERATIONS = 60


@dataclass(frozen=True)
class LinearHead:
    """weight (classes, features), bias (classes), mean and scale (features) of the standardization."""

    weight: Floats
    bias: Floats
    mean: Floats
    scale: Floats

    def logits(self, features: Floats) -> Floats:
        """(offers, classes)"""
        logits: Floats = ((features - self.mean) / self.scale) @ self.weight.T + self.bias
        return logits

    def tensors(self) -> dict[str, Floats]:
        return {"weight": self.weight, "bias": self.bias, "mean": self.mean, "scale": self.scale}


def fit_head(features: Floats, labels: Classes, classes: int, decay: float, offer_weight: Floats) -> LinearHead:
    """Fit a head; labels are class indices. decay: L2 penalty per mean offer. Deterministic."""
    import torch

    mean, scale = features.mean(0), features.std(0) + 1e-4
    inputs = torch.from_numpy((features - mean) / scale)
    target, each = torch.from_numpy(labels), torch.from_numpy(offer_weight / offer_weight.mean())
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        entropy = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, target, reduction="none")
        value = (entropy * each).mean() + decay * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return LinearHead(weight.detach().numpy(), bias.detach().numpy(), mean, scale)


def balance_weights(labels: Classes, classes: int) -> Floats:
    """Each offer's weight: the root of its category's rarity, so that a tail of one offer does not drown the rest."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return (1.0 / np.sqrt(counts[labels])).astype(np.float32)
