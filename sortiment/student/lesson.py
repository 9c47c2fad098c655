"""The distillation itself: a Lightning module that teaches the student the targets, batch by batch.

The optimizer has two parts. The token table is by far the largest tensor and each batch touches few of its rows, so
it gets sparse gradients and an Adam that updates these rows only: the step costs what the batch costs, whatever the
vocabulary. Everything else gets AdamW. Both learning rates rise linearly, then fall linearly to zero at the planned
end, as a function of the step alone, also where training is stopped before (`stopping.py`); nothing is random but the
order of the offers, which epoch and seed decide. So a run that resumes after an epoch takes the same steps as one that
was never interrupted.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from sortiment.errors import TrainingError
from sortiment.progress import Step
from sortiment.student.alignment import Alignment
from sortiment.student.augmentation import Augmentation
from sortiment.student.body import first_token_features, head_logits
from sortiment.student.corpus import NO_CLASS
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens, order_batches

LARGEST_GRADIENT_NORM = 1.0
NOTE_EVERY = 10
AUGMENTED_LESSON = 11  # stream of random numbers


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn. `rows`: the corpus rows to learn from; batch_offers of them make a step."""

    rows: npt.NDArray[np.int64]
    epochs: int
    batch_offers: int
    learning_rate: float
    embedding_learning_rate: float
    warmup_share: float
    weight_decay: float
    temperature: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.rows) // self.batch_offers)

    def rate_at(self, step: int) -> float:
        """The share of the learning rate at a step: up over the warm-up, then down to zero at the end."""
        steps = self.steps_per_epoch * self.epochs
        rise = (step + 1) / max(1.0, self.warmup_share * steps)
        return min(1.0, rise) * (1.0 - step / steps)


