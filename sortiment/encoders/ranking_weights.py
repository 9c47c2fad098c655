"""What an encoder's weight files hold, read without loading them: sizes from the headers, token rows one by one."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.encoders.references import EncoderFolder
from sortiment.encoders.stored_tensors import read_headers
from sortiment.errors import EncoderError

LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True)
class TokenTable:
    """An encoder's word embeddings [vocabulary, hidden], left on disk: only rows that are asked for are read."""

    rows: npt.NDArray[Any]
    kind: str

    @property
    def bytes(self) -> int:
        return int(self.rows.nbytes)

    @property
    def numbers(self) -> int:
        return int(self.rows.size)

    def read(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """float32 [n, hidden]"""
        found = np.asarray(self.rows[ids])
        if self.kind == "BF16":  # the upper half of a float32
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(np.float32)

    def pool(self, tokens: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """The mean row of each text's tokens, float32 [n, hidden]; zeros for a text without tokens."""
        from scipy.sparse import csr_matrix

        lengths = np.fromiter((len(ids) for ids in tokens), np.int64, len(tokens))
        flat = np.fromiter((token for ids in tokens for token in ids), np.int64, int(lengths.sum()))
        used, columns = np.unique(flat, return_inverse=True)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        shares = np.repeat(1.0 / np.maximum(lengths, 1), lengths).astype(np.float32)
        mean = csr_matrix((shares, columns, starts), shape=(len(tokens), len(used)))
        pooled: npt.NDArray[np.float32] = mean @ self.read(used)
        return pooled


def open_token_table(encoder: EncoderFolder) -> TokenTable:
    """The encoder's token table. Raises EncoderError where its weights hold none, or more than one, that is known."""
    tables = [
        tensor
        for tensor in read_headers(encoder.path)
        if len(tensor.shape) == 2 and tensor.shape[0] == encoder.vocabulary and "embed" in tensor.name
    ]
    if len(tables) != 1 or tables[0].kind not in STORED:
        raise EncoderError(
            "the encoder's token table was not recognized",
            value=[f"{table.name} {table.kind}" for table in tables],
            allowed=f"one table of {encoder.vocabulary} rows in {', '.join(STORED)}",
        )
    table = tables[0]
    rows = np.memmap(table.file, STORED[table.kind], mode="r", offset=table.offset, shape=table.shape)
    return TokenTable(rows, table.kind)


def count_weights(encoder: EncoderFolder, layers: int | None = None) -> tuple[int, int]:
    """(parameters, bytes) of the encoder, or of it with its first layers only."""
    kept = []
    for tensor in read_headers(encoder.path):
        layer = LAYER.search(tensor.name)
        if layers is None or layer is None or int(layer[1]) < layers:
            kept.append(tensor)
    return sum(math.prod(tensor.shape) for tensor in kept), sum(tensor.bytes for tensor in kept)
