"""A BERT classifier in plain torch, computing the last layer for the first token only: what Neuron is given to trace.

The same shortcut as in `bert_graph`. No transformers: Neuron environments pin an old one, and its masking code decides
by the data, which a trace must not. Submodules are named so that a Hugging Face checkpoint loads as it is.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sortiment.engines.bert_graph import MASKED, BertShape, read_bert_shape


def load_torch_bert(student: Path) -> "FirstTokenBert":
    """The student's weights in this module, ready to trace. Raises EngineError for another architecture."""
    shape = read_bert_shape(student)
    weights = load_file(student / "model.safetensors")
    model = FirstTokenBert(shape, vocabulary=weights["bert.embeddings.word_embeddings.weight"].shape[0])
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


class FirstTokenBert(nn.Module):
    """ids and mask, int64 [rows, tokens], to logits, fp32 [rows, classes]."""

    def __init__(self, shape: BertShape, vocabulary: int) -> None:
        super().__init__()
        hidden = shape.hidden
        self.bert = _named(
            embeddings=_named(
                word_embeddings=nn.Embedding(vocabulary, hidden),
                position_embeddings=nn.Embedding(shape.positions, hidden),
                token_type_embeddings=nn.Embedding(shape.token_types, hidden),
                LayerNorm=nn.LayerNorm(hidden, eps=shape.norm_epsilon),
            ),
            encoder=_named(layer=nn.ModuleList(_Layer(shape) for _ in range(shape.layers))),
            pooler=_named(dense=nn.Linear(hidden, hidden)),
        )
        self.classifier = nn.Linear(hidden, shape.classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        bert: Any = self.bert
        table = bert.embeddings
        places = table.position_embeddings.weight[: input_ids.shape[1]] + table.token_type_embeddings.weight[0]
        hidden = table.LayerNorm(table.word_embeddings(input_ids) + places)
        masked = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * MASKED
        layers = list(bert.encoder.layer)
        for layer in layers[:-1]:
            hidden = layer(hidden, hidden, masked)
        first = layers[-1](hidden[:, :1], hidden, masked)[:, 0]
        logits: Tensor = self.classifier(torch.tanh(bert.pooler.dense(first)))
        return logits


class _Layer(nn.Module):
    """One encoder layer: `asking` [rows, asked tokens, hidden] attends to `hidden` [rows, tokens, hidden]."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        hidden, inner = shape.hidden, shape.intermediate
        self.heads = shape.heads
        self.activate = nn.ReLU() if shape.activation == "relu" else nn.GELU()
        self.attention = _named(
            self=_named(
                query=nn.Linear(hidden, hidden), key=nn.Linear(hidden, hidden), value=nn.Linear(hidden, hidden)
            ),
            output=_named(dense=nn.Linear(hidden, hidden), LayerNorm=nn.LayerNorm(hidden, eps=shape.norm_epsilon)),
        )
        self.intermediate = _named(dense=nn.Linear(hidden, inner))
        self.output = _named(dense=nn.Linear(inner, hidden), LayerNorm=nn.LayerNorm(hidden, eps=shape.norm_epsilon))

    def forward(self, asking: Tensor, hidden: Tensor, masked: Tensor) -> Tensor:
        attention: Any = self.attention
        own: Any = attention.get_submodule("self")
        query, key, value = self._split(own.query(asking)), self._split(own.key(hidden)), self._split(own.value(hidden))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + masked
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2)
        attended = attention.output.LayerNorm(attention.output.dense(mixed) + asking)
        inner: Any = self.intermediate
        output: Any = self.output
        answer: Tensor = output.LayerNorm(output.dense(self.activate(inner.dense(attended))) + attended)
        return answer

    def _split(self, projected: Tensor) -> Tensor:
        """[rows, tokens, hidden] to [rows, heads, tokens, width]."""
        rows, tokens, hidden = projected.shape
        return projected.view(rows, tokens, self.heads, hidden // self.heads).transpose(1, 2)


def _named(**parts: nn.Module) -> nn.Module:
    """A module that only names its parts, as the checkpoint does."""
    holder = nn.Module()
    for name, part in parts.items():
        holder.add_module(name, part)
    return holder
