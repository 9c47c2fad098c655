"""The fast student's arithmetic: one row of class scores per word and per pair of words, and their sum.

A word's features are itself and its spelling, which together weigh as much again as the word; a pair of words that
follow each other is one feature. Each weighs its rarity (inverse document frequency). A text's features have length 1,
counted as if no two of its words shared a feature. So a word's part of the sum is the same in every text, and is summed
beforehand: a known word costs one row, with its spelling. Only a word that training never saw is spelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sortiment.fast.spelling import NO_ROW, Buckets, pair_buckets, rows_of_buckets
from sortiment.fast.words import Reading, WordReader

Floats = npt.NDArray[np.float32]

FLOOR = 0.02  # what a class keeps that no word of the text speaks for


@dataclass(frozen=True)
class Tables:
    """What training gives. Rows of `table` are the words', then the pairs'; those of `spelling` are of character runs.

    table, spelling: (rows, classes). mass: (rows,) squared length of each row's features. rarity: (runs,), of each
    run. pair_buckets, run_buckets: int32, ascending. new_rarity: (1,), of a word that training never saw. lift:
    (classes,), added to the logits for the small classes.
    """

    table: Tensor
    spelling: Tensor
    mass: Tensor
    rarity: Tensor
    pair_buckets: Tensor
    run_buckets: Tensor
    new_rarity: Tensor
    lift: Tensor


class FastNetwork:
    """Scores texts. words: in the order of the table's rows. Safe to use from several threads, one at a time."""

    def __init__(self, words: Sequence[str], tables: Tables, max_words: int) -> None:
        self.reader = WordReader(words)
        self.max_words = max_words
        self.table, self.spelling, self.lift = tables.table.float(), tables.spelling.float(), tables.lift
        self.mass = tables.mass.double().numpy()
        self.rarity = tables.rarity.numpy()
        self.new_rarity = float(tables.new_rarity)
        pairs = rows_of_buckets(tables.pair_buckets.numpy())
        self.pair_row = np.where(pairs == NO_ROW, np.int32(NO_ROW), pairs + np.int32(len(words)))
        self.run_row = rows_of_buckets(tables.run_buckets.numpy())
        self._lock = Lock()

    def score(self, texts: Sequence[str]) -> Floats:
        """(texts, classes) logits before calibration."""
        with self._lock:
            reading = self.reader.read(texts, self.max_words)
            known = len(self.reader.words)
            new = np.flatnonzero(reading.words >= known)
            numbers, of_new = np.unique(reading.words[new] - known, return_inverse=True)
            spellings = [self.reader.spellings[number] for number in numbers.tolist()]
        rows, starts, owner = fill_bags(reading, known, self.pair_row)
        mass = np.bincount(owner, self.mass[rows], minlength=len(texts))
        with torch.inference_mode():
            bag = torch.nn.functional.embedding_bag
            sums = bag(torch.from_numpy(rows), self.table, torch.from_numpy(starts), mode="sum")
            if new.size:
                vectors, masses = self._spell(spellings)
                texts_of_new = reading.owner[new]
                sums.index_add_(0, torch.from_numpy(texts_of_new), vectors[torch.from_numpy(of_new)])
                mass = mass + np.bincount(texts_of_new, masses[of_new], minlength=len(texts))
            size = torch.from_numpy(np.sqrt(np.maximum(mass, 1e-12)).astype(np.float32))
            logits: Floats = sums.div_(size[:, None]).clamp_(min=0.0).add_(FLOOR).log_().add_(self.lift).numpy()
        return logits

    def _spell(self, spellings: Sequence[Buckets]) -> tuple[Tensor, npt.NDArray[np.float64]]:
        """Rows (words, classes) of words that the table does not have, and their squared lengths."""
        rows = self.run_row[np.concatenate(spellings)]
        owner = np.repeat(np.arange(len(spellings)), [spelling.size for spelling in spellings])[rows != NO_ROW]
        rows = rows[rows != NO_ROW]
        weights = spelling_weights(owner, rows, self.rarity, np.full(len(spellings), self.new_rarity))
        starts = np.searchsorted(owner, np.arange(len(spellings))).astype(np.int32)
        vectors = torch.nn.functional.embedding_bag(
            torch.from_numpy(rows),
            self.spelling,
            torch.from_numpy(starts),
            mode="sum",
            per_sample_weights=torch.from_numpy(weights),
        )
        return vectors, np.where(np.bincount(owner, minlength=len(spellings)) > 0, self.new_rarity**2, 0.0)


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
