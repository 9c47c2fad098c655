"""The student's network: layers of a BERT encoder, its first token, and a class head of fixed width.

It is a plain `BertForSequenceClassification`: the pooler's dense layer holds the standardization of the features,
classes that are not used yet have zero weights and a bias that gives them no probability. Training and scoring here
run the same weights through a shorter path: the last layer is computed for the first token only, which is all that
the head reads (a third of a 3-layer network's arithmetic is saved; tests compare it with the plain path).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import AutoConfig, BertConfig, BertForSequenceClassification

from sortiment.errors import TrainingError

MASKED_BIAS = -10_000.0
UNUSED = "unused-"
MEAN_GAIN = 2.0  # of the tokens' mean over the first token itself


def choose_layers(available: int, wanted: int) -> list[int]:
    """The first, the last and evenly spaced layers between them."""
    if wanted > available:
        raise TrainingError(
            "the encoder has fewer layers than the student asks for",
            value=f"{available} layers",
            allowed=f"{wanted} or more",
            fix="set student.layers lower, or choose a deeper encoder",
        )
    return sorted({int(layer) for layer in np.linspace(0, available - 1, wanted).round()})


def head_width(classes: int, room: float, multiple: int) -> int:
    """Outputs of the head: the classes and at least `room` times as many unused, one or more, up to a multiple."""
    wanted = max(int(np.ceil(classes * (1 + room))), classes + 1)
    return -(-wanted // multiple) * multiple


def build_student(
    encoder_folder: Path, layers: int, classes: Sequence[str], width: int, averaging: bool = False
) -> BertForSequenceClassification:
    """A student with the encoder's body, cut to `layers`, and an empty head.

    averaging: the encoder's first layers, and a last one that starts as the mean over the tokens: what mean-pooled
    encoders read, in an architecture whose head reads the first token.
    Raises TrainingError where the encoder is not a BERT or its weights do not fit its configuration.
    """
    config = _read_config(encoder_folder)
    weights = _read_weights(encoder_folder)
    chosen = choose_layers(config.num_hidden_layers, layers)
    if averaging:
        chosen = [*range(layers - 1), chosen[-1]]
    student = BertForSequenceClassification(_student_config(config, len(chosen), classes, width))
    body = {f"bert.{name}": value for name, value in _cut_body(weights, chosen).items()}
    own = {name: value for name, value in student.state_dict().items() if name not in body and not _of_body(name)}
    _load_weights(student, body | own, encoder_folder)
    with torch.no_grad():
        dense = pooler_of(student)
        dense.weight.copy_(torch.eye(config.hidden_size))
        dense.bias.zero_()
        student.classifier.weight.zero_()
        student.classifier.bias.zero_()
        student.classifier.bias[len(classes) :] = MASKED_BIAS
    if averaging:
        _average_in_last_layer(student)
    student.train(False)
    return student


def load_student(folder: Path) -> BertForSequenceClassification:
    """A student directory as a network in float32. Raises TrainingError where its files do not fit together."""
    config = _read_config(folder)
    student = BertForSequenceClassification(config)
    _load_weights(student, _read_weights(folder), folder)
    student.train(False)
    return student


def move_student(student: BertForSequenceClassification, device: str) -> BertForSequenceClassification:
    """The student with its weights on the device."""
    nn.Module.to(student, device)
    return student


def refuse_broken(student: BertForSequenceClassification) -> None:
    """Raises TrainingError where a weight is not a number: the last step's loss is taken before that step."""
    broken = [name for name, weight in student.named_parameters() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise TrainingError(
            "the student's weights are not numbers after training",
            value=f"{len(broken)} tensors, for example {broken[0]}",
            fix="lower student.learning_rate (half of it is a good try), or set student.precision to fp32",
        )


def pad_id_of(student: BertForSequenceClassification) -> int:
    """The token that fills a batch."""
    pad_id = student.config.pad_token_id
    assert pad_id is not None
    return int(pad_id)


def grow_head(
    student: BertForSequenceClassification, classes: Sequence[str], width: int
) -> BertForSequenceClassification:
    """The same student with names for its new classes, and more outputs where they do not fit.

    A new class has zero weights until the head is fitted. The head never shrinks.
    """
    old = student.classifier
    used = count_classes(student)
    width = max(width, old.out_features) if len(classes) >= old.out_features else old.out_features
    head = nn.Linear(old.in_features, width)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(MASKED_BIAS)
        head.weight[: old.out_features] = old.weight
        head.bias[: old.out_features] = old.bias
        head.bias[used : len(classes)] = 0.0
    student.classifier = head
    student.num_labels = width
    student.config.num_labels = width
    student.config.id2label = name_outputs(classes, width)
    student.config.label2id = {name: index for index, name in student.config.id2label.items()}
    return student


def name_outputs(classes: Sequence[str], width: int) -> dict[int, str]:
    """Names of the head's outputs: category ids, then `unused-N`."""
    return {index: classes[index] if index < len(classes) else f"{UNUSED}{index}" for index in range(width)}


def count_classes(student: BertForSequenceClassification) -> int:
    """How many of the head's outputs are in use."""
    return int((student.classifier.bias > MASKED_BIAS / 2).sum())


def _average_in_last_layer(student: BertForSequenceClassification) -> None:
    """Attention that looks everywhere alike and passes on what it sees; a feed-forward part that adds nothing yet."""
    layer: Any = student.bert.encoder.layer[-1]
    identity = torch.eye(student.config.hidden_size)
    with torch.no_grad():
        for dense, weight in (
            (layer.attention.self.query, torch.zeros_like(identity)),
            (layer.attention.self.value, identity),
            (layer.attention.output.dense, MEAN_GAIN * identity),
            (layer.output.dense, torch.zeros_like(layer.output.dense.weight)),
        ):
            dense.weight.copy_(weight)
            dense.bias.zero_()
        for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm):
            norm.weight.fill_(1.0)
            norm.bias.zero_()


