"""The fast student's arithmetic: a bag of pieces, words and pairs of words per text, and one row of weights for each.

An occurrence weighs its row's rarity (inverse document frequency); the pieces of a text together have length 1, and so
have its words and pairs. What training never saw weighs nothing. The sum of the rows is a score per class.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sortiment.fast.ngrams import NO_ROW, Ids, Lengths, hash_ngrams
from sortiment.fast.pieces import Segmenter

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

FLOOR = 0.02  # what a class keeps that no word of the text speaks for


@dataclass(frozen=True)
class Bags:
    """Rows of the joint table for every text: text i has flat[start[i]:start[i + 1]]."""

    flat: Ids
    start: Rows

    def __len__(self) -> int:
        return self.start.size - 1

    @property
    def owner(self) -> Rows:
        """The text of each occurrence."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))


def fill_bags(segmenter: Segmenter, row_of_bucket: Ids, texts: list[str], max_pieces: int) -> Bags:
    """Each text's pieces, then its n-grams that have a row. The n-grams' rows follow the pieces' in the table."""
    ids, lengths = segmenter.cut(texts, max_pieces)
    buckets, counts = hash_ngrams(ids, lengths, segmenter.starts_word)
    return join_bags(ids, lengths, row_of_bucket[buckets], counts, len(segmenter))


def join_bags(ids: Ids, lengths: Lengths, ngram_rows: Ids, counts: Lengths, pieces: int) -> Bags:
    """Pieces and n-grams of the same texts in one bag each."""
    known = ngram_rows != NO_ROW
    owner = np.repeat(np.arange(counts.size), counts)[known]
    counts = np.bincount(owner, minlength=lengths.size)
    total = lengths + counts
    start = np.concatenate([[0], np.cumsum(total)])
    flat = np.empty(int(start[-1]), np.int32)
    is_piece = np.zeros(flat.size, np.bool_)
    at = np.repeat(start[:-1], lengths) + np.arange(ids.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    is_piece[at] = True
    flat[is_piece] = ids
    flat[~is_piece] = ngram_rows[known] + pieces
    return Bags(flat, start)


def weigh_bags(bags: Bags, rarity: Floats, pieces: int) -> Floats:
    """The weight of each occurrence. rarity: of each row, 0 = never seen in training. pieces: rows that are pieces."""
    own = rarity[bags.flat]
    group = 2 * bags.owner + (bags.flat >= pieces)
    squares = np.bincount(group, own.astype(np.float64) ** 2, minlength=2 * len(bags))
    weights: Floats = (own / np.sqrt(np.maximum(squares, 1e-12))[group]).astype(np.float32)
    return weights


def score_bags(table: Tensor, lift: Tensor, bags: Bags, weights: Floats) -> Floats:
    """(texts, classes) logits before calibration. table: (rows, classes). lift: (classes,), for the small ones."""
    with torch.inference_mode():
        scores = torch.nn.functional.embedding_bag(
            torch.from_numpy(bags.flat),
            table,
            torch.from_numpy(bags.start[:-1].astype(np.int32)),
            mode="sum",
            per_sample_weights=torch.from_numpy(weights),
        )
        logits: Floats = scores.clamp_(min=0.0).add_(FLOOR).log_().add_(lift).numpy()
    return logits
