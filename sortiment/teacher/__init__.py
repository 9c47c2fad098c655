"""The teacher: an encoder with a class head and an n-gram model in one calibrated ensemble, and its soft labels.

Importing this is cheap: torch, transformers and scikit-learn are imported when a teacher is trained or loaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sortiment.encoders import EncoderFolder
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, TeacherSettings

if TYPE_CHECKING:
    from sortiment.teacher.ensemble import Teacher
    from sortiment.teacher.training import TeacherReport

CODE_VERSION = "1"
SOFT_LABELS_FILE = "soft_labels.parquet"

__all__ = ["CODE_VERSION", "SOFT_LABELS_FILE", "label_samples", "load_teacher", "train_teacher"]


def train_teacher(
    samples: Mapping[str, Path],
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
    out: Path,
    features: Path,
    progress: Progress = silent,
) -> "TeacherReport":
    """Fit a teacher on the samples' labelled training offers and write it to `out`.

    samples: partition key to artifact folder. features: the cache of encoder features. Raises TrainingError where there
    is nothing to learn from.
    """
    from sortiment.teacher.training import run_training

    return run_training(samples, encoder, encoder_settings, settings, out, features, progress)


def load_teacher(folder: Path, encoder: EncoderFolder, encoder_settings: EncoderSettings, features: Path) -> "Teacher":
    """The teacher in a folder. Raises TrainingError where it was fitted on another encoder."""
    from sortiment.teacher.ensemble import read_teacher

    return read_teacher(folder, encoder, encoder_settings, features)


def label_samples(
    teacher: "Teacher",
    samples: Mapping[str, Path],
    out: Mapping[str, Path],
    settings: TeacherSettings,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """Write `soft_labels.parquet` (docs/contracts.md) for each partition into its folder; returns the summaries."""
    from sortiment.teacher.labelling import run_labelling

    return run_labelling(teacher, samples, out, settings, progress)