def pooler_of(student: BertForSequenceClassification) -> nn.Linear:
    """The dense layer between the first token and the head."""
    pooler = student.bert.pooler
    assert pooler is not None
    dense: nn.Linear = pooler.dense
    return dense


def first_token_features(student: BertForSequenceClassification, ids: Tensor, mask: Tensor) -> Tensor:
    """(offers, hidden): the last layer's output at the first token. ids, mask: (offers, tokens), mask boolean."""
    bert = student.bert
    hidden = bert.embeddings(input_ids=ids)
    bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=ids.device).masked_fill_(
        ~mask, torch.finfo(hidden.dtype).min
    )
    bias = bias[:, None, None, :]
    for layer in bert.encoder.layer[:-1]:
        hidden = _run_layer(layer, hidden, hidden, bias)
    return _run_layer(bert.encoder.layer[-1], hidden[:, :1], hidden, bias)[:, 0]


def first_token_logits(student: BertForSequenceClassification, ids: Tensor, mask: Tensor) -> Tensor:
    """(offers, outputs): the same logits as `student(input_ids=ids, attention_mask=mask).logits`, sooner."""
    return head_logits(student, first_token_features(student, ids, mask))


def head_logits(student: BertForSequenceClassification, features: Tensor) -> Tensor:
    """(offers, outputs), from `first_token_features`."""
    logits: Tensor = student.classifier(torch.tanh(pooler_of(student)(features)))
    return logits


def _run_layer(layer: Any, queries: Tensor, hidden: Tensor, bias: Tensor) -> Tensor:
    """One layer's output at the query positions. Plain matmul and softmax: under bf16 on a CPU the backward pass of
    torch's fused attention takes longer."""
    attention = layer.attention.self
    heads, size = attention.num_attention_heads, attention.attention_head_size

    def split(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], heads, size).transpose(1, 2)

    query = split(attention.query(queries)) * size**-0.5
    key, value = split(attention.key(hidden)), split(attention.value(hidden))
    weights = torch.softmax(query @ key.transpose(2, 3) + bias, dim=-1)
    context = (weights @ value).transpose(1, 2).reshape(*queries.shape[:2], heads * size)
    attended = layer.attention.output(context, queries)
    output: Tensor = layer.output(layer.intermediate(attended), attended)
    return output


def _student_config(config: BertConfig, layers: int, classes: Sequence[str], width: int) -> BertConfig:
    content = config.to_dict()
    names = name_outputs(classes, width)
    content.update(
        architectures=["BertForSequenceClassification"],
        num_hidden_layers=layers,
        id2label=names,
        label2id={name: index for index, name in names.items()},
        # Dropout is off: the soft labels regularize a short distillation, and every step stays a pure function.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
        problem_type="single_label_classification",
        dtype="float32",
    )
    made: BertConfig = BertConfig.from_dict(content)
    return made


def _read_config(folder: Path) -> BertConfig:
    if not (folder / "config.json").is_file():
        raise TrainingError("no model in the folder", value=str(folder), fix="name a Hugging Face directory")
    config = AutoConfig.from_pretrained(folder, attn_implementation="eager")
    if not isinstance(config, BertConfig) or config.model_type != "bert":
        raise TrainingError(
            "the student's encoder is not a BERT",
            value=config.model_type,
            allowed="bert (multilingual MiniLM, multilingual-e5-small, ...)",
            fix="set encoder.reference to such an encoder; the teacher may use another",
        )
    return config


def _read_weights(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainingError(
            "no weights in the folder",
            value=str(folder),
            allowed="safetensors",
            fix="convert the weights to safetensors: other formats can hold code and are not read",
        )
    return {name: value for file in files for name, value in safetensors.torch.load_file(file).items()}


def _cut_body(weights: dict[str, Tensor], chosen: list[int]) -> dict[str, Tensor]:
    """Embeddings and the chosen layers, renumbered, from a bare encoder or from a model that contains one."""
    plain = {name.removeprefix("bert."): value for name, value in weights.items()}
    cut = {name: value for name, value in plain.items() if name.startswith("embeddings.") and "_ids" not in name}
    for new, old in enumerate(chosen):
        start = f"encoder.layer.{old}."
        cut |= {f"encoder.layer.{new}.{name[len(start) :]}": plain[name] for name in plain if name.startswith(start)}
    return cut


def _of_body(name: str) -> bool:
    return name.startswith(("bert.embeddings.", "bert.encoder."))


def _load_weights(student: BertForSequenceClassification, weights: dict[str, Tensor], folder: Path) -> None:
    wanted = {name: tuple(value.shape) for name, value in student.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    misfits = sorted(name for name in wanted if found.get(name) != wanted[name])
    if misfits:
        raise TrainingError(
            f"the weights in {folder} do not fit their config.json",
            value=f"{misfits[0]} is {found.get(misfits[0], 'missing')}",
            allowed=f"{wanted[misfits[0]]}",
            fix="convert or download the model again; a changed config.json needs the weights made for it",
        )
    student.load_state_dict({name: weights[name].float() for name in wanted})
