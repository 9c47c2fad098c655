"""Training a fast student: read, weigh, count, solve, calibrate, write. Seconds, on one core."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor

from sortiment.errors import TrainingError
from sortiment.fast import FastReport
from sortiment.fast.classifier import CLASSES_FILE, FAST_FILE, WEIGHTS_FILE, WORDS_FILE
from sortiment.fast.features import Features, collect_features
from sortiment.fast.naming import fit_prior
from sortiment.fast.network import FastNetwork, Floats, Tables
from sortiment.fast.solving import Solution, solve_ridge
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, FastSettings, StudentSettings
from sortiment.student.corpus import NO_CLASS, read_corpus
from sortiment.student.directory import write_json
from sortiment.student.measures import measure_validation
from sortiment.student.targets import Targets, weigh_targets
from sortiment.teacher.names import CategoryNames, write_names

SMALLEST_WEIGHT = 1e-3


def run_fast_distillation(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    settings: FastSettings,
    out: Path,
    student: StudentSettings,
    encoder: EncoderSettings,
    progress: Progress,
    names: CategoryNames,
) -> FastReport:
    """See `sortiment.fast.distill_fast`."""
    started = time.monotonic()
    corpus = read_corpus(samples, soft_labels, teacher_classes, encoder.inputs)
    targets = weigh_targets(corpus, student.label_noise, student.label_share)
    train = corpus.rows("train")
    if not len(train):
        raise TrainingError("the samples hold no offers to train on", value=len(corpus), fix="sample more offers")
    room = settings.most_weights // len(corpus.classes)
    texts = [corpus.texts[row] for row in train.tolist()]
    named = write_names(names, corpus.classes, settings.most_names)
    every = [*texts, *named.texts] if named is not None else texts
    features = collect_features(every, settings.max_words, settings.least_offers, room)
    wanted = _as_matrix(targets, train, len(corpus.classes))
    weights, lift = _balance(wanted, settings.class_balance), _lift_small(wanted, settings.tail_emphasis)
    solver: dict[str, Any] = {"tolerance": settings.tolerance, "iterations": settings.iterations}
    teaching = time.monotonic()
    solves = 1 if named is None else 2
    with progress("distill the fast student", total=solves * settings.iterations, unit="iterations") as step:
        prior = None
        if named is not None:
            penalty = settings.name_regularization
            prior = fit_prior(features, named, wanted, weights, regularization=penalty, **solver, step=step)
        if prior is not None:
            wanted -= prior.answers
        own = replace(features, texts=features.texts[: len(train)])
        solved = solve_ridge(own, wanted, weights, regularization=settings.regularization, **solver, step=step)
        solved = solved if prior is None else prior.joined(solved)
    rate = len(train) / max(time.monotonic() - teaching, 1e-9)
    tables = _as_tables(features, solved, lift)
    network = FastNetwork(features.words, tables, settings.max_words)
    calibration, scores = measure_validation(
        corpus, lambda rows: network.score([corpus.texts[row] for row in rows.tolist()])
    )
    out.mkdir(parents=True, exist_ok=True)
    _write_weights(out, tables)
    write_json(out / WORDS_FILE, features.words)
    write_json(out / CLASSES_FILE, list(corpus.classes))
    calibration.write(out)
    report = FastReport(
        offers=len(train),
        labelled_offers=int((corpus.labels[train] != NO_CLASS).sum()),
        classes=len(corpus.classes),
        words=len(features.words),
        pairs=features.pairs.size,
        runs=features.runs.size,
        bytes=(out / WEIGHTS_FILE).stat().st_size,
        iterations=solved.iterations,
        residual=round(solved.residual, 6),
        name_strength=None if prior is None else round(prior.strength, 4),
        temperature=calibration.temperature,
        seconds=time.monotonic() - started,
        offers_per_s=rate,
        **scores,
    )
    facts: dict[str, Any] = report.summary()
    write_json(out / FAST_FILE, facts | {"inputs": list(encoder.inputs), "max_words": settings.max_words})
    return report


def _as_matrix(targets: Targets, train: npt.NDArray[np.int64], classes: int) -> Floats:
    """The targets of the training offers, [offers, classes]; mass of classes that the teacher did not name is left."""
    index, probability, _ = targets.of(train)
    wanted = np.zeros((len(train), classes), np.float32)
    named = index >= 0
    np.add.at(wanted, (np.nonzero(named)[0], index[named]), probability[named])
    return wanted


def _balance(wanted: Floats, balance: float) -> Floats:
    """Weight of each offer, mean 1: the size of its likeliest class to the power of minus `balance`."""
    sizes = wanted.sum(0, dtype=np.float64)
    weights = np.maximum(sizes[wanted.argmax(1)], 1.0) ** -balance
    scaled: Floats = np.maximum(weights / weights.mean(), SMALLEST_WEIGHT).astype(np.float32)
    return scaled


def _lift_small(wanted: Floats, emphasis: float) -> Tensor:
    """What is added to each class's logit: minus `emphasis` times the logarithm of its share of the offers."""
    sizes = np.maximum(wanted.sum(0, dtype=np.float64), 1.0)
    return torch.from_numpy((-emphasis * np.log(sizes / sizes.sum())).astype(np.float32))


def _as_tables(features: Features, solved: Solution, lift: Tensor) -> Tables:
    """Weights in half precision, of the rows that are kept."""
    rows = features.table_rows
    return Tables(
        table=torch.from_numpy(solved.rows[:rows]).half(),
        spelling=torch.from_numpy(solved.runs).half(),
        mass=torch.from_numpy(features.mass[:rows]),
        rarity=torch.from_numpy(features.rarity),
        pair_buckets=torch.from_numpy(features.pairs),
        run_buckets=torch.from_numpy(features.runs),
        new_rarity=torch.tensor([features.new_rarity]),
        lift=lift,
    )


def _write_weights(out: Path, tables: Tables) -> None:
    temporary = out / f".{WEIGHTS_FILE}.tmp"
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in vars(tables).items()}, temporary)
    temporary.replace(out / WEIGHTS_FILE)
