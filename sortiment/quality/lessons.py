"""What students learn from: a split's teacher with its soft labels, or nothing but the labels.

A lesson holds no test offer: not even a student's vocabulary sees one, and made-up titles are made of training offers.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.artifacts import Artifact, ArtifactStore, Recipe
from sortiment.encoders import EncoderFolder
from sortiment.progress import Progress
from sortiment.quality import CODE_VERSION
from sortiment.quality.splits import SplitOffers
from sortiment.sampling import SAMPLE_FILE
from sortiment.settings import Settings
from sortiment.student.corpus import CLASSES_FILE
from sortiment.teacher import CODE_VERSION as TEACHER_VERSION
from sortiment.teacher import SOFT_LABELS_FILE, TRANSFER_FILE, label_samples, load_teacher, train_teacher
from sortiment.teacher.labelling import SCHEMA, TRANSFER_SCHEMA
from sortiment.teacher.teacher import TEACHER_FILE

TEACHER_ASSET, LESSON_ASSET = "bench_teacher", "bench_lesson"
LESSON_PACKAGES = ("openvino", "scikit-learn")


@dataclass(frozen=True)
class Bench:
    """What every arm works with. features: the cache of embeddings. progress: shows how far a step is."""

    store: ArtifactStore
    encoder: EncoderFolder
    features: Path
    settings: Settings
    progress: Progress


@dataclass(frozen=True)
class Lesson:
    """samples, soft_labels: by country, without test offers. classes: in the order of the soft labels."""

    samples: dict[str, Path]
    soft_labels: dict[str, Path]
    classes: list[str]
    version: str


def has_teacher(bench: Bench, split: SplitOffers) -> bool:
    """Whether the split's teacher is there."""
    return bench.store.find(TEACHER_ASSET, _teacher_recipe(bench, split).version) is not None


def make_teacher(bench: Bench, split: SplitOffers) -> Artifact:
    """The split's teacher in `teacher/`, its labels for all offers in `labels/COUNTRY/`; found or made."""
    encoder_settings, settings = bench.settings.encoder, bench.settings.teacher

    def write(out: Path) -> dict[str, int]:
        folder = out / "teacher"
        if not (folder / TEACHER_FILE).is_file():
            train_teacher(
                split.samples,
                bench.encoder,
                encoder_settings,
                settings,
                folder,
                bench.features,
                bench.progress,
                split.category_names,
            )
        teacher = load_teacher(folder, bench.encoder, encoder_settings, bench.features)
        labels = {country: out / "labels" / country for country in split.samples}
        label_samples(teacher, split.samples, labels, settings, bench.progress)
        return {"classes": len(teacher.classes)}

    return bench.store.build(TEACHER_ASSET, _teacher_recipe(bench, split), write, resumable=True)


def _teacher_recipe(bench: Bench, split: SplitOffers) -> Recipe:
    settings = bench.settings
    return Recipe(
        {"split": split.version, "encoder": bench.encoder.version},
        {"teacher": settings.teacher.model_dump(mode="json"), "encoder": settings.encoder.model_dump(mode="json")},
        f"{CODE_VERSION}-{TEACHER_VERSION}",
        LESSON_PACKAGES,
    )


def make_lesson(bench: Bench, split: SplitOffers, distilled: bool) -> Lesson:
    """Distilled: the teacher's labels for labelled and unlabelled offers. Hard: each labelled offer's own label."""
    teacher = make_teacher(bench, split) if distilled else None
    recipe = Recipe({"split": split.version, "teacher": teacher.version if teacher else "none"}, {}, CODE_VERSION)

    def write(out: Path) -> None:
        for country, folder in split.samples.items():
            sample = pq.read_table(folder / SAMPLE_FILE)
            kept = pc.not_equal(sample["split"], "test")
            if teacher is None:
                kept = pc.and_(kept, pc.is_valid(sample["category_id"]))
            target = out / country
            target.mkdir()
            sample = sample.filter(kept)
            pq.write_table(sample, target / SAMPLE_FILE)
            if teacher is not None:
                labels = teacher.path / "labels" / country
                soft = pq.read_table(labels / SOFT_LABELS_FILE).filter(kept)
                shutil.copyfile(labels / TRANSFER_FILE, target / TRANSFER_FILE)
                classes = json.loads((labels / CLASSES_FILE).read_text(encoding="utf-8"))
            else:
                classes = sorted(set(sample["category_id"].to_pylist()))
                soft = _own_labels(sample, classes)
                pq.write_table(TRANSFER_SCHEMA.empty_table(), target / TRANSFER_FILE)
            pq.write_table(soft, target / SOFT_LABELS_FILE)
            (target / CLASSES_FILE).write_text(json.dumps(classes), encoding="utf-8")

    folder = bench.store.build(LESSON_ASSET, recipe, write).path
    paths = {country: folder / country for country in split.samples}
    classes: dict[str, None] = {}
    for path in paths.values():
        classes |= dict.fromkeys(json.loads((path / CLASSES_FILE).read_text(encoding="utf-8")))
    return Lesson(paths, paths, sorted(classes), folder.name)


def _own_labels(sample: pa.Table, classes: list[str]) -> pa.Table:
    """Soft labels that repeat the label."""
    position = {category: index for index, category in enumerate(classes)}
    index = np.array([position[category] for category in sample["category_id"].to_pylist()], np.int32)
    starts = pa.array(np.arange(len(index) + 1, dtype=np.int32))
    columns = [
        sample["offer_key"].combine_chunks(),
        pa.ListArray.from_arrays(starts, pa.array(index)),
        pa.ListArray.from_arrays(starts, pa.array(np.zeros(len(index), np.float32))),
        pa.array(np.zeros(len(index), np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
