"""Texts to padded batches: tokenized in Rust, sorted by length, cut into batches of one shape each.

Sorting halves the work against batches as they come: titles have 5 to 60 tokens and a batch costs its longest.
Rows are rounded up to a multiple of tokens so that few shapes occur: an engine prepares its kernels once per shape.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.engines.folders import EngineSpec
from sortiment.errors import EngineError

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """`rows` are places in the window of texts; `ids` and `mask` are [rows, tokens], 1 = a real token."""

    rows: Ids
    ids: Ids
    mask: Ids


Floats = npt.NDArray[np.float32]
Take = Callable[[Batch, Floats], None]
"""What is done with a batch's logits, float32 [rows, head width]."""


class TextTokenizer:
    """A folder's tokenizer.json, cutting at `max_tokens`."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self.max_tokens = max_tokens
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with specials, one list per text."""
        try:
            return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        except TypeError as error:
            wrong = next((text for text in texts if not isinstance(text, str)), None)
            raise EngineError(
                "a text to classify is not a string", value=wrong, fix="clean the offers first"
            ) from error


def plan_spec(tokens: Sequence[Sequence[int]], spec: EngineSpec) -> Iterator[Batch]:
    """The batches in which an engine computes tokenized texts."""
    return plan_batches(
        tokens,
        batch_offers=spec.batch_offers,
        token_multiple=spec.token_multiple,
        max_tokens=spec.max_tokens,
        pad_id=spec.pad_id,
        buckets=spec.buckets,
    )


def plan_batches(
    tokens: Sequence[Sequence[int]],
    *,
    batch_offers: int,
    token_multiple: int,
    max_tokens: int,
    pad_id: int,
    buckets: Sequence[int] = (),
    sort: bool = True,
) -> Iterator[Batch]:
    """Every text once. A batch is as wide as its longest text, rounded up to a multiple, or to the smallest bucket that
    holds it; with buckets, no batch mixes two. `sort=False` keeps the order (the naive way, for comparison)."""
    lengths = np.array([len(ids) for ids in tokens], np.int64)
    widths = round_up_lengths(lengths, token_multiple, max_tokens, buckets)
    order = np.argsort(lengths, kind="stable") if sort else np.arange(lengths.size)
    start = 0
    while start < order.size:
        rows = order[start : start + batch_offers]
        if buckets:
            rows = rows[widths[rows] == widths[rows[0]]] if sort else rows
        width = int(widths[rows].max())
        ids = np.full((rows.size, width), pad_id, np.int64)
        for place, row in enumerate(rows.tolist()):
            ids[place, : lengths[row]] = tokens[row]
        mask = (np.arange(width)[None, :] < lengths[rows][:, None]).astype(np.int64)
        yield Batch(rows, ids, mask)
        start += rows.size


def round_up_lengths(lengths: Ids, token_multiple: int, max_tokens: int, buckets: Sequence[int] = ()) -> Ids:
    """Padded width of each text: the router between length buckets, or the next multiple."""
    if buckets:
        sizes = np.array(sorted(buckets), np.int64)
        routed: Ids = sizes[np.searchsorted(sizes, lengths)]
        return routed
    rounded = -(-np.maximum(lengths, 1) // token_multiple) * token_multiple
    cut: Ids = np.minimum(rounded, max_tokens)
    return cut


def needed_buckets(buckets: Sequence[int], max_tokens: int) -> tuple[int, ...]:
    """The buckets below `max_tokens`, and one of exactly `max_tokens`."""
    return (*sorted({tokens for tokens in buckets if tokens < max_tokens}), max_tokens)
