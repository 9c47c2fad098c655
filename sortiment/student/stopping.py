"""Early stopping: an end before the planned one where validation offers say that more epochs help no more.

Each epoch is judged by the macro-F1 of the corpus' labelled validation offers, before small classes are lifted. The
learning rate falls to zero at the *planned* end, and a run that stops early never takes its last, smallest steps: the
weights that are kept come from a rate that was still high, and a shorter plan may well have ended better than a longer
one that was cut short. So patience saves time where `epochs` was set generously; it is no substitute for a fitting
number of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from sortiment.errors import TrainingError
from sortiment.student.corpus import Corpus


@dataclass
class Stopping:
    """patience: epochs without a better macro-F1 after which training ends. judge: the student's macro-F1 now.

    macro_f1: of each epoch so far. best: the weights of the best one.
    """

    patience: int
    judge: Callable[[], float]
    macro_f1: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """From 1; the first of equally good ones."""
        return 1 + max(range(len(self.macro_f1)), key=self.macro_f1.__getitem__)

    @property
    def is_over(self) -> bool:
        return bool(self.macro_f1) and len(self.macro_f1) - self.best_epoch >= self.patience

    def end_epoch(self, weights: Mapping[str, Tensor]) -> None:
        """Judge the epoch; its weights are copied where they are the best so far."""
        self.macro_f1.append(self.judge())
        if self.best_epoch == len(self.macro_f1):
            self.best = {name: value.detach().clone() for name, value in weights.items()}


def refuse_unjudged(corpus: Corpus, patience: int) -> None:
    """Raises TrainingError where epochs are to be judged and there is nothing to judge them by."""
    if patience and not len(corpus.labelled_rows("validation")):
        raise TrainingError(
            "early stopping needs labelled validation offers, and there are none",
            value=f"student.patience {patience}",
            allowed="0 = all epochs",
            fix="set student.patience to 0, or raise sampling.validation_share",
        )
