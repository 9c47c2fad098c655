"""Training a student, as a recipe: read, weigh, prepare, teach, calibrate, write."""

import contextlib
import logging
import shutil
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertForSequenceClassification

from sortiment.artifacts import content_version, file_sha256
from sortiment.blobs import write_atomically
from sortiment.encoders import trim_vocabulary
from sortiment.encoders.references import describe_folder
from sortiment.engines.machine import count_cores
from sortiment.errors import TrainingError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, StudentSettings
from sortiment.student import CODE_VERSION, StudentReport
from sortiment.student.augmentation import Augmentation
from sortiment.student.body import (
    build_student,
    first_token_logits,
    grow_head,
    head_width,
    load_student,
    move_student,
    pad_id_of,
)
from sortiment.student.calibration import Calibration
from sortiment.student.card import write_card
from sortiment.student.classifier import CLASSES_FILE, STUDENT_FILE, read_classes
from sortiment.student.corpus import NO_CLASS, SAMPLE_FILE, SOFT_LABELS_FILE, Corpus, read_corpus
from sortiment.student.directory import copy_tokenizer, lowercase_tokenizer, write_json, write_network
from sortiment.student.head import choose_rows, fit_head
from sortiment.student.lesson import Lesson, Plan, collect_optimizers
from sortiment.student.measures import measure_validation
from sortiment.student.resume import EpochState, Resume
from sortiment.student.scoring import choose_device, has_bf16, map_rows
from sortiment.student.table import teach_table
from sortiment.student.targets import Targets, weigh_targets
from sortiment.student.tokens import Tokens, load_tokenizer, tokenize
from sortiment.student.words import add_words, tokenizer_without_words


@dataclass(frozen=True)
class _Hardware:
    device: str
    bf16: bool


def run_distillation(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    encoder_folder: Path,
    settings: StudentSettings,
    out: Path,
    encoder: EncoderSettings,
    start_from: Path | None,
    changed: Collection[str] | None,
    progress: Progress,
) -> StudentReport:
    """See `sortiment.student.distill_student`."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(
        count_cores()
    )  # sums over another number of threads round differently: same cores, same bytes
    hardware = _choose_hardware(settings)
    earlier = read_classes(start_from) if start_from else []
    corpus = read_corpus(samples, soft_labels, teacher_classes, encoder.inputs, earlier)
    targets = weigh_targets(corpus, settings.label_noise, settings.label_share)
    rows = _rows_to_learn(corpus, changed if start_from else None, settings)
    known = _fingerprint(samples, soft_labels, corpus, encoder_folder, settings, encoder, start_from, changed)
    resume = Resume(out, known)
    source = resume.start or _prepare_start(
        resume, corpus, targets, encoder_folder, settings, encoder, start_from, changed, hardware, progress
    )
    student = move_student(load_student(source), hardware.device)
    tokens = _tokenize(source, corpus.texts, student, encoder)
    again = _rows_to_repeat(corpus, rows, changed if start_from else None, settings)
    plan = _plan(np.concatenate([rows, again]), settings, retraining=start_from is not None)
    taught_before = resume.load()
    teaching = time.monotonic()
    augmentation = _augment(source, corpus, rows, student, settings, encoder)
    losses = _teach(student, tokens, targets, plan, resume, taught_before, hardware, augmentation, progress)
    resumed = taught_before.epochs if taught_before else 0
    taught_offers = len(plan.rows) * (plan.epochs - resumed)
    rate = taught_offers / max(time.monotonic() - teaching, 1e-9)
    calibration, scores = measure_validation(
        corpus, lambda rows: map_rows(student, tokens, rows, first_token_logits, hardware.bf16)
    )
    report = StudentReport(
        offers=len(rows),
        labelled_offers=int((corpus.labels[rows] != NO_CLASS).sum()),
        overruled_labels=int((targets.label_kept[rows] < 0.5).sum()),
        classes=len(corpus.classes),
        new_classes=len(corpus.classes) - len(earlier) if start_from else 0,
        head_width=student.classifier.out_features,
        grown=start_from is not None and student.classifier.out_features > _width_of(start_from),
        layers=student.config.num_hidden_layers,
        vocabulary=student.config.vocab_size,
        parameters=sum(weight.numel() for weight in student.parameters()),
        started_from=start_from is not None,
        losses=tuple(losses),
        temperature=calibration.temperature,
        seconds=time.monotonic() - started,
        offers_per_s=rate,
        resumed_epochs=resumed,
        **scores,
    )
    _write(student, source, out, corpus, calibration, report, encoder)
    resume.remove()
    return report


def _choose_hardware(settings: StudentSettings) -> _Hardware:
    device = choose_device(settings.device)
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no GPU is available", value=settings.device, fix="set student.device to auto or cpu")
    bf16 = has_bf16(device) if settings.precision == "auto" else settings.precision == "bf16"
    return _Hardware(device, bf16)


def _fingerprint(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    corpus: Corpus,
    encoder_folder: Path,
    settings: StudentSettings,
    encoder: EncoderSettings,
    start_from: Path | None,
    changed: Collection[str] | None,
) -> str:
    """The hash of everything that the student's bytes depend on."""
    files = {f"sample {key}": folder / SAMPLE_FILE for key, folder in samples.items()}
    files |= {f"soft labels {key}": soft_labels[key] / SOFT_LABELS_FILE for key in samples}
    origin = start_from or encoder_folder
    files |= {
        f"origin {file.name}": file for file in sorted(origin.glob("*")) if file.suffix in (".safetensors", ".json")
    }
    return content_version(
        {
            "code": CODE_VERSION,
            "files": {name: file_sha256(file) for name, file in files.items()},
            "classes": corpus.classes,
            "settings": settings.model_dump(mode="json"),
            "encoder": [encoder.inputs, encoder.max_tokens],
            "torch": torch.__version__,
            "changed": None if changed is None else sorted(changed),
        }
    )


