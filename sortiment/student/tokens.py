"""Offers as padded batches of token ids: similar lengths together, in an order that seed and epoch decide alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from sortiment.errors import TrainingError

BATCHES_PER_POOL = 32
TOKENIZED_AT_ONCE = 8_192
LEAST_READ = 8  # tokens or words, however short the training offers are


@dataclass(frozen=True)
class Tokens:
    """Token ids of all offers, one after the other; offer i has flat[start[i]:start[i + 1]]."""

    flat: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    pad_id: int

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.start)

    def pad(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """ids and mask of the rows, (rows, longest of them)."""
        lengths = self.lengths[rows]
        columns = np.arange(int(lengths.max()))
        mask = columns[None, :] < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, np.int64)
        ids[mask] = self.flat[(self.start[rows][:, None] + columns[None, :])[mask]]
        return ids, mask

    def cut(self, most: int) -> "Tokens":
        """No offer longer than `most`; the last token of a longer one stays, as where the tokenizer cuts."""
        lengths = self.lengths
        place = np.arange(self.flat.size) - np.repeat(self.start[:-1], lengths)
        behind = np.repeat(lengths, lengths) - place
        kept = (place < most - 1) | (behind == 1)
        start = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))]).astype(np.int64)
        return Tokens(self.flat[kept], start, self.pad_id)

    def bag(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """All ids of the rows, one row after the other, and where each row begins."""
        lengths = self.lengths[rows]
        offsets = np.cumsum(lengths) - lengths
        inside = np.arange(int(lengths.sum())) - np.repeat(offsets, lengths)
        return self.flat[np.repeat(self.start[rows], lengths) + inside].astype(np.int64), offsets


def usual_length(lengths: npt.NDArray[np.int64], share: float, most: int) -> int:
    """The length that this share of the texts does not exceed, `most` at most; `most` where the share is 1."""
    if share >= 1 or not lengths.size:
        return most
    return min(max(int(np.ceil(np.quantile(lengths, share))), LEAST_READ), most)


def load_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """The folder's tokenizer.json, cutting at `max_tokens`, without padding."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise TrainingError("tokenizer.json is missing", value=str(folder), fix="convert or download the encoder again")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], pad_id: int) -> Tokens:
    """Token ids of the texts."""
    lengths: list[int] = []
    chunks: list[npt.NDArray[np.int32]] = []
    for start in range(0, len(texts), TOKENIZED_AT_ONCE):
        encodings = tokenizer.encode_batch_fast(list(texts[start : start + TOKENIZED_AT_ONCE]))
        for encoding in encodings:
            ids = encoding.ids
            lengths.append(len(ids))
            chunks.append(np.array(ids, np.int32))
    flat = np.concatenate(chunks) if chunks else np.zeros(0, np.int32)
    return Tokens(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), pad_id)


def order_batches(
    lengths: npt.NDArray[np.int64], batch_offers: int, seed: int, epoch: int
) -> list[npt.NDArray[np.int64]]:
    """Every row once, in batches of similar length.

    Rows are shuffled, cut into pools, sorted by length within a pool, and the pools' batches are shuffled again: each
    batch is a random draw except for its length.
    """
    order = np.random.default_rng([seed, epoch])
    shuffled = order.permutation(lengths.size)
    pool = batch_offers * BATCHES_PER_POOL
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, shuffled.size, pool):
        rows = shuffled[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[at : at + batch_offers] for at in range(0, rows.size, batch_offers)]
    return [batches[index] for index in order.permutation(len(batches))]


def sorted_batches(lengths: npt.NDArray[np.int64], batch_offers: int) -> list[npt.NDArray[np.int64]]:
    """Every row once, shortest first: for scoring, where the order does not matter."""
    rows = np.argsort(lengths, kind="stable")
    return [rows[at : at + batch_offers] for at in range(0, rows.size, batch_offers)]
