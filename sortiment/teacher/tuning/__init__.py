"""Fine-tuning the teacher's encoder: once on all training offers, and once without each fold of them.

What comes out is a Hugging Face directory like any other encoder's: embedding, caching and labelling know no other way.
A body that has seen an offer's label puts the offer where that label is, so the ridge's leave-one-out answers are no
longer what the teacher would have said without it: a wrong label would confirm itself. So the training offers are dealt
into folds; for each fold a body is tuned without it, and only what that body makes of the offers is kept (their
embeddings, not its weights). The teacher's answers for its training offers come from these (`sortiment.teacher.folds`);
validation and test offers, which no body has seen, are judged by the encoder that is kept. The price is one tuning for
each fold, of which none reads the whole. Measuring the trust on validation offers alone would have been cheaper, but
the students learn mostly from training offers, and those answers would still have been the labels.

Importing this is cheap: torch, Lightning and peft are imported when an encoder is tuned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortiment.encoders import EncoderFolder
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, TeacherSettings
from sortiment.teacher.ridge import Floats, Ints

__all__ = ["WORK", "Tuned", "TuningOffers", "tune_encoder"]

WORK = ".tuning"
"""What a killed run left, in the teacher's folder; removed when the teacher is written."""


@dataclass(frozen=True)
class TuningOffers:
    """Labelled training offers, by key. texts: with their prompt. vectors: as the untuned encoder gives them, float32
    [n, hidden]. weights: 1, or less where a label is suspect. departments: of each class. names: further texts whose
    embeddings are wanted."""

    texts: list[str]
    vectors: Floats
    labels: Ints
    weights: Floats
    classes: int
    departments: Ints
    names: Sequence[str]


@dataclass(frozen=True)
class Tuned:
    """encoder: tuned on all offers. fold: of each offer, int64 [n]. features, names: of each fold, what the encoder
    that was tuned without it makes of all offers and names, float32 [n, hidden]. facts: for the report."""

    encoder: EncoderFolder
    fold: Ints
    features: list[Floats]
    names: list[Floats]
    facts: dict[str, Any]


def tune_encoder(
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
    offers: TuningOffers,
    out: Path,
    progress: Progress,
) -> Tuned:
    """Tune the encoder and write it to `out`/encoder.

    A run that was killed goes on from its last whole epoch when it is called again with the same arguments, and ends
    with the same bytes. Raises TrainingError where the encoder has not the layers that the settings ask for, where
    `peft` is wanted and not installed, and where a loss or a weight is not a number; then nothing is written to
    `out`/encoder.
    """
    from sortiment.teacher.tuning.running import run_tuning

    return run_tuning(encoder, encoder_settings, settings, offers, out, progress)