def _rows_to_learn(corpus: Corpus, changed: Collection[str] | None, settings: StudentSettings) -> npt.NDArray[np.int64]:
    """All training offers; or those of the partitions that changed, and others rehearsed, rare classes whole."""
    train = corpus.rows("train")
    if changed is None:
        return train
    new = _rows_of(corpus, changed)
    rehearsed = choose_rows(corpus.labels, np.setdiff1d(train, new), settings.rehearsed_offers, settings.seed)
    return np.union1d(new, rehearsed)


def _rows_to_repeat(
    corpus: Corpus, rows: npt.NDArray[np.int64], changed: Collection[str] | None, settings: StudentSettings
) -> npt.NDArray[np.int64]:
    """What an epoch goes over once more: the changed partitions' offers, where they are fewer than the rehearsed."""
    own = rows[:0] if changed is None else _rows_of(corpus, changed)
    return np.tile(own, settings.changed_passes - 1 if 2 * len(own) < len(rows) else 0)


def _rows_of(corpus: Corpus, partitions: Collection[str]) -> npt.NDArray[np.int64]:
    """The training offers of some partitions."""
    train = corpus.rows("train")
    places = [place for place, key in enumerate(corpus.partitions) if key in partitions]
    rows: npt.NDArray[np.int64] = train[np.isin(corpus.partition[train], places)]
    return rows


def _prepare_start(
    resume: Resume,
    corpus: Corpus,
    targets: Targets,
    encoder_folder: Path,
    settings: StudentSettings,
    encoder: EncoderSettings,
    start_from: Path | None,
    changed: Collection[str] | None,
    hardware: _Hardware,
    progress: Progress,
) -> Path:
    """The student before the first step: body, vocabulary and a fitted head, kept for a run that resumes."""
    folder = resume.prepare()
    classes = corpus.classes
    width = head_width(len(classes), settings.head_room, settings.head_multiple)
    if start_from is None:
        trimmed = folder / "encoder"
        whole = describe_folder(str(encoder_folder), encoder_folder, resume.folder)
        texts = [text.lower() for text in corpus.texts] if settings.lowercase else corpus.texts
        trim_vocabulary(whole, texts, trimmed, encoder, progress)
        student = build_student(trimmed, settings.layers, classes, width, settings.averaging)
        copy_tokenizer(trimmed, folder, encoder.max_tokens)
        if settings.lowercase:
            lowercase_tokenizer(folder)
        shutil.rmtree(trimmed)
        if settings.word_least_offers:
            texts = [corpus.texts[row] for row in corpus.rows("train")]
            add_words(student, folder, texts, settings.word_least_offers, settings.most_words)
        first_new = 0
    else:
        first_new = len(read_classes(start_from))
        student = grow_head(load_student(start_from), classes, width)
        copy_tokenizer(start_from, folder, encoder.max_tokens)
        if changed is not None and settings.word_least_offers:
            _learn_new_words(student, folder, corpus, targets, changed, settings, encoder, hardware, progress)
    if first_new < len(classes):
        move_student(student, hardware.device)
        rows = _rows_for_head(corpus, first_new, settings)
        tokens = _tokenize(folder, corpus.texts, student, encoder)
        if first_new == 0 and settings.word_epochs:
            train = corpus.rows("train")
            epochs, gain = settings.word_epochs, settings.word_gain
            augmentation = _augment(folder, corpus, train, student, settings, encoder)
            teach_table(student, tokens, targets, train, epochs, gain, settings.seed, progress, augmentation)
        with progress("fit the student's head", total=len(rows)) as step:
            fit_head(student, tokens, targets, rows, len(classes), first_new, settings.seed, hardware.bf16)
            step.advance(len(rows))
    write_network(student, folder)
    return resume.keep_start()


