"""The token table before the first step: taught alone, as a bag of words, which costs a hundredth of the transformer.

What separates categories in a title is mostly which words it has. A transformer learns that slowly, because each step
moves a token's row a little and every layer above has to follow. Averaging the rows and a linear head learn it in
seconds (Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification"); what they changed in the rows is added
to the table, and the layers and the head that are fitted next start from tokens that already say what they mean.
"""

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertForSequenceClassification

from sortiment.errors import TrainingError
from sortiment.progress import Progress
from sortiment.student.augmentation import Augmentation
from sortiment.student.lesson import distillation_loss
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens

BATCH_OFFERS = 128
TABLE_LEARNING_RATE = 0.03  # of rows of unit spread
HEAD_LEARNING_RATE = 0.01
AUGMENTED_TABLE = 12  # stream of random numbers


def teach_table(
    student: BertForSequenceClassification,
    tokens: Tokens,
    targets: Targets,
    rows: npt.NDArray[np.int64],
    epochs: int,
    gain: float,
    seed: int,
    progress: Progress,
    augmentation: Augmentation | None = None,
    first: int = 0,
) -> None:
    """Learn the targets from averaged token rows and add `gain` times the rows' change to the table, in place.

    Tokens that the rows' offers do not have keep their rows; so do the special tokens of every offer, and tokens before
    `first`: then the head learns what the old rows say, and the new ones are moved to where it finds their categories.
    Raises TrainingError where the loss is not a number.
    """
    weight = student.bert.embeddings.word_embeddings.weight
    device = weight.device
    start = weight.detach()
    spread = start.std()
    table = ((start - start.mean(0)) / spread).clone()
    common = _tokens_of_every_offer(tokens, rows)
    table[common] = 0.0
    before = table.clone()
    table.requires_grad_(True)
    head = torch.nn.Linear(table.shape[1], student.classifier.out_features, device=device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SparseAdam([table], lr=TABLE_LEARNING_RATE),
        torch.optim.Adam(head.parameters(), lr=HEAD_LEARNING_RATE),
    ]
    rates = (TABLE_LEARNING_RATE, HEAD_LEARNING_RATE)
    steps, done = epochs * -(-len(rows) // BATCH_OFFERS), 0
    with progress("teach the student's words", total=len(rows) * epochs) as step:
        for epoch in range(epochs):
            order = np.random.default_rng([seed, 3, epoch]).permutation(rows)
            if augmentation is not None:
                tokens = augmentation.draw(AUGMENTED_TABLE, epoch)
            for at in range(0, len(order), BATCH_OFFERS):
                batch = order[at : at + BATCH_OFFERS]
                flat, offsets = (torch.from_numpy(part).to(device) for part in tokens.bag(batch))
                pooled = torch.nn.functional.embedding_bag(flat, table, offsets, mode="mean", sparse=True)
                index, probability, rest = (torch.from_numpy(part).to(device) for part in targets.of(batch))
                loss = distillation_loss(head(pooled), index, probability, rest, temperature=1.0)
                if not torch.isfinite(loss):
                    raise TrainingError(
                        f"the loss is not a number at step {done} of teaching the student's words",
                        value=float(loss.detach()),
                        fix="convert or download the encoder again; student.word_epochs 0 leaves this step out",
                    )
                for optimizer, rate in zip(optimizers, rates, strict=True):
                    optimizer.param_groups[0]["lr"] = rate * (1 - done / steps)
                    optimizer.zero_grad()
                torch.autograd.backward(loss)
                if first and table.grad is not None:
                    table.grad = table.grad.coalesce()
                    table.grad.values().mul_((table.grad.indices()[0] >= first)[:, None])
                for optimizer in optimizers:
                    optimizer.step()
                done += 1
                step.advance(len(batch))
    with torch.no_grad():
        change = table.detach() - before
        change[common] = 0.0
        weight += gain * spread * change


def _tokens_of_every_offer(tokens: Tokens, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ids of the first and the last token, which the tokenizer puts around every text."""
    first = tokens.flat[tokens.start[rows]]
    last = tokens.flat[tokens.start[rows + 1] - 1]
    return np.array([each[0] for each in (first, last) if (each == each[0]).all()], np.int64)
