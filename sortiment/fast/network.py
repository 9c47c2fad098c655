"""The fast student's arithmetic: a row of class scores and a vector per word and per pair of words, and their sums.

A word's features are itself and its spelling, which together weigh as much again as the word; a pair of words that
follow each other is one feature. Each weighs its rarity (inverse document frequency). A text's features have length 1,
counted as if no two of its words shared a feature. So a word's part of the sum is the same in every text, and is summed
beforehand: a known word costs one row, with its spelling. Only a word that training never saw is spelled.

The summed class scores are one opinion; what dense layers make of the summed vector (`averaging.py`) is the other. The
answer is the mean of both as probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sortiment.fast.spelling import NO_ROW, Buckets, pair_buckets, rows_of_buckets
from sortiment.fast.words import Reading, WordReader

Floats = npt.NDArray[np.float32]

FLOOR = 0.02  # what a class keeps that no word of the text speaks for
SMALLEST_SHARE = 1e-12


class DenseLayers(nn.Module):
    """From a text's vector, whatever its length, to logits: through hidden units, and past them. dropout: of both,
    while they learn."""

    def __init__(self, width: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.spread = nn.LayerNorm(width)
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden + width, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.outer(self.states(vectors))
        return logits

    def states(self, vectors: Tensor) -> Tensor:
        """What the logits are read from: the hidden units and the vector, [texts, hidden + width]."""
        seen = self.dropout(self.spread(vectors))
        units = self.dropout(nn.functional.gelu(self.inner(seen)))
        return torch.cat([units, seen], 1)


@dataclass(frozen=True)
class Tables:
    """What training gives. Rows of `table` are the words', then the pairs'; those of `spelling` are of character runs.

    table, spelling: (rows, classes), class scores. vectors, run_vectors: (rows, width), of the same rows, or none.
    mass: (rows,) squared length of each row's features. rarity: (runs,), of each run. pair_buckets, run_buckets: int32,
    ascending. new_rarity: (1,), of a word that training never saw. temperatures: (2,), of the logarithm of the summed
    scores and of the dense layers' logits. lift: (classes,), added to the logits for the small classes.
    """

    table: Tensor
    spelling: Tensor
    vectors: Tensor
    run_vectors: Tensor
    mass: Tensor
    rarity: Tensor
    pair_buckets: Tensor
    run_buckets: Tensor
    new_rarity: Tensor
    temperatures: Tensor
    lift: Tensor


class FastNetwork:
    """Scores texts. words: in the order of the table's rows. layers: None where the tables hold no vectors. Safe to
    use from several threads, one at a time."""

    def __init__(self, words: Sequence[str], tables: Tables, layers: DenseLayers | None, max_words: int) -> None:
        self.reader = WordReader(words)
        self.max_words = max_words
        self.parts = [(tables.table.float(), tables.spelling.float())]
        if layers is not None:
            self.parts.append((tables.vectors.float(), tables.run_vectors.float()))
        self.layers, self.temperatures, self.lift = layers, tables.temperatures.tolist(), tables.lift
        self.mass = tables.mass.double().numpy()
        self.rarity = tables.rarity.numpy()
        self.new_rarity = float(tables.new_rarity)
        pairs = rows_of_buckets(tables.pair_buckets.numpy())
        self.pair_row = np.where(pairs == NO_ROW, np.int32(NO_ROW), pairs + np.int32(len(words)))
        self.run_row = rows_of_buckets(tables.run_buckets.numpy())
        self._lock = Lock()

    def score(self, texts: Sequence[str]) -> Floats:
        """(texts, classes) logits before calibration."""
        with torch.inference_mode():
            scored, layered = self.listen(texts)
            if layered is not None:
                both = zip((scored, layered), self.temperatures, strict=True)
                first, second = (torch.softmax(opinion.div_(temperature), 1) for opinion, temperature in both)
                scored = first.add_(second).add_(SMALLEST_SHARE).log_()
            logits: Floats = scored.add_(self.lift).numpy()
        return logits

    def listen(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Both opinions of (texts, classes), each as logits: of the summed class scores, and of the dense layers."""
        with self._lock:
            reading = self.reader.read(texts, self.max_words)
            known = len(self.reader.words)
            new = np.flatnonzero(reading.words >= known)
            numbers, of_new = np.unique(reading.words[new] - known, return_inverse=True)
            spellings = [self.reader.spellings[number] for number in numbers.tolist()]
        rows, starts, owner = fill_bags(reading, known, self.pair_row)
        mass = np.bincount(owner, self.mass[rows], minlength=len(texts))
        flat, begins = torch.from_numpy(rows), torch.from_numpy(starts)
        with torch.inference_mode():
            sums = [nn.functional.embedding_bag(flat, table, begins, mode="sum") for table, _ in self.parts]
            if new.size:
                bag, masses = self._spell(spellings)
                texts_of_new = reading.owner[new]
                for total, (_, runs) in zip(sums, self.parts, strict=True):
                    total.index_add_(0, torch.from_numpy(texts_of_new), bag.of(runs)[torch.from_numpy(of_new)])
                mass = mass + np.bincount(texts_of_new, masses[of_new], minlength=len(texts))
            size = torch.from_numpy(np.sqrt(np.maximum(mass, 1e-12)).astype(np.float32))[:, None]
            scored = sums[0].div_(size).clamp_(min=0.0).add_(FLOOR).log_()
            return scored, None if self.layers is None else self.layers(sums[1].div_(size))

    def _spell(self, spellings: Sequence[Buckets]) -> tuple["Runs", npt.NDArray[np.float64]]:
        """The runs of words that the table does not have, and the words' squared lengths."""
        rows = self.run_row[np.concatenate(spellings)]
        owner = np.repeat(np.arange(len(spellings)), [spelling.size for spelling in spellings])[rows != NO_ROW]
        rows = rows[rows != NO_ROW]
        weights = spelling_weights(owner, rows, self.rarity, np.full(len(spellings), self.new_rarity))
        starts = np.searchsorted(owner, np.arange(len(spellings))).astype(np.int32)
        bag = Runs(torch.from_numpy(rows), torch.from_numpy(starts), torch.from_numpy(weights))
        return bag, np.where(np.bincount(owner, minlength=len(spellings)) > 0, self.new_rarity**2, 0.0)