def _learn_new_words(
    student: BertForSequenceClassification,
    folder: Path,
    corpus: Corpus,
    targets: Targets,
    changed: Collection[str],
    settings: StudentSettings,
    encoder: EncoderSettings,
    hardware: _Hardware,
    progress: Progress,
) -> None:
    """Words that the changed partitions repeat and the student does not have become pieces too, in place; they alone
    are taught, so that they mean what the words that are known already mean."""
    before = student.config.vocab_size
    texts = [corpus.texts[row] for row in _rows_of(corpus, changed)]
    room = settings.most_words - getattr(student.config, "market_words", 0)
    if not add_words(student, folder, texts, settings.word_least_offers, max(room, 0)) or not settings.word_epochs:
        return
    move_student(student, hardware.device)
    rows = _rows_to_learn(corpus, changed, settings)
    tokens = _tokenize(folder, corpus.texts, student, encoder)
    augmentation = _augment(folder, corpus, rows, student, settings, encoder)
    epochs, gain = settings.word_epochs, settings.word_gain
    teach_table(student, tokens, targets, rows, epochs, gain, settings.seed, progress, augmentation, first=before)


def _rows_for_head(corpus: Corpus, first_new: int, settings: StudentSettings) -> npt.NDArray[np.int64]:
    train = corpus.rows("train")
    if not len(train):
        raise TrainingError(
            "the samples hold no offers to train on",
            value=f"{len(corpus)} offers, all in other splits",
            fix="lower sampling.test_share and sampling.validation_share, or sample more offers",
        )
    chosen = choose_rows(corpus.labels, train, settings.head_fit_offers, settings.seed)
    new = train[corpus.labels[train] >= first_new] if first_new else chosen[:0]
    return np.union1d(chosen, new)


def _tokenize(
    folder: Path, texts: list[str], student: BertForSequenceClassification, encoder: EncoderSettings
) -> Tokens:
    return tokenize(load_tokenizer(folder, encoder.max_tokens), texts, pad_id_of(student))


def _augment(
    folder: Path,
    corpus: Corpus,
    rows: npt.NDArray[np.int64],
    student: BertForSequenceClassification,
    settings: StudentSettings,
    encoder: EncoderSettings,
) -> Augmentation | None:
    """How the rows are read otherwise each epoch; None where the settings ask for nothing."""
    augmentation = Augmentation(
        texts=corpus.texts,
        rows=rows,
        whole=load_tokenizer(folder, encoder.max_tokens),
        cut=tokenizer_without_words(folder, getattr(student.config, "market_words", 0)),
        pad_id=pad_id_of(student),
        max_tokens=encoder.max_tokens,
        settings=settings,
    )
    return augmentation if augmentation.active else None


def _plan(rows: npt.NDArray[np.int64], settings: StudentSettings, retraining: bool) -> Plan:
    rate = settings.retrain_learning_rate if retraining else settings.learning_rate
    return Plan(
        rows=rows,
        epochs=settings.retrain_epochs if retraining else settings.epochs,
        batch_offers=settings.batch_offers,
        learning_rate=rate,
        embedding_learning_rate=rate * settings.embedding_rate_factor,
        warmup_share=settings.warmup_share,
        weight_decay=settings.weight_decay,
        temperature=settings.temperature,
        seed=settings.seed,
    )


def _teach(
    student: BertForSequenceClassification,
    tokens: Tokens,
    targets: Targets,
    plan: Plan,
    resume: Resume,
    state: EpochState | None,
    hardware: _Hardware,
    augmentation: Augmentation | None,
    progress: Progress,
) -> list[float]:
    """Train in place, saving after each epoch. Gives each epoch's mean loss."""
    losses = list(state.losses) if state else []
    first_epoch = state.epochs if state else 0
    if state:
        student.load_state_dict(state.weights)
    if first_epoch >= plan.epochs:
        return losses

    def save(lesson: Lesson, epochs: int, loss: float) -> None:
        losses.append(round(loss, 6))
        optimizer = collect_optimizers(student, lesson.both_optimizers())
        resume.save(EpochState(epochs, losses, student.state_dict(), optimizer))

    total = len(plan.rows) * (plan.epochs - first_epoch)
    with progress("distill the student", total=total) as step, _quiet_lightning():
        import lightning

        optimizer = state.optimizer if state else None
        lesson = Lesson(student, tokens, targets, plan, first_epoch, step, save, optimizer, augmentation)
        trainer = lightning.Trainer(
            accelerator="gpu" if hardware.device == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if hardware.bf16 else "32-true",
            max_epochs=plan.epochs - first_epoch,
            reload_dataloaders_every_n_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(lesson)
    move_student(student, hardware.device).train(False)
    return losses


def _write(
    student: BertForSequenceClassification,
    source: Path,
    out: Path,
    corpus: Corpus,
    calibration: Calibration,
    report: StudentReport,
    encoder: EncoderSettings,
) -> None:
    facts = report.summary() | {"inputs": list(encoder.inputs), "max_tokens": encoder.max_tokens, "code": CODE_VERSION}
    facts |= {"countries": list(corpus.countries), "temperature": dict(calibration.temperature)}
    copy_tokenizer(source, out, encoder.max_tokens)
    calibration.write(out)
    write_json(out / CLASSES_FILE, list(corpus.classes))
    write_json(out / STUDENT_FILE, facts)
    write_atomically(out / "README.md", write_card(facts).encode())
    write_network(student, out)


def _width_of(folder: Path) -> int:
    return load_student(folder).classifier.out_features


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning tells about devices and workers on its logger and in warnings; a stage tells through its progress."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
