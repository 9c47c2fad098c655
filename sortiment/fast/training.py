"""Training a fast student: read, weigh, cut into pieces, solve, calibrate, write. Seconds, on one core."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from sortiment.errors import TrainingError
from sortiment.fast import FastReport
from sortiment.fast.classifier import CLASSES_FILE, FAST_FILE, PIECES_FILE, WEIGHTS_FILE
from sortiment.fast.network import Bags, Floats, Rows, join_bags, score_bags, weigh_bags
from sortiment.fast.ngrams import NO_ROW, Ids, assign_rows, hash_ngrams
from sortiment.fast.pieces import Segmenter, choose_pieces, read_unigram_pieces
from sortiment.fast.solving import solve_ridge
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, FastSettings, StudentSettings
from sortiment.student.corpus import NO_CLASS, read_corpus
from sortiment.student.directory import write_json
from sortiment.student.measures import measure_validation
from sortiment.student.targets import Targets, weigh_targets

SMALLEST_WEIGHT = 1e-3


def run_fast_distillation(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    encoder_folder: Path,
    settings: FastSettings,
    out: Path,
    student: StudentSettings,
    encoder: EncoderSettings,
    progress: Progress,
) -> FastReport:
    """See `sortiment.fast.distill_fast`."""
    started = time.monotonic()
    corpus = read_corpus(samples, soft_labels, teacher_classes, encoder.inputs)
    targets = weigh_targets(corpus, student.label_noise, student.label_share)
    train = corpus.rows("train")
    if not len(train):
        raise TrainingError("the samples hold no offers to train on", value=len(corpus), fix="sample more offers")
    pieces = choose_pieces(read_unigram_pieces(encoder_folder), corpus.texts, settings.max_pieces)
    segmenter = Segmenter([(piece.text, piece.score) for piece in pieces])
    ids, lengths = segmenter.cut(corpus.texts, settings.max_pieces)
    buckets, counts = hash_ngrams(ids, lengths, segmenter.starts_word)
    of_train = np.repeat(np.isin(np.arange(len(corpus)), train), counts)
    room = settings.most_weights // len(corpus.classes) - len(segmenter)
    row_of_bucket = _assign_rows(buckets[of_train], settings.ngram_least, room)
    bags = join_bags(ids, lengths, row_of_bucket[buckets], counts, len(segmenter))
    used = np.flatnonzero(row_of_bucket != NO_ROW).astype(np.int32)
    rows = len(segmenter) + used.size
    rarity = _rarity(bags, train, rows)
    weights = weigh_bags(bags, rarity, len(segmenter))
    features = csr_matrix((weights, bags.flat, bags.start), shape=(len(corpus), rows))[train]
    wanted = _as_matrix(targets, train, len(corpus.classes))
    teaching = time.monotonic()
    with progress("distill the fast student", total=settings.iterations, unit="iterations") as step:
        solved = solve_ridge(
            features,
            wanted,
            _balance(wanted, settings.class_balance),
            regularization=settings.regularization,
            tolerance=settings.tolerance,
            iterations=settings.iterations,
            step=step,
        )
    rate = len(train) / max(time.monotonic() - teaching, 1e-9)
    table, lift = torch.from_numpy(solved.weights).half(), _lift_small(wanted, settings.tail_emphasis)
    calibration, scores = measure_validation(corpus, lambda chosen: _score(table.float(), lift, bags, weights, chosen))
    out.mkdir(parents=True, exist_ok=True)
    _write_weights(out, table, lift, rarity, used)
    write_json(out / PIECES_FILE, [[piece.text, piece.score] for piece in pieces])
    write_json(out / CLASSES_FILE, list(corpus.classes))
    calibration.write(out)
    report = FastReport(
        offers=len(train),
        labelled_offers=int((corpus.labels[train] != NO_CLASS).sum()),
        classes=len(corpus.classes),
        pieces=len(segmenter),
        ngrams=used.size,
        bytes=(out / WEIGHTS_FILE).stat().st_size,
        iterations=solved.iterations,
        residual=round(solved.residual, 6),
        temperature=calibration.temperature,
        seconds=time.monotonic() - started,
        offers_per_s=rate,
        **scores,
    )
    facts: dict[str, Any] = report.summary()
    write_json(out / FAST_FILE, facts | {"inputs": list(encoder.inputs), "max_pieces": settings.max_pieces})
    return report


def _assign_rows(buckets: Ids, least: int, room: int) -> Ids:
    """Rows for n-grams that are seen often enough; more often, where the table would have no room for them all."""
    while True:
        rows = assign_rows(buckets, least)
        if least > len(buckets) or int((rows != NO_ROW).sum()) <= max(room, 0):
            return rows
        least += 1


def _rarity(bags: Bags, train: Rows, rows: int) -> Floats:
    """Inverse document frequency of each row among the training texts; 0 for rows that none of them has."""
    of_train = np.isin(bags.owner, train)
    pairs = np.unique(bags.owner[of_train] * np.int64(rows) + bags.flat[of_train])
    texts = np.bincount(pairs % rows, minlength=rows)
    rarity: Floats = np.where(texts > 0, np.log((1.0 + len(train)) / (1.0 + texts)) + 1.0, 0.0).astype(np.float32)
    return rarity


def _as_matrix(targets: Targets, train: Rows, classes: int) -> Floats:
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


def _score(table: Tensor, lift: Tensor, bags: Bags, weights: Floats, rows: Rows) -> Floats:
    """Logits of some of the bags' texts."""
    if not len(rows):
        return np.zeros((0, len(lift)), np.float32)
    lengths = np.diff(bags.start)[rows]
    start = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(bags.start[rows] - start[:-1], lengths) + np.arange(start[-1])
    return score_bags(table, lift, Bags(bags.flat[at], start), weights[at])


def _write_weights(out: Path, table: Tensor, lift: Tensor, rarity: Floats, buckets: npt.NDArray[np.int32]) -> None:
    tensors = {
        "table": table.contiguous(),
        "lift": lift,
        "rarity": torch.from_numpy(rarity),
        "buckets": torch.from_numpy(buckets),
    }
    temporary = out / f".{WEIGHTS_FILE}.tmp"
    safetensors.torch.save_file(tensors, temporary)
    temporary.replace(out / WEIGHTS_FILE)
