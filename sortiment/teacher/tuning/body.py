"""Which part of the encoder learns: its top layers, low-rank additions to its matrices (LoRA), or all of it.

Whatever learns, the interface is one: mean-pooled vectors of some offers, the tensors that move, and at the end a plain
encoder. Dropout stays off: every step is a function of its offers, so that a resumed run takes the same steps.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sortiment.encoders import EncoderFolder, load_body
from sortiment.errors import TrainingError
from sortiment.progress import Step
from sortiment.settings import TeacherSettings
from sortiment.student.scoring import SCORING_BATCH, Hardware
from sortiment.student.tokens import Tokens, sorted_batches
from sortiment.teacher.ridge import Ints


class Body(nn.Module):
    """An encoder of which something learns."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def pooled(self, tokens: Tokens, rows: Ints) -> Tensor:
        """[rows, hidden], the mean over each offer's tokens."""
        ids, mask = _batch(tokens, rows, self.device)
        return _mean(self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state, mask)

    def finish(self) -> Any:
        """The encoder as transformers knows it. The body is not used afterwards."""
        return self.model

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def table(self) -> Tensor | None:
        """The token table, where it learns."""
        return None

    @property
    def learning(self) -> dict[str, nn.Parameter]:
        """The tensors that move, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}


class FullBody(Body):
    """Everything learns; the token table by the rows that a batch reads."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.requires_grad_(True))
        model.get_input_embeddings().sparse = True

    @property
    def table(self) -> Tensor | None:
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight


class LoraBody(Body):
    """Two thin matrices beside each matrix of the layers learn, and are added into it at the end."""

    def __init__(self, model: Any, rank: int, seed: int) -> None:
        from peft import LoraConfig, get_peft_model

        with torch.random.fork_rng(), warnings.catch_warnings():
            # peft 0.21 asks transformers under a name that transformers 6 will drop
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
            torch.manual_seed(seed)
            config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
            super().__init__(get_peft_model(model, config))

    def finish(self) -> Any:
        return self.model.merge_and_unload()


class TopBody(Body):
    """The last layers learn, on what the layers below, which stay as they are, make of an offer.

    states: that, computed once, float16 [tokens, hidden] in the order of the tokens; None = computed at every step.
    """

    def __init__(self, model: Any, layers: int, states: Tensor | None) -> None:
        super().__init__(model)
        every = _layers_of(model)
        self.top = nn.ModuleList(every[len(every) - layers :]).requires_grad_(True)
        model.encoder.layer = nn.ModuleList(every[: len(every) - layers])
        self.states = states

    def pooled(self, tokens: Tokens, rows: Ints) -> Tensor:
        ids, mask = _batch(tokens, rows, self.device)
        hidden = self.lower(ids, mask) if self.states is None else self._stored(tokens, rows, mask)
        bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=self.device)
        bias = bias.masked_fill_(~mask, torch.finfo(hidden.dtype).min)[:, None, None, :]
        for layer in self.top:
            hidden = layer(hidden, attention_mask=bias)
        return _mean(hidden, mask)

    def lower(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What the layers below make of a batch, [rows, tokens, hidden]."""
        with torch.no_grad():
            hidden: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return hidden.float()

    def _stored(self, tokens: Tokens, rows: Ints, mask: Tensor) -> Tensor:
        assert self.states is not None
        hidden = torch.zeros((*mask.shape, self.states.shape[1]), device=self.device)
        hidden[mask] = self.states[_places(tokens, rows)].to(self.device).float()
        return hidden

    def finish(self) -> Any:
        self.model.encoder.layer = nn.ModuleList([*self.model.encoder.layer, *self.top])
        return self.model


def body_opener(
    encoder: EncoderFolder, settings: TeacherSettings, tokens: Tokens, hardware: Hardware, step: Step
) -> Callable[[], Body]:
    """A function that gives an untouched body; what all bodies share is computed once, here, and `step` tells of it."""
    kind, tuning = settings.fine_tuning, settings.tuning
    if kind == "lora" and find_spec("peft") is None:
        raise TrainingError(
            "LoRA needs the package peft, which is not installed",
            value="teacher.fine_tuning: lora",
            fix="pip install 'sortiment[lora]', or set teacher.fine_tuning to top or full",
        )
    states: Tensor | None = None
    if kind == "top":
        states = _lower_states(encoder, tuning.top_layers, tokens, tuning.hidden_mb, hardware, step)

    def open_body() -> Body:
        model = _load(encoder)
        if kind == "full":
            return FullBody(model).to(hardware.device)
        if kind == "lora":
            return LoraBody(model, tuning.lora_rank, settings.seed).to(hardware.device)
        return TopBody(model, tuning.top_layers, states).to(hardware.device)

    return open_body


def _load(encoder: EncoderFolder) -> Any:
    model = load_body(encoder)
    # plain matmul and softmax: under bf16 on a CPU the backward pass of torch's fused attention takes longer
    model.set_attn_implementation("eager")
    return model


def _layers_of(model: Any) -> list[nn.Module]:
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList):
        raise TrainingError(
            "the encoder's layers are not where BERT has them, so its last ones cannot be tuned alone",
            value=type(model).__name__,
            allowed="BERT, RoBERTa, XLM-RoBERTa and what is built like them",
            fix="set teacher.fine_tuning to lora or full",
        )
    return list(layers)


def _lower_states(
    encoder: EncoderFolder, layers: int, tokens: Tokens, limit_mb: int, hardware: Hardware, step: Step
) -> Tensor | None:
    """float16 [tokens, hidden]; None where that is more than the limit."""
    if layers > encoder.layers:
        raise TrainingError(
            "the encoder has fewer layers than are to be tuned",
            value=f"teacher.tuning.top_layers: {layers}",
            allowed=f"1 to {encoder.layers}",
            fix="lower it, or set teacher.fine_tuning to full",
        )
    body = TopBody(_load(encoder), layers, None).to(hardware.device)
    if len(tokens.flat) * encoder.hidden * 2 > limit_mb * 1_000_000:
        return None
    states = torch.empty((len(tokens.flat), encoder.hidden), dtype=torch.float16)
    with torch.autocast(hardware.device, torch.bfloat16, enabled=hardware.bf16):
        for rows in sorted_batches(tokens.lengths, SCORING_BATCH):
            ids, mask = _batch(tokens, rows, body.device)
            states[_places(tokens, rows)] = body.lower(ids, mask)[mask].half().cpu()
            step.advance(len(rows))
    return states


def _places(tokens: Tokens, rows: Ints) -> Tensor:
    """Where the tokens of the rows stand among all, one row after the other."""
    return torch.from_numpy(np.concatenate([np.arange(tokens.start[row], tokens.start[row + 1]) for row in rows]))


def _batch(tokens: Tokens, rows: Ints, device: torch.device) -> tuple[Tensor, Tensor]:
    ids, mask = tokens.pad(rows)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
