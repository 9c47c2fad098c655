"""Learning in whole epochs, for whatever network: the steps, their learning rates, and going on where a run was killed.

The optimizer has two parts. A token table that learns is by far the largest tensor and each batch touches few of its
rows, so it gets sparse gradients and an Adam that updates these rows only: the step costs what the batch costs,
whatever the vocabulary. Everything else gets AdamW. All learning rates rise linearly, then fall linearly to zero, as a
function of the step alone; nothing is random but the order of the offers, which epoch and seed decide. So a run that
resumes after an epoch takes the same steps as one that was never interrupted.
"""

import contextlib
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sortiment.errors import TrainingError
from sortiment.progress import Step
from sortiment.student.scoring import Hardware
from sortiment.student.tokens import Tokens, order_batches

LARGEST_GRADIENT_NORM = 1.0
NOTE_EVERY = 10

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn. `rows`: the rows to learn from; batch_offers of them make a step."""

    rows: Rows
    epochs: int
    batch_offers: int
    learning_rate: float
    embedding_learning_rate: float
    warmup_share: float
    weight_decay: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.rows) // self.batch_offers)

    def left_at(self, step: int) -> float:
        """The share of the training that is still to come: from 1 down to 0."""
        return 1.0 - step / (self.steps_per_epoch * self.epochs)

    def rate_at(self, step: int) -> float:
        """The share of the learning rate at a step."""
        return rate_share(step, self.steps_per_epoch * self.epochs, self.warmup_share)


def rate_share(step: int, steps: int, warmup_share: float) -> float:
    """Of the highest learning rate: up over the warm-up, then down to zero at the end."""
    rise = (step + 1) / max(1.0, warmup_share * steps)
    return min(1.0, rise) * (1.0 - step / steps)


class Batches:
    """The batches of one epoch. Not a list: Lightning would take a list for many loaders."""

    def __init__(self, rows: list[Rows]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Rows]:
        return iter(self.rows)


class EpochLesson(lightning.LightningModule, ABC):
    """Takes a network through its epochs. What a batch's loss is, and which tensors learn, is a subclass's to say.

    learner: the network's name, for errors; advice: what to do where its loss is not a number. after_epoch: gets the
    lesson, the epochs done and the mean loss. optimizer_state: as `collect_optimizers` gave it.
    """

    learner: ClassVar[str]
    advice: ClassVar[str]

    def __init__(
        self,
        network: nn.Module,
        tokens: Tokens,
        plan: Plan,
        first_epoch: int,
        step: Step,
        after_epoch: Callable[["EpochLesson", int, float], None],
        optimizer_state: Mapping[str, Tensor] | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.tokens = tokens
        self.plan = plan
        self.first_epoch = first_epoch
        self.progress = step
        self.after_epoch = after_epoch
        self.restored = optimizer_state
        self.step = first_epoch * plan.steps_per_epoch
        self.loss_sum = 0.0

    @abstractmethod
    def loss_of(self, batch: Rows) -> Tensor:
        """The mean loss of some rows."""

    @abstractmethod
    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW first, then Adam of a token table where that learns. A group's `rate` is its highest learning rate."""

    def tokens_of(self, epoch: int) -> Tokens:
        """What an epoch reads."""
        return self.tokens

    def train_dataloader(self) -> Batches:
        """The epoch's batches as rows."""
        plan = self.plan
        epoch = self.first_epoch + self.current_epoch
        self.tokens = self.tokens_of(epoch)
        lengths = self.tokens.lengths[plan.rows]
        return Batches([plan.rows[batch] for batch in order_batches(lengths, plan.batch_offers, plan.seed, epoch)])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers = self.make_optimizers()
        if self.restored is not None:
            restore_optimizers(self.network, optimizers, self.restored)
            self.restored = None
        return optimizers

    def training_step(self, batch: Rows, index: int) -> None:
        loss = self.loss_of(batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise TrainingError(
                f"the {self.learner}'s loss is not a number at step {self.step}", value=value, fix=self.advice
            )
        optimizers = self.all_optimizers()
        share = self.plan.rate_at(self.step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * share
            optimizer.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(
            [weight for group in optimizers[0].param_groups for weight in group["params"]], LARGEST_GRADIENT_NORM
        )
        for optimizer in optimizers:
            optimizer.step()
        self.step += 1
        self.loss_sum += value * len(batch)
        note = f"loss {value:.3f}" if self.step % NOTE_EVERY == 0 else ""
        self.progress.advance(len(batch), note)

    def all_optimizers(self) -> list[Any]:
        """In the order in which `make_optimizers` gave them."""
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def on_train_epoch_end(self) -> None:
        done = self.first_epoch + self.current_epoch + 1
        self.after_epoch(self, done, self.loss_sum / len(self.plan.rows))
        self.loss_sum = 0.0


def run_epochs(lesson: EpochLesson, hardware: Hardware) -> None:
    """The epochs that are left of a lesson."""
    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="gpu" if hardware.device == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if hardware.bf16 else "32-true",
            max_epochs=lesson.plan.epochs - lesson.first_epoch,
            reload_dataloaders_every_n_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(lesson)


def weight_groups(weights: list[nn.Parameter], rate: float, decay: float) -> list[dict[str, Any]]:
    """Groups of AdamW: matrices decay, vectors do not."""
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim == 1]
    return [
        {"params": matrices, "weight_decay": decay, "rate": rate},
        {"params": vectors, "weight_decay": 0.0, "rate": rate},
    ]


def table_optimizer(table: Tensor, rate: float) -> torch.optim.Optimizer:
    """Of a token table whose embedding gives sparse gradients."""
    return torch.optim.SparseAdam([{"params": [table], "rate": rate}], lr=rate)


def collect_optimizers(network: nn.Module, optimizers: list[Any]) -> dict[str, Tensor]:
    """The optimizers' state as named tensors, for safetensors."""
    names = {weight: name for name, weight in network.named_parameters()}
    return {
        f"{names[weight]}|{key}": value.detach().contiguous() if isinstance(value, Tensor) else torch.tensor(value)
        for optimizer in optimizers
        for weight, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizers(
    network: nn.Module, optimizers: list[torch.optim.Optimizer], saved: Mapping[str, Tensor]
) -> None:
    """Put back what `collect_optimizers` collected."""
    weights = dict(network.named_parameters())
    owner = {
        weight: optimizer for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]
    }
    for name, value in saved.items():
        parameter, key = name.split("|")
        weight = weights[parameter]
        optimizer = owner[weight]
        counts = key == "step" and isinstance(optimizer, torch.optim.SparseAdam)
        optimizer.state[weight][key] = int(value) if counts else value.to(weight.device)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning tells about devices and workers on its logger and in warnings; a stage tells through its progress."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
