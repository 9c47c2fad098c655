"""The student: a few layers of multilingual MiniLM, distilled from the teacher's soft labels on all sampled offers.

Importing this is cheap: torch, transformers and Lightning are imported when a student is trained or loaded.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, StudentSettings
from sortiment.student.prediction import Classification, Classifier
from sortiment.student.report import LearningReport

if TYPE_CHECKING:
    from sortiment.encoders import FeatureCache
    from sortiment.student.classifier import StudentClassifier
    from sortiment.teacher import CategoryNames

CODE_VERSION = "12"

__all__ = [
    "CODE_VERSION",
    "Classification",
    "Classifier",
    "StudentReport",
    "distill_student",
    "epochs_for",
    "load_classifier",
]


@dataclass(frozen=True)
class StudentReport(LearningReport):
    """All but `seconds`, `offers_per_s` and `resumed_epochs` is also in student.json.

    names: of categories, learned beside the offers. overruled_labels: training labels that the teacher's opinion
    outweighed. epoch_macro_f1: of each epoch, and best_epoch: the one (from 1) whose weights were kept, only with
    `student.patience`; stopped_after: epochs, where these were fewer than planned. grown: the head got more outputs
    than the earlier student had, so its shape changed. max_tokens: how far a text is read when the student answers.
    encoder_mb, trimmed_encoder_mb: the encoder's weights before and after its vocabulary was trimmed, on disk as in
    memory. changed_titles: share of held-out titles that trimming gives other pieces, changed_titles_cosine: mean
    cosine of all held-out titles' vectors before and after; None where the student it started from has no such record.
    """

    OF_THIS_RUN = (*LearningReport.OF_THIS_RUN, "resumed_epochs")

    names: int
    overruled_labels: int
    new_classes: int
    head_width: int
    grown: bool
    layers: int
    vocabulary: int
    parameters: int
    max_tokens: int
    started_from: bool
    epoch_macro_f1: tuple[float, ...]
    best_epoch: int | None
    stopped_after: int | None
    encoder_mb: float | None
    trimmed_encoder_mb: float | None
    changed_titles: float | None
    changed_titles_cosine: float | None
    resumed_epochs: int


def distill_student(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    encoder_folder: Path,
    settings: StudentSettings,
    out: Path,
    encoder: EncoderSettings | None = None,
    start_from: Path | None = None,
    changed: Collection[str] | None = None,
    progress: Progress = silent,
    names: "CategoryNames | None" = None,
    features: "FeatureCache | None" = None,
) -> StudentReport:
    """Train a student and write it to `out` as a Hugging Face directory (docs/contracts.md).

    samples, soft_labels: partition key to artifact folder. encoder_folder: the BERT that the body comes from.
    start_from: an earlier student, whose body, vocabulary and class indices are kept; its new categories take unused
    outputs. changed: the partitions whose soft labels that student has not seen; their offers are learned whole, of the
    other partitions `rehearsed_offers`. None = learn all. names: each category's paths, whose last names are learned as
    offers are. features: the embeddings of the encoder, for `student.alignment`. A run that was killed goes
    on from its last whole epoch when it is called again with the same arguments, and ends with the same bytes. Raises
    TrainingError.
    """
    from sortiment.student.distill import run_distillation

    return run_distillation(
        samples,
        soft_labels,
        teacher_classes,
        encoder_folder,
        settings,
        out,
        encoder or EncoderSettings(),
        start_from,
        changed,
        progress,
        names or {},
        features,
    )


def epochs_for(offers: int, settings: StudentSettings) -> int:
    """Passes over so many offers: `epochs`, or as many as make `least_steps` steps."""
    per_epoch = max(1, -(-offers // settings.batch_offers))
    return max(settings.epochs, -(-settings.least_steps // per_epoch)) if settings.least_steps else settings.epochs


def load_classifier(folder: Path, device: str = "auto", precision: str = "auto") -> "StudentClassifier":
    """A student directory as a `Classifier` in torch. Raises TrainingError where its files do not fit together."""
    from sortiment.student.classifier import StudentClassifier

    return StudentClassifier(folder, device, precision)