@dataclass(frozen=True)
class Runs:
    """The runs of characters of some words, one word after the other; where each word begins; how much each counts."""

    rows: Tensor
    starts: Tensor
    weights: Tensor

    def of(self, table: Tensor) -> Tensor:
        """The words' sums, (words, columns). table: (runs, columns)."""
        return nn.functional.embedding_bag(self.rows, table, self.starts, mode="sum", per_sample_weights=self.weights)


def fill_bags(
    reading: Reading, known: int, pair_row: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The table's rows of all texts, one text after the other: each known word, and its pair with the next.

    pair_row: of each bucket. Gives rows, where each text's begin, and the text of each row.
    """
    words, owner = reading.words, reading.owner
    both = np.full((words.size, 2), NO_ROW, np.int32)
    is_known = words < known
    both[is_known, 0] = words[is_known]
    if words.size > 1:
        joined = (owner[:-1] == owner[1:]) & is_known[:-1] & is_known[1:]
        both[:-1, 1][joined] = pair_row[pair_buckets(words)[joined]]
    there = both.ravel() != NO_ROW
    rows, owner = both.ravel()[there], np.repeat(owner, 2)[there]
    counts = np.bincount(owner, minlength=reading.lengths.size)
    return rows, (np.cumsum(counts) - counts).astype(np.int32), owner


def spelling_weights(
    owner: npt.NDArray[np.int64], runs: npt.NDArray[np.int32], rarity: Floats, size: npt.NDArray[np.float64]
) -> Floats:
    """The weight of each occurrence of a run in a word: its rarity, so that a word's runs have its `size` as length.

    owner: the word of each occurrence, runs: its row; a run that a word has twice weighs twice.
    """
    own = rarity[runs].astype(np.float64)
    keys = owner * np.int64(max(rarity.size, 1)) + runs
    _, place, times = np.unique(keys, return_inverse=True, return_counts=True)
    squares = np.bincount(owner, own**2 * times[place], minlength=size.size)
    weights: Floats = (own * size[owner] / np.sqrt(np.maximum(squares[owner], 1e-12))).astype(np.float32)
    return weights
