"""Embeddings of texts: mean-pooled, not normalized, as fast as this machine can.

Titles are short and of mixed length, so padding is what a naive loop pays for: texts are sorted by length, and a
batch holds texts of one length, or of neighbouring lengths where few texts have the same.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sortiment.encoders.references import EncoderFolder
from sortiment.encoders.runners import Ids, Rows, Runner, Vectors, open_runner
from sortiment.errors import EncoderError
from sortiment.progress import Progress, Step
from sortiment.settings import EncoderSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENS_PER_BATCH = 2048
MIN_TEXTS_OF_ONE_LENGTH = 24
TEXTS_PER_TOKENIZER_CALL = 8192


def embed(
    encoder: EncoderFolder,
    texts: Sequence[str],
    settings: EncoderSettings,
    progress: Progress,
    layers: int | None = None,
) -> Vectors:
    """One row per text, float32 [n, hidden]: the mean of the last layer's vectors over the text's tokens.

    texts: with their prompt already in front. layers: use the first so many only.
    Raises EncoderError where the weights do not fit the configuration, or vectors are not finite.
    """
    if not texts:
        return np.zeros((0, encoder.hidden), np.float32)
    with progress(f"embed with {encoder.reference}", total=len(texts)) as step:
        return Embedder(encoder, settings, layers).embed(texts, step)


class Embedder:
    """An encoder that stays loaded between calls. Loading waits until the first text."""

    def __init__(self, encoder: EncoderFolder, settings: EncoderSettings, layers: int | None = None) -> None:
        self.encoder = encoder
        self.settings = settings
        self.layers = layers

    @cached_property
    def runner(self) -> Runner:
        return open_runner(self.encoder, self.settings, self.layers)

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        return load_tokenizer(self.encoder)

    def embed(self, texts: Sequence[str], step: Step) -> Vectors:
        """float32 [n, hidden]; `step` advances by texts."""
        return self.embed_tokens(self.tokenize(texts), step)

    def embed_tokens(self, tokens: Sequence[Sequence[int]], step: Step) -> Vectors:
        """The same of texts that are tokenized already."""
        vectors = np.empty((len(tokens), self.encoder.hidden), np.float32)
        for rows, batch in self.runner.run(_padded_batches(tokens)):
            vectors[rows] = batch
            step.advance(len(rows))
        if not np.isfinite(vectors).all():
            raise EncoderError(
                "the encoder gave vectors that are not numbers",
                value=f"{self.encoder.reference} with {self.runner.name}",
                fix="set settings.encoder.precision to fp32",
            )
        return vectors

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return tokenize(self.tokenizer, texts, self.settings.max_tokens)


def load_tokenizer(encoder: EncoderFolder) -> "Tokenizer":
    """The encoder's fast tokenizer, from tokenizer.json alone."""
    from tokenizers import Tokenizer

    file = encoder.path / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise EncoderError("the encoder's tokenizer.json cannot be read", value=f"{file}: {error}") from error


def tokenize(tokenizer: "Tokenizer", texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each text, specials included, cut to `max_tokens`."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokens: list[list[int]] = []
    for start in range(0, len(texts), TEXTS_PER_TOKENIZER_CALL):
        part = list(texts[start : start + TEXTS_PER_TOKENIZER_CALL])
        tokens += [encoding.ids for encoding in tokenizer.encode_batch_fast(part)]
    return tokens


def length_batches(
    lengths: npt.NDArray[np.int64], tokens_per_batch: int = TOKENS_PER_BATCH
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers of each batch, shortest texts first: one length where enough texts have it, else neighbours."""
    order = np.argsort(lengths, kind="stable")
    values, counts = np.unique(lengths, return_counts=True)
    runs: list[tuple[int, int]] = []  # texts, longest
    for longest, texts in zip(values.tolist(), counts.tolist(), strict=True):
        if runs:
            texts_before, longest_before = runs[-1]
            few = min(texts, texts_before) < MIN_TEXTS_OF_ONE_LENGTH
            if few and texts_before < 4 * MIN_TEXTS_OF_ONE_LENGTH and longest <= 1.25 * longest_before + 1:
                runs[-1] = (texts_before + texts, longest)
                continue
        runs.append((texts, longest))
    start = 0
    for texts, longest in runs:
        size = max(1, tokens_per_batch // max(longest, 1))
        for first in range(start, start + texts, size):
            yield order[first : min(first + size, start + texts)]
        start += texts


def _padded_batches(tokens: Sequence[Sequence[int]]) -> Iterator[tuple[Rows, Ids, Ids]]:
    """Masked positions hold token 0: any id does."""
    lengths = np.fromiter((len(ids) for ids in tokens), np.int64, len(tokens))
    for rows in length_batches(lengths):
        ids = np.zeros((len(rows), int(lengths[rows].max())), np.int64)
        for at, row in enumerate(rows):
            ids[at, : lengths[row]] = tokens[row]
        yield rows, ids, lengths[rows]
