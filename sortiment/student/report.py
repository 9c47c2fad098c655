"""What every kind of student reports of how it learned."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class LearningReport:
    """What a training run gave. offers: learned, labelled_offers of them with a label; transfer_titles: made up and
    answered by the teacher, learned beside them. left_out_offers: training offers that repeat a held-out offer of
    another country, not learned; kept_repeats: that do too, and are (`sampling/abroad.py`). losses: mean loss of each
    epoch.

    Validation figures are on the labelled offers of the validation split, None where there are none: accuracy and
    macro_f1 against the shops' labels (which may be wrong), teacher_agreement against the teacher's best class,
    calibration errors before and after calibration (`temperature` by country, `entropy_slope`).
    """

    OF_THIS_RUN: ClassVar[tuple[str, ...]] = ("seconds", "offers_per_s")

    offers: int
    transfer_titles: int
    labelled_offers: int
    left_out_offers: int
    kept_repeats: int
    classes: int
    losses: tuple[float, ...]
    validation_offers: int
    accuracy: float | None
    macro_f1: float | None
    teacher_accuracy: float | None
    teacher_macro_f1: float | None
    teacher_agreement: float | None
    calibration_error_before: float | None
    calibration_error_after: float | None
    temperature: Mapping[str, float]
    entropy_slope: float
    seconds: float
    offers_per_s: float

    def summary(self) -> dict[str, Any]:
        """What does not depend on the machine or on interruptions, as JSON."""
        return {name: value for name, value in asdict(self).items() if name not in self.OF_THIS_RUN}
