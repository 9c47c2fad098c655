"""One body through its epochs: a lesson on hard labels."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from sortiment.progress import Step
from sortiment.student.epochs import EpochLesson, Plan, Rows, table_optimizer, weight_groups
from sortiment.student.tokens import Tokens
from sortiment.teacher.tuning.body import Body
from sortiment.teacher.tuning.head import Head
from sortiment.teacher.tuning.loss import Objective

ADVICE = "lower teacher.tuning.learning_rate (half of it is a good try), or set encoder.precision to fp32"


class Classifier(nn.Module):
    """A body and its head."""

    def __init__(self, body: Body, head: Head) -> None:
        super().__init__()
        self.body = body
        self.head = head

    @property
    def learning(self) -> dict[str, nn.Parameter]:
        """The tensors that move, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}


class TuningLesson(EpochLesson):
    """Teaches one body the labels of its offers."""

    learner = "encoder"
    advice = ADVICE

    def __init__(
        self,
        classifier: Classifier,
        tokens: Tokens,
        objective: Objective,
        plan: Plan,
        head_rate: float,
        first_epoch: int,
        step: Step,
        after_epoch: Callable[[EpochLesson, int, float], None],
        optimizer_state: Mapping[str, Tensor] | None,
    ) -> None:
        super().__init__(classifier, tokens, plan, first_epoch, step, after_epoch, optimizer_state)
        self.classifier = classifier
        self.objective = objective
        self.head_rate = head_rate

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        plan, body = self.plan, self.classifier.body
        moving = [weight for weight in body.learning.values() if weight is not body.table]
        groups = weight_groups(moving, plan.learning_rate, plan.weight_decay)
        groups += weight_groups(list(self.classifier.head.parameters()), self.head_rate, plan.weight_decay)
        optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True)]
        if body.table is not None:
            optimizers.append(table_optimizer(body.table, plan.embedding_learning_rate))
        return optimizers

    def loss_of(self, batch: Rows) -> Tensor:
        logits = self.classifier.head(self.classifier.body.pooled(self.tokens, batch)).float()
        return self.objective.loss(logits, torch.from_numpy(batch).to(logits.device))
