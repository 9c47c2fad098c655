"""The student before its first step: a body with a trimmed vocabulary and taught words, or an earlier student."""

import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import BertForSequenceClassification

from sortiment.encoders import trim_vocabulary
from sortiment.encoders.references import describe_folder
from sortiment.errors import TrainingError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, StudentSettings
from sortiment.student.augmentation import Augmentation
from sortiment.student.body import build_student, grow_head, head_width, load_student, move_student, pad_id_of
from sortiment.student.classifier import read_classes
from sortiment.student.corpus import SPLITS, Corpus
from sortiment.student.curriculum import rows_of, rows_to_learn, rows_to_repeat
from sortiment.student.directory import (
    VOCABULARY_FILE,
    copy_tokenizer,
    lowercase_tokenizer,
    write_json,
    write_network,
)
from sortiment.student.head import choose_rows, fit_head
from sortiment.student.resume import Resume
from sortiment.student.scoring import Hardware
from sortiment.student.table import teach_table
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens, load_tokenizer, tokenize
from sortiment.student.words import add_words, tokenizer_without_words

MOST_JUDGED = 2_000  # offers that the trimmed vocabulary is judged on


def prepare_start(
    resume: Resume,
    corpus: Corpus,
    targets: Targets,
    encoder_folder: Path,
    settings: StudentSettings,
    encoder: EncoderSettings,
    start_from: Path | None,
    changed: Collection[str] | None,
    hardware: Hardware,
    progress: Progress,
) -> Path:
    """The student before the first step: body, vocabulary and a fitted head, kept for a run that resumes."""
    folder = resume.prepare()
    classes = corpus.classes
    width = head_width(len(classes), settings.head_room, settings.head_multiple)
    if start_from is None:
        trimmed = folder / "encoder"
        whole = describe_folder(str(encoder_folder), encoder_folder, resume.folder)
        used, unseen = _texts_to_trim(corpus, settings)
        report = trim_vocabulary(
            whole,
            used,
            trimmed,
            encoder,
            progress,
            products=corpus.product[_written(corpus)],
            held_out=unseen,
            changed_titles=settings.changed_titles,
        )
        write_json(trimmed / VOCABULARY_FILE, asdict(report))
        student = build_student(trimmed, settings.layers, classes, width, settings.averaging)
        copy_tokenizer(trimmed, folder, encoder.max_tokens)
        if settings.lowercase:
            lowercase_tokenizer(folder)
        shutil.rmtree(trimmed)
        if settings.word_least_offers:
            texts = [corpus.texts[row] for row in _written(corpus)]
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
        tokens = tokenize_texts(folder, corpus.texts, student, encoder)
        if first_new == 0 and settings.word_epochs:
            train = corpus.rows("train")
            epochs, gain = settings.word_epochs, settings.word_gain
            augmentation = plan_augmentation(folder, corpus, train, student, settings, encoder)
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
    hardware: Hardware,
    progress: Progress,
) -> None:
    """Words that the changed partitions repeat and the student does not have become pieces too, in place; they alone
    are taught, so that they mean what the words that are known already mean."""
    before = student.config.vocab_size
    texts = [corpus.texts[row] for row in rows_of(corpus, changed)]
    room = settings.most_words - getattr(student.config, "market_words", 0)
    if not add_words(student, folder, texts, settings.word_least_offers, max(room, 0)) or not settings.word_epochs:
        return
    move_student(student, hardware.device)
    rows = rows_to_learn(corpus, changed, settings)
    tokens = tokenize_texts(folder, corpus.texts, student, encoder)
    augmentation = plan_augmentation(folder, corpus, rows, student, settings, encoder)
    rows = np.concatenate([rows, rows_to_repeat(corpus, rows, changed, settings)])
    epochs, gain = settings.word_epochs, settings.word_gain
    teach_table(student, tokens, targets, rows, epochs, gain, settings.seed, progress, augmentation, first=before)


def _written(corpus: Corpus) -> npt.NDArray[np.int64]:
    """Training offers and names: texts that somebody wrote, as often as they did."""
    train = corpus.rows("train")
    return train[~corpus.made_up[train]]


def _texts_to_trim(corpus: Corpus, settings: StudentSettings) -> tuple[list[str], list[str]]:
    """What the vocabulary is made from, and offers on which it is judged: training offers, and some others."""
    unseen = np.flatnonzero(corpus.split != SPLITS.index("train"))
    unseen = np.sort(np.random.default_rng([settings.seed, 4]).permutation(unseen)[:MOST_JUDGED])
    used, judged = ([corpus.texts[row] for row in rows] for rows in (_written(corpus), unseen))
    if settings.lowercase:
        used, judged = [text.lower() for text in used], [text.lower() for text in judged]
    return used, judged


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


def tokenize_texts(
    folder: Path, texts: list[str], student: BertForSequenceClassification, encoder: EncoderSettings
) -> Tokens:
    return tokenize(load_tokenizer(folder, encoder.max_tokens), texts, pad_id_of(student))


def plan_augmentation(
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
        made_up=corpus.made_up,
        whole=load_tokenizer(folder, encoder.max_tokens),
        cut=tokenizer_without_words(folder, getattr(student.config, "market_words", 0)),
        pad_id=pad_id_of(student),
        max_tokens=encoder.max_tokens,
        settings=settings,
    )
    return augmentation if augmentation.active else None
