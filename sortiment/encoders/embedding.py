"""Embeddings of texts: mean-pooled, not normalized, as fast as this machine can.

Titles are short and of mixed length, so padding is what a naive loop pays for. Texts are sorted by length and every
batch holds texts of one length only, or of lengths so rare that a padded batch is cheaper. bf16 where the processor
has it: about twice fp32's speed on a CPU with AVX-512 BF16 or AMX.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sortiment.encoders.references import EncoderFolder
from sortiment.errors import EncoderError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

Vectors = npt.NDArray[np.float32]

TOKENS_PER_BATCH = 2048
MIN_TEXTS_OF_ONE_LENGTH = 24


@dataclass(frozen=True)
class Body:
    """A loaded encoder: its transformer in the wanted precision, and its tokenizer."""

    model: Any
    tokenizer: "Tokenizer"
    pad_id: int
    device: str
    precision: str


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
    body = load_body(encoder, settings, layers)
    tokens = tokenize(body.tokenizer, texts, settings.max_tokens)
    with progress(f"embed with {encoder.reference}", total=len(texts)) as step:
        vectors = np.empty((len(texts), encoder.hidden), np.float32)
        for rows, batch in embed_batches(body, tokens):
            vectors[rows] = batch
            step.advance(len(rows))
    return vectors


def load_body(encoder: EncoderFolder, settings: EncoderSettings, layers: int | None = None) -> Body:
    """The encoder's transformer and tokenizer, ready to run."""
    import torch
    import transformers
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModel

    transformers.utils.logging.disable_progress_bar()
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # a body without a pooler is what is wanted
    try:
        config = AutoConfig.from_pretrained(encoder.path)
        if layers is not None:
            config.num_hidden_layers = min(layers, config.num_hidden_layers)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        precision = precision_for(device, settings.precision)
        model, loading = AutoModel.from_pretrained(
            encoder.path,
            config=config,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            output_loading_info=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            "the encoder's weights cannot be loaded",
            value=f"{encoder.path}: {error}",
            allowed="a Hugging Face directory whose weights fit its config.json",
        ) from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    missing = sorted(name for name in loading["missing_keys"] if "pooler" not in name)
    if missing:
        raise EncoderError(
            "the encoder's weights do not fill its transformer",
            value=f"{len(missing)} missing, for example {missing[0]}",
            fix="give the folder of an encoder, not of another kind of model",
        )
    tokenizer = Tokenizer.from_file(str(encoder.path / "tokenizer.json"))
    model.eval().requires_grad_(False).to(device)
    return Body(model, tokenizer, int(config.pad_token_id or 0), device, precision)


def precision_for(device: str, wanted: str) -> str:
    """fp32 or bf16. `auto` takes bf16 where the hardware computes in it, and not where it would be emulated."""
    import torch

    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_bf16 = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    native = any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bf16" if has_bf16 and native else "fp32"


def tokenize(tokenizer: "Tokenizer", texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each text, specials included, cut to `max_tokens`."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokens: list[list[int]] = []
    for start in range(0, len(texts), 8192):
        tokens += [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts[start : start + 8192]))]
    return tokens


def embed_batches(body: Body, tokens: Sequence[Sequence[int]]) -> Iterator[tuple[npt.NDArray[np.int64], Vectors]]:
    """Row numbers and vectors, batch by batch, shortest texts first."""
    import torch

    lengths = np.fromiter((len(ids) for ids in tokens), np.int64, len(tokens))
    with torch.inference_mode():
        for rows in length_batches(lengths):
            longest = int(lengths[rows].max())
            ids = np.full((len(rows), longest), body.pad_id, np.int64)
            for at, row in enumerate(rows):
                ids[at, : lengths[row]] = tokens[row]
            vectors = _pooled(body, torch.from_numpy(ids), torch.from_numpy(lengths[rows]))
            if not np.isfinite(vectors).all():
                raise EncoderError(
                    "the encoder gave vectors that are not numbers",
                    value=f"precision {body.precision}",
                    fix="set settings.encoder.precision to fp32",
                )
            yield rows, vectors


def _pooled(body: Body, ids: "torch.Tensor", lengths: "torch.Tensor") -> Vectors:
    import torch

    ids, lengths = ids.to(body.device), lengths.to(body.device)
    longest = ids.shape[1]
    if bool((lengths == longest).all()):
        hidden = body.model(input_ids=ids, attention_mask=None).last_hidden_state
        pooled = hidden.float().mean(1)
    else:
        mask = torch.arange(longest, device=ids.device)[None, :] < lengths[:, None]
        hidden = body.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        pooled = (hidden.float() * mask[:, :, None]).sum(1) / lengths[:, None]
    vectors: Vectors = pooled.cpu().numpy()
    return vectors


def length_batches(
    lengths: npt.NDArray[np.int64], tokens_per_batch: int = TOKENS_PER_BATCH
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers of each batch: one length where enough texts have it, else neighbouring lengths together."""
    order = np.argsort(lengths, kind="stable")
    values, counts = np.unique(lengths, return_counts=True)
    runs: list[list[int]] = []  # [texts, longest]
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if runs and (runs[-1][0] < MIN_TEXTS_OF_ONE_LENGTH or count < MIN_TEXTS_OF_ONE_LENGTH):
            near = value <= runs[-1][1] * 1.25 + 1
            if near and runs[-1][0] < 4 * MIN_TEXTS_OF_ONE_LENGTH:
                runs[-1] = [runs[-1][0] + count, value]
                continue
        runs.append([count, value])
    start = 0
    for texts, longest in runs:
        size = max(1, tokens_per_batch // max(longest, 1))
        for first in range(start, start + texts, size):
            yield order[first : min(first + size, start + texts)]
        start += texts
