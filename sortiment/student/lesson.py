"""The distillation itself: a lesson that teaches the student the targets, batch by batch."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from sortiment.progress import Step
from sortiment.student.alignment import Alignment
from sortiment.student.augmentation import Augmentation
from sortiment.student.body import first_token_features, head_logits
from sortiment.student.corpus import NO_CLASS
from sortiment.student.epochs import EpochLesson, Plan, Rows, table_optimizer, weight_groups
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens

AUGMENTED_LESSON = 11  # stream of random numbers


class Lesson(EpochLesson):
    """Teaches one student the targets of one corpus."""

    learner = "student"
    advice = "lower student.learning_rate (half of it is a good try), or set student.precision to fp32"

    def __init__(
        self,
        student: BertForSequenceClassification,
        tokens: Tokens,
        targets: Targets,
        plan: Plan,
        temperature: float,
        first_epoch: int,
        step: Step,
        after_epoch: Callable[[EpochLesson, int, float], None],
        optimizer_state: Mapping[str, Tensor] | None,
        augmentation: Augmentation | None = None,
        alignment: Alignment | None = None,
    ) -> None:
        taught = nn.ModuleDict(
            {"student": student} if alignment is None else {"student": student, "alignment": alignment}
        )
        super().__init__(taught, tokens, plan, first_epoch, step, after_epoch, optimizer_state)
        self.student = student
        self.alignment = alignment
        self.targets = targets
        self.temperature = temperature
        self.augmentation = augmentation
        student.bert.embeddings.word_embeddings.sparse = True

    def tokens_of(self, epoch: int) -> Tokens:
        return self.tokens if self.augmentation is None else self.augmentation.draw(AUGMENTED_LESSON, epoch)

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        plan = self.plan
        table = self.student.bert.embeddings.word_embeddings.weight
        others = [weight for weight in self.network.parameters() if weight is not table]
        groups = weight_groups(others, plan.learning_rate, plan.weight_decay)
        return [
            torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True),
            table_optimizer(table, plan.embedding_learning_rate),
        ]

    def loss_of(self, batch: Rows) -> Tensor:
        ids, mask = (torch.from_numpy(part).to(self.device) for part in self.tokens.pad(batch))
        features = first_token_features(self.student, ids, mask)
        logits = head_logits(self.student, features).float()
        listed, probability, rest = (torch.from_numpy(part).to(self.device) for part in self.targets.of(batch))
        loss = distillation_loss(logits, listed, probability, rest, temperature=self.temperature)
        if self.alignment is None:
            return loss
        return loss + self.alignment.loss(features, batch, self.plan.left_at(self.step))


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
