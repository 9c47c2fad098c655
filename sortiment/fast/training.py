"""Training a fast student: read, weigh, cut into pieces, teach, calibrate, write. Seconds to minutes, on one core."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sortiment.errors import TrainingError
from sortiment.fast import FastReport
from sortiment.fast.classifier import CLASSES_FILE, FAST_FILE, PIECES_FILE, WEIGHTS_FILE
from sortiment.fast.network import Bags, join_bags, score_bags
from sortiment.fast.ngrams import NO_ROW, assign_rows, hash_ngrams
from sortiment.fast.pieces import Piece, Segmenter, choose_pieces, read_unigram_pieces
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, FastSettings, StudentSettings
from sortiment.student.corpus import NO_CLASS, read_corpus
from sortiment.student.directory import write_json
from sortiment.student.lesson import distillation_loss
from sortiment.student.measures import measure_validation
from sortiment.student.targets import Targets, weigh_targets

SCORING_BATCH = 4_096
WARMUP_SHARE = 0.05


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
    row_of_bucket = assign_rows(buckets[of_train], settings.ngram_least)
    bags = join_bags(ids, lengths, row_of_bucket[buckets], counts, len(segmenter))
    ngrams = int((row_of_bucket != NO_ROW).sum())
    table = _start_table(encoder_folder, pieces, ngrams)
    head = torch.nn.Linear(table.shape[1], len(corpus.classes))
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    teaching = time.monotonic()
    losses = _teach(table, head, bags, targets, train, settings, progress)
    rate = len(train) * settings.epochs / max(time.monotonic() - teaching, 1e-9)
    calibration, scores = measure_validation(corpus, lambda rows: _score(table.half().float(), head, bags, rows))
    out.mkdir(parents=True, exist_ok=True)
    used = np.flatnonzero(row_of_bucket != NO_ROW).astype(np.int32)
    _write_weights(out, table, head, used)
    write_json(out / PIECES_FILE, [[piece.text, piece.score] for piece in pieces])
    write_json(out / CLASSES_FILE, list(corpus.classes))
    calibration.write(out)
    report = FastReport(
        offers=len(train),
        labelled_offers=int((corpus.labels[train] != NO_CLASS).sum()),
        classes=len(corpus.classes),
        pieces=len(segmenter),
        ngrams=ngrams,
        bytes=(out / WEIGHTS_FILE).stat().st_size,
        losses=tuple(losses),
        temperature=calibration.temperature,
        seconds=time.monotonic() - started,
        offers_per_s=rate,
        **scores,
    )
    facts: dict[str, Any] = report.summary()
    write_json(out / FAST_FILE, facts | {"inputs": list(encoder.inputs), "max_pieces": settings.max_pieces})
    return report


def _start_table(encoder_folder: Path, pieces: Sequence[Piece], ngrams: int) -> Tensor:
    """(1 + pieces + ngrams, width): the encoder's rows, centred and of unit spread; zeros for "unknown" and n-grams."""
    for file in sorted(encoder_folder.glob("*.safetensors")):
        with safetensors.safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                if name.endswith("embeddings.word_embeddings.weight"):
                    own = opened.get_tensor(name)[[piece.row for piece in pieces]].float()
                    own = (own - own.mean(0)) / own.std()
                    return torch.cat([torch.zeros(1, own.shape[1]), own, torch.zeros(ngrams, own.shape[1])])
    raise TrainingError(
        "the encoder has no token table",
        value=str(encoder_folder),
        allowed="a tensor embeddings.word_embeddings.weight in safetensors",
        fix="name another encoder",
    )


def _teach(
    table: Tensor,
    head: torch.nn.Linear,
    bags: Bags,
    targets: Targets,
    train: npt.NDArray[np.int64],
    settings: FastSettings,
    progress: Progress,
) -> list[float]:
    """Train table and head in place; gives each epoch's mean loss."""
    table.requires_grad_(True)
    tables = torch.optim.SparseAdam([table], lr=settings.table_learning_rate)
    heads = torch.optim.Adam(head.parameters(), lr=settings.head_learning_rate)
    optimizers: list[torch.optim.Optimizer] = [tables, heads]
    steps = settings.epochs * -(-len(train) // settings.batch_offers)
    done, losses = 0, []
    with progress("distill the fast student", total=len(train) * settings.epochs) as step:
        for epoch in range(settings.epochs):
            order = np.random.default_rng([settings.seed, epoch]).permutation(train)
            total = 0.0
            for at in range(0, len(order), settings.batch_offers):
                rows = order[at : at + settings.batch_offers]
                share = min(1.0, (done + 1) / max(1.0, WARMUP_SHARE * steps)) * (1 - done / steps)
                tables.param_groups[0]["lr"] = settings.table_learning_rate * share
                heads.param_groups[0]["lr"] = settings.head_learning_rate * share
                logits = score_bags(table, head.weight, head.bias, *bags.take(rows), sparse=True)
                # One output more, never chosen: the loss wants a place for "any other class".
                logits = torch.nn.functional.pad(logits, (0, 1), value=-1e4)
                loss = distillation_loss(
                    logits,
                    torch.from_numpy(targets.index[rows].astype(np.int64)),
                    torch.from_numpy(targets.probability[rows]),
                    torch.from_numpy(targets.rest[rows]),
                    settings.temperature,
                )
                value = float(loss.detach())
                if not np.isfinite(value):
                    raise TrainingError(
                        f"the fast student's loss is not a number at step {done}",
                        value=value,
                        fix="lower fast.table_learning_rate and fast.head_learning_rate",
                    )
                for optimizer in optimizers:
                    optimizer.zero_grad()
                torch.autograd.backward(loss)
                for optimizer in optimizers:
                    optimizer.step()
                done += 1
                total += value * len(rows)
                step.advance(len(rows), f"loss {value:.3f}" if done % 10 == 0 else "")
            losses.append(round(total / len(train), 6))
    table.requires_grad_(False)
    return losses


def _score(table: Tensor, head: torch.nn.Linear, bags: Bags, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    parts = [np.zeros((0, head.out_features), np.float32)]
    with torch.inference_mode():
        for at in range(0, len(rows), SCORING_BATCH):
            flat, offsets = bags.take(rows[at : at + SCORING_BATCH])
            parts.append(score_bags(table, head.weight, head.bias, flat, offsets).numpy())
    return np.concatenate(parts)


def _write_weights(out: Path, table: Tensor, head: torch.nn.Linear, buckets: npt.NDArray[np.int32]) -> None:
    tensors = {
        "table": table.half(),
        "head.weight": head.weight.detach().contiguous(),
        "head.bias": head.bias.detach().contiguous(),
        "buckets": torch.from_numpy(buckets),
    }
    temporary = out / f".{WEIGHTS_FILE}.tmp"
    safetensors.torch.save_file(tensors, temporary)
    temporary.replace(out / WEIGHTS_FILE)
