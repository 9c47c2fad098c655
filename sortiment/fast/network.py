"""The fast student's arithmetic: mean of table rows, then a linear head."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sortiment.fast.ngrams import NO_ROW, Ids, Lengths, hash_ngrams
from sortiment.fast.pieces import Segmenter

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bags:
    """Rows of the joint table for every text: text i has flat[start[i]:start[i + 1]]."""

    flat: Ids
    start: Rows

    def __len__(self) -> int:
        return self.start.size - 1

    def take(self, chosen: Rows) -> tuple[Tensor, Tensor]:
        """The chosen texts' rows and each one's offset, for `embedding_bag`."""
        lengths = (self.start[1:] - self.start[:-1])[chosen]
        offsets = np.cumsum(lengths) - lengths
        inside = np.arange(int(lengths.sum())) - np.repeat(offsets, lengths)
        flat = self.flat[np.repeat(self.start[chosen], lengths) + inside]
        return torch.from_numpy(flat.astype(np.int64)), torch.from_numpy(offsets)


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


def score_bags(
    table: Tensor, weight: Tensor, bias: Tensor, flat: Tensor, offsets: Tensor, sparse: bool = False
) -> Tensor:
    """(texts, outputs) logits: the mean of the texts' rows, spread to unit size, through the head."""
    pooled = torch.nn.functional.embedding_bag(flat, table, offsets, mode="mean", sparse=sparse)
    return pooled @ weight.T + bias