class Batches:
    """The batches of one epoch. Not a list: Lightning would take a list for many loaders."""

    def __init__(self, rows: list[npt.NDArray[np.int64]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        return iter(self.rows)


class Lesson(lightning.LightningModule):
    """Teaches one student the targets of one corpus."""

    def __init__(
        self,
        student: BertForSequenceClassification,
        tokens: Tokens,
        targets: Targets,
        plan: Plan,
        first_epoch: int,
        step: Step,
        after_epoch: Callable[["Lesson", int, float], None],
        optimizer_state: dict[str, Tensor] | None,
        augmentation: Augmentation | None = None,
        alignment: Alignment | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.student = student
        self.tokens = tokens
        self.targets = targets
        self.plan = plan
        self.first_epoch = first_epoch
        self.progress = step
        self.after_epoch = after_epoch
        self.restored = optimizer_state
        self.augmentation = augmentation
        self.alignment = alignment
        self.step = first_epoch * plan.steps_per_epoch
        self.loss_sum = 0.0
        student.bert.embeddings.word_embeddings.sparse = True

    def train_dataloader(self) -> "Batches":
        """The epoch's batches as rows of the corpus."""
        plan = self.plan
        epoch = self.first_epoch + self.current_epoch
        if self.augmentation is not None:
            self.tokens = self.augmentation.draw(AUGMENTED_LESSON, epoch)
        lengths = self.tokens.lengths[plan.rows]
        return Batches([plan.rows[batch] for batch in order_batches(lengths, plan.batch_offers, plan.seed, epoch)])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        plan = self.plan
        table = self.student.bert.embeddings.word_embeddings.weight
        taught = self.named_weights()
        decayed = [weight for weight in taught.values() if weight.ndim > 1 and weight is not table]
        plain = [weight for weight in taught.values() if weight.ndim == 1]
        groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimizers = [
            torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True),
            torch.optim.SparseAdam([table], lr=plan.embedding_learning_rate),
        ]
        if self.restored is not None:
            restore_optimizers(taught, optimizers, self.restored)
            self.restored = None
        return optimizers

    def training_step(self, batch: npt.NDArray[np.int64], index: int) -> None:
        ids, mask = (torch.from_numpy(part).to(self.device) for part in self.tokens.pad(batch))
        features = first_token_features(self.student, ids, mask)
        logits = head_logits(self.student, features).float()
        listed, probability, rest = (torch.from_numpy(part).to(self.device) for part in self.targets.of(batch))
        loss = distillation_loss(logits, listed, probability, rest, temperature=self.plan.temperature)
        if self.alignment is not None:
            loss = loss + self.alignment.loss(features, batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise TrainingError(
                f"the student's loss is not a number at step {self.step}",
                value=value,
                fix="lower student.learning_rate (half of it is a good try), or set student.precision to fp32",
            )
        body, table = self.both_optimizers()
        share = self.plan.rate_at(self.step)
        _set_rate(body, self.plan.learning_rate * share)
        _set_rate(table, self.plan.embedding_learning_rate * share)
        body.zero_grad()
        table.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(
            [weight for group in body.param_groups for weight in group["params"]], LARGEST_GRADIENT_NORM
        )
        body.step()
        table.step()
        self.step += 1
        self.loss_sum += value * len(batch)
        note = f"loss {value:.3f}" if self.step % NOTE_EVERY == 0 else ""
        self.progress.advance(len(batch), note)

    def named_weights(self) -> dict[str, Tensor]:
        """Everything that is taught: the student's weights, and what only teaching needs."""
        own: dict[str, Tensor] = dict(self.student.named_parameters())
        return own if self.alignment is None else own | self.alignment.named_weights()

    def both_optimizers(self) -> list[Any]:
        """AdamW of the body, then Adam of the token table."""
        both = self.optimizers()
        assert isinstance(both, list)
        return both

    def on_train_epoch_end(self) -> None:
        done = self.first_epoch + self.current_epoch + 1
        self.after_epoch(self, done, self.loss_sum / len(self.plan.rows))
        self.loss_sum = 0.0


def distillation_loss(logits: Tensor, index: Tensor, probability: Tensor, rest: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy between target and student over "each listed class, or any other", both at a temperature.

    logits: (offers, outputs), the last output unused. index, probability: (offers, k), -1 as padding. The remaining
    mass stands for many classes: at a temperature it is treated as spread evenly over them. Times temperature squared
    (Hinton et al. 2015), so that the gradient keeps its size. Equals the KL divergence up to the target's entropy.
    """
    listed = index != NO_CLASS
    others = (logits.shape[1] - listed.sum(1)).clamp(min=1).to(logits.dtype)
    target = torch.where(listed, probability, 0.0) ** (1 / temperature) * listed
    target_rest = (rest / others) ** (1 / temperature) * others
    total = target.sum(1) + target_rest
    scaled = logits / temperature
    slots = torch.where(listed, index, logits.shape[1] - 1)
    everything = torch.logsumexp(scaled, 1)
    top = scaled.gather(1, slots) - everything[:, None]
    outside = torch.logsumexp(scaled.scatter(1, slots, float("-inf")), 1) - everything
    outside = torch.where(target_rest > 0, outside.clamp(min=-50.0), 0.0)
    crossed = (target * torch.where(listed, top, 0.0)).sum(1) + target_rest * outside
    return -(crossed / total).mean() * temperature**2


def collect_optimizers(weights: Mapping[str, Tensor], optimizers: list[Any]) -> dict[str, Tensor]:
    """The optimizers' state as named tensors, for safetensors. weights: by name, all that the optimizers move."""
    names = {weight: name for name, weight in weights.items()}
    return {
        f"{names[weight]}|{key}": value.detach().contiguous() if isinstance(value, Tensor) else torch.tensor(value)
        for optimizer in optimizers
        for weight, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizers(
    weights: Mapping[str, Tensor], optimizers: list[torch.optim.Optimizer], saved: dict[str, Tensor]
) -> None:
    """Put back what `collect_optimizers` collected."""
    owner = {
        weight: optimizer for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]
    }
    for name, value in saved.items():
        parameter, key = name.split("|")
        weight = weights[parameter]
        optimizer = owner[weight]
        counts = key == "step" and isinstance(optimizer, torch.optim.SparseAdam)
        optimizer.state[weight][key] = int(value) if counts else value.to(weight.device)


def _set_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
