"""The fast student: class scores and a vector per word, spelling included, and per pair of words.

The scores are solved for the soft labels in closed form (`solving.py`); the vectors, and two dense layers above their
sum, learn them and the teacher's answers to made-up titles (`averaging.py`). Tens of thousands of offers a second on
one core. It comes first in a cascade. Importing this is cheap: torch is imported when a student is trained or loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, FastSettings, StudentSettings
from sortiment.student.report import LearningReport

if TYPE_CHECKING:
    from sortiment.encoders import FeatureCache
    from sortiment.fast.classifier import FastClassifier
    from sortiment.teacher import CategoryNames

CODE_VERSION = "9"

__all__ = ["CODE_VERSION", "FastReport", "distill_fast", "load_fast_classifier", "passes_for", "shaping_of"]


@dataclass(frozen=True)
class FastReport(LearningReport):
    """max_words: how far a text is read. words, pairs: rows of the table. runs: of characters, for words that it does
    not have. iterations, residual: of the solver. name_strength: how far the categories' names are believed, 0 to 1;
    None without names. losses: of each pass of the averaging network. opinion_temperatures: of the class scores and of
    the network, whose probabilities are averaged."""

    max_words: int
    words: int
    pairs: int
    runs: int
    bytes: int
    iterations: int
    residual: float
    name_strength: float | None
    opinion_temperatures: tuple[float, ...]


def distill_fast(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    settings: FastSettings,
    out: Path,
    student: StudentSettings | None = None,
    encoder: EncoderSettings | None = None,
    progress: Progress = silent,
    names: "CategoryNames | None" = None,
    features: "FeatureCache | None" = None,
) -> FastReport:
    """Train a fast student and write it to `out`: `weights.safetensors`, `words.json`, `fast.json`, `classes.json` and
    `calibration.json`.

    samples, soft_labels: partition key to artifact folder, as for `sortiment.student.distill_student`. student: how
    labels and teacher are weighed. encoder: which columns are read. names: each category's paths, as the teacher has
    them. features: the embeddings of the encoder, for `fast.alignment`. Raises TrainingError.
    """
    from sortiment.fast.training import run_fast_distillation

    return run_fast_distillation(
        samples,
        soft_labels,
        teacher_classes,
        settings,
        out,
        student or StudentSettings(),
        encoder or EncoderSettings(),
        progress,
        names or {},
        features,
    )


def shaping_of(fast: FastSettings, student: StudentSettings, encoder: EncoderSettings) -> dict[str, Any]:
    """The settings that a fast student depends on, as JSON."""
    return {
        "fast": fast.model_dump(mode="json"),
        "student": {"label_noise": student.label_noise, "label_share": student.label_share},
        "inputs": list(encoder.inputs),
    } | ({"encoder": encoder.model_dump(mode="json")} if fast.alignment else {})


def passes_for(texts: int, settings: FastSettings) -> int:
    """Of the averaging network: few texts are gone over more often."""
    steps = -(-texts // settings.batch_offers)
    return max(settings.passes, -(-settings.least_steps // max(steps, 1)))


def load_fast_classifier(folder: Path) -> "FastClassifier":
    """A fast student as a `Classifier`. Raises TrainingError where its files do not fit together."""
    from sortiment.fast.classifier import FastClassifier

    return FastClassifier(folder)
