"""Training a student, as a recipe: read, weigh, prepare, teach, calibrate, write."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertForSequenceClassification

from sortiment.artifacts import content_version, file_sha256
from sortiment.blobs import write_atomically
from sortiment.calibration import Calibration
from sortiment.encoders import FeatureCache
from sortiment.machine import count_cores
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, StudentSettings
from sortiment.student import CODE_VERSION, StudentReport, epochs_for
from sortiment.student.alignment import Alignment, Embeddings, read_embeddings
from sortiment.student.body import (
    first_token_logits,
    load_student,
    move_student,
    refuse_broken,
)
from sortiment.student.card import write_card
from sortiment.student.classifier import CLASSES_FILE, STUDENT_FILE, read_classes, read_max_tokens
from sortiment.student.corpus import (
    NO_CLASS,
    SAMPLE_FILE,
    Corpus,
    add_names,
    add_transfer_titles,
    read_corpus,
)
from sortiment.student.curriculum import rows_to_learn, rows_to_repeat
from sortiment.student.directory import VOCABULARY_FILE, copy_tokenizer, write_json, write_network
from sortiment.student.epochs import Plan
from sortiment.student.head import emphasize_tail
from sortiment.student.measures import judge_epoch, measure_validation
from sortiment.student.resume import Resume
from sortiment.student.scoring import choose_hardware, map_rows
from sortiment.student.starting import plan_augmentation, prepare_start, tokenize_texts
from sortiment.student.stopping import Stopping, refuse_unjudged
from sortiment.student.targets import weigh_targets
from sortiment.student.teaching import Course
from sortiment.student.tokens import Tokens, usual_length
from sortiment.teacher import SOFT_LABELS_FILE, TRANSFER_FILE
from sortiment.teacher.names import CategoryNames, write_names


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
    names: CategoryNames,
    features: FeatureCache | None,
) -> StudentReport:
    """See `sortiment.student.distill_student`."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(
        count_cores()
    )  # sums over another number of threads round differently: same cores, same bytes
    hardware = choose_hardware(settings)
    earlier = read_classes(start_from) if start_from else []
    corpus = read_corpus(samples, soft_labels, teacher_classes, encoder.inputs, earlier)
    corpus = add_transfer_titles(corpus, soft_labels)
    if settings.most_names:
        corpus = add_names(corpus, write_names(names, corpus.classes, settings.most_names))
    targets = weigh_targets(corpus, settings.label_noise, settings.label_share)
    rows = rows_to_learn(corpus, changed if start_from else None, settings)
    # an earlier student's states were met through a map that is gone: another one would bend them first
    pull = 0.0 if start_from else settings.alignment
    embeddings = read_embeddings(corpus, rows, features, pull, progress)
    refuse_unjudged(corpus, settings.patience)
    known = _fingerprint(
        samples, soft_labels, corpus, encoder_folder, settings, encoder, start_from, changed, embeddings
    )
    resume = Resume(out, known)
    source = resume.start or prepare_start(
        resume, corpus, targets, encoder_folder, settings, encoder, start_from, changed, hardware, progress
    )
    student = move_student(load_student(source), hardware.device)
    tokens = tokenize_texts(source, corpus.texts, student, encoder)
    max_tokens = _choose_max_tokens(corpus, tokens, settings, encoder, start_from)
    read = tokens.cut(max_tokens)
    offers = rows[corpus.is_offer[rows]]
    again = rows_to_repeat(corpus, rows, changed if start_from else None, settings)
    plan = _plan(np.concatenate([rows, again]), settings, retraining=start_from is not None)
    taught_before = resume.load()
    teaching = time.monotonic()
    augmentation = plan_augmentation(source, corpus, rows, student, settings, encoder)

    def score(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return map_rows(student, read, rows, first_token_logits, hardware.bf16)

    stopping = Stopping(settings.patience, lambda: judge_epoch(corpus, score)) if settings.patience else None
    alignment = _align(embeddings, student, settings)
    course = Course(student, tokens, targets, plan, settings.temperature, hardware, augmentation, alignment, stopping)
    losses = course.teach(resume, taught_before, progress)
    resumed = taught_before.epochs if taught_before else 0
    taught_offers = len(plan.rows) * (len(losses) - resumed)
    rate = taught_offers / max(time.monotonic() - teaching, 1e-9)
    if start_from is None:  # an earlier student's classes were lifted when it was trained
        emphasize_tail(student, targets, offers, len(corpus.classes), settings.tail_emphasis)
    refuse_broken(student)
    calibration, scores = measure_validation(corpus, score)
    report = StudentReport(
        offers=len(offers),
        names=int(corpus.is_name[rows].sum()),
        transfer_titles=int(corpus.made_up[rows].sum()),
        labelled_offers=int((corpus.labels[offers] != NO_CLASS).sum()),
        left_out_offers=corpus.left_out_offers,
        kept_repeats=corpus.kept_repeats,
        overruled_labels=int((targets.label_kept[offers] < 0.5).sum()),
        classes=len(corpus.classes),
        new_classes=len(corpus.classes) - len(earlier) if start_from else 0,
        head_width=student.classifier.out_features,
        grown=start_from is not None and student.classifier.out_features > _width_of(start_from),
        layers=student.config.num_hidden_layers,
        vocabulary=student.config.vocab_size,
        parameters=sum(weight.numel() for weight in student.parameters()),
        max_tokens=max_tokens,
        started_from=start_from is not None,
        losses=tuple(losses),
        epoch_macro_f1=tuple(stopping.macro_f1) if stopping else (),
        best_epoch=stopping.best_epoch if stopping else None,
        stopped_after=len(losses) if len(losses) < plan.epochs else None,
        temperature=calibration.temperature,
        entropy_slope=calibration.entropy_slope,
        seconds=time.monotonic() - started,
        offers_per_s=rate,
        resumed_epochs=resumed,
        **_vocabulary_figures(source),
        **scores,
    )
    _write(student, source, out, corpus, calibration, report, encoder.inputs)
    resume.remove()
    return report


def _fingerprint(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    corpus: Corpus,
    encoder_folder: Path,
    settings: StudentSettings,
    encoder: EncoderSettings,
    start_from: Path | None,
    changed: Collection[str] | None,
    embeddings: Embeddings | None,
) -> str:
    """The hash of everything that the student's bytes depend on."""
    files = {f"sample {key}": folder / SAMPLE_FILE for key, folder in samples.items()}
    for file in (SOFT_LABELS_FILE, TRANSFER_FILE):
        files |= {f"{file} {key}": soft_labels[key] / file for key in samples}
    origin = start_from or encoder_folder
    files |= {
        f"origin {file.name}": file for file in sorted(origin.glob("*")) if file.suffix in (".safetensors", ".json")
    }
    return content_version(
        {
            "code": CODE_VERSION,
            "files": {name: file_sha256(file) for name, file in files.items()},
            "classes": corpus.classes,
            "names": [corpus.texts[row] for row in np.flatnonzero(corpus.is_name)],
            "settings": settings.model_dump(mode="json"),
            "encoder": [encoder.inputs, encoder.max_tokens],
            "torch": torch.__version__,
            "changed": None if changed is None else sorted(changed),
            "embeddings": None if embeddings is None else embeddings.space,
        }
    )


def _choose_max_tokens(
    corpus: Corpus, tokens: Tokens, settings: StudentSettings, encoder: EncoderSettings, start_from: Path | None
) -> int:
    """How far the student reads a text when it answers; an earlier student does not become shorter-sighted."""
    train = corpus.rows("train")
    usual = usual_length(tokens.lengths[train[corpus.is_offer[train]]], settings.read_share, encoder.max_tokens)
    return usual if start_from is None else min(max(usual, read_max_tokens(start_from)), encoder.max_tokens)


def _plan(rows: npt.NDArray[np.int64], settings: StudentSettings, retraining: bool) -> Plan:
    """How long and how fast to learn: few offers get more epochs than asked for."""
    rate = settings.retrain_learning_rate if retraining else settings.learning_rate
    return Plan(
        rows=rows,
        epochs=settings.retrain_epochs if retraining else epochs_for(len(rows), settings),
        batch_offers=settings.batch_offers,
        learning_rate=rate,
        embedding_learning_rate=rate * settings.embedding_rate_factor,
        warmup_share=settings.warmup_share,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
    )


def _align(
    embeddings: Embeddings | None, student: BertForSequenceClassification, settings: StudentSettings
) -> Alignment | None:
    if embeddings is None:
        return None
    return Alignment(embeddings, settings.alignment, student.config.hidden_size, settings.seed)


def _write(
    student: BertForSequenceClassification,
    source: Path,
    out: Path,
    corpus: Corpus,
    calibration: Calibration,
    report: StudentReport,
    inputs: Sequence[str],
) -> None:
    facts = report.summary() | {"inputs": list(inputs), "code": CODE_VERSION}
    facts |= {"countries": list(corpus.countries), "temperature": dict(calibration.temperature)}
    copy_tokenizer(source, out, report.max_tokens)
    calibration.write(out)
    write_json(out / CLASSES_FILE, list(corpus.classes))
    write_json(out / STUDENT_FILE, facts)
    write_atomically(out / "README.md", write_card(facts).encode())
    write_network(student, out)


def _vocabulary_figures(source: Path) -> dict[str, Any]:
    """What trimming saved and changed, as the report's fields."""
    file = source / VOCABULARY_FILE
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {
        "encoder_mb": round(known["bytes_before"] / 1e6, 1) if known else None,
        "trimmed_encoder_mb": round(known["bytes_after"] / 1e6, 1) if known else None,
        "changed_titles": known.get("changed_share"),
        "changed_titles_cosine": known.get("cosine_mean"),
    }


def _width_of(folder: Path) -> int:
    return load_student(folder).classifier.out_features
