"""Writes a BERT classifier as an ONNX graph, node by node, from its safetensors.

torch 2.13 has two exporters: the new one needs onnxscript, which is not a dependency, and the old one is deprecated.
The graph of a BERT classifier is small, so it is written here, which also buys what no exporter does:

- The classifier reads only the first token. In the last layer only that token's query, attention and feed-forward
  part are computed: the same logits for 10/12 of a layer less arithmetic, more than a quarter of a 3-layer model.
- Position and token type embeddings are one table, and the scale of attention is folded into the query's weights.
- The same weights give the same bytes, without loading torch.

`quantize_student` compares the graph's logits with torch's before anybody uses it.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.errors import EngineError

OPSET = 18
FLOAT = 1  # onnx.TensorProto.FLOAT
IR_VERSION = 9
LOOKUP_NODE = "Gather.words"
MASKED = -10_000.0  # added to a padding token's score: exp() of it is 0 in fp32 and bf16, and int8 ranges survive it
ACTIVATIONS = ("gelu", "relu")
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class BertShape:
    """The sizes in a student's config.json."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    positions: int
    token_types: int
    classes: int
    norm_epsilon: float
    activation: str


def read_bert_shape(student: Path) -> BertShape:
    """Sizes of a Hugging Face BertForSequenceClassification. Raises EngineError where it is another architecture."""
    config = json.loads((student / "config.json").read_text(encoding="utf-8"))
    architectures = config.get("architectures") or []
    if architectures != ["BertForSequenceClassification"]:
        raise EngineError(
            f"{student} is not a model that can be compiled",
            value=architectures,
            allowed="BertForSequenceClassification",
            fix="distill the student again: sortiment/student writes this architecture",
        )
    if config.get("hidden_act", "gelu") not in ACTIVATIONS:
        raise EngineError("the student's activation is not supported", value=config["hidden_act"], allowed="gelu, relu")
    classes = len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels", 2))
    return BertShape(
        layers=int(config["num_hidden_layers"]),
        hidden=int(config["hidden_size"]),
        intermediate=int(config["intermediate_size"]),
        heads=int(config["num_attention_heads"]),
        positions=int(config["max_position_embeddings"]),
        token_types=int(config.get("type_vocab_size", 2)),
        classes=classes,
        norm_epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=str(config.get("hidden_act", "gelu")),
    )


def write_bert_graph(student: Path, out: Path) -> BertShape:
    """Write `out` (ONNX, fp32) with inputs `input_ids`, `attention_mask` (int64, [batch, tokens]; 1 = a real token)
    and output `logits` (float32, [batch, classes]); both axes are dynamic. Raises EngineError."""
    import onnx

    shape = read_bert_shape(student)
    graph = _Graph(_read_weights(student), shape)
    logits = graph.add_classifier()
    integers, floats = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    value = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "bert_classifier",
            [value(name, integers, ["batch", "tokens"]) for name in ("input_ids", "attention_mask")],
            [value(logits, floats, ["batch", shape.classes])],
            list(graph.constants.values()),
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sortiment",
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
    return shape


def float_nodes(shape: BertShape) -> list[str]:
    """Nodes that int8 leaves alone: the token table, and the products behind gelu, whose long tails int8 ranges cut.

    They are a third of the arithmetic, and more than half of the answers that int8 changes (docs/experiments.md).
    """
    return [LOOKUP_NODE, *(f"MatMul.bert.encoder.layer.{layer}.output.dense.product" for layer in range(shape.layers))]


def _read_weights(student: Path) -> dict[str, Array]:
    from safetensors.numpy import load_file

    file = student / "model.safetensors"
    if not file.is_file():
        raise EngineError("the student has no weights", value=str(file), fix="materialize student_checkpoint again")
    weights: dict[str, Array] = load_file(file)
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise EngineError(
            "the student's weights are not all finite",
            value=broken[0],
            fix="the training diverged: materialize student_checkpoint again with a lower learning rate",
        )
    return weights


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, weights: dict[str, Array], shape: BertShape) -> None:
        self.weights = weights
        self.shape = shape
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add_classifier(self) -> str:
        hidden = self._embed()
        masked = self._mask_padding()
        for layer in range(self.shape.layers):
            hidden = self._add_layer(layer, hidden, masked, first_token_only=layer == self.shape.layers - 1)
        first = self._node("Squeeze", [hidden, self._constant("squeeze_axis", np.array([1]))], "first_token")
        pooled = self._node("Tanh", [self._linear("bert.pooler.dense", first)], "pooled")
        return self._linear("classifier", pooled, output="logits")

    def _embed(self) -> str:
        words = self._constant("word_embeddings", self._weight("bert.embeddings.word_embeddings.weight"))
        places = self._weight("bert.embeddings.position_embeddings.weight")
        types = self._weight("bert.embeddings.token_type_embeddings.weight")
        table = self._constant("position_embeddings", places + types[0])
        tokens = self._node("Shape", ["input_ids"], "tokens", start=1, end=2)
        zero, axis = self._constant("slice_start", np.array([0])), self._constant("slice_axis", np.array([0]))
        placed = self._node("Slice", [table, zero, tokens, axis], "positions")
        gathered = self._node("Gather", [words, "input_ids"], "words")
        return self._norm("bert.embeddings.LayerNorm", self._node("Add", [gathered, placed], "embedded"))

    def _mask_padding(self) -> str:
        """0 for real tokens and MASKED for padding, [batch, 1, 1, tokens]."""
        axes = self._constant("mask_axes", np.array([1, 2]))
        wide = self._node("Unsqueeze", ["attention_mask", axes], "mask_wide")
        real = self._node("Cast", [wide], "mask_float", to=FLOAT)
        padding = self._node("Sub", [self._constant("one", np.float32(1)), real], "mask_padding")
        return self._node("Mul", [padding, self._constant("masked", np.float32(MASKED))], "mask_scores")

    def _add_layer(self, layer: int, hidden: str, masked: str, first_token_only: bool) -> str:
        prefix = f"bert.encoder.layer.{layer}"
        asking = self._first_token(hidden, prefix) if first_token_only else hidden
        width = self.shape.hidden // self.shape.heads
        query = self._heads(
            self._linear(f"{prefix}.attention.self.query", asking, scale=1 / math.sqrt(width)), prefix, "q"
        )
        key = self._heads(self._linear(f"{prefix}.attention.self.key", hidden), prefix, "k", (0, 2, 3, 1))
        value = self._heads(self._linear(f"{prefix}.attention.self.value", hidden), prefix, "v")
        scores = self._node("Add", [self._node("MatMul", [query, key], f"{prefix}.scores"), masked], f"{prefix}.biased")
        shares = self._node("Softmax", [scores], f"{prefix}.shares", axis=-1)
        mixed = self._node("MatMul", [shares, value], f"{prefix}.mixed")
        back = self._node("Transpose", [mixed], f"{prefix}.back", perm=[0, 2, 1, 3])
        joined = self._node(
            "Reshape", [back, self._constant("joined", np.array([0, 0, self.shape.hidden]))], f"{prefix}.joined"
        )
        attended = self._linear(f"{prefix}.attention.output.dense", joined)
        summed = self._node("Add", [attended, asking], f"{prefix}.attended")
        hidden = self._norm(f"{prefix}.attention.output.LayerNorm", summed)
        inner = self._activate(self._linear(f"{prefix}.intermediate.dense", hidden), prefix)
        outer = self._node("Add", [self._linear(f"{prefix}.output.dense", inner), hidden], f"{prefix}.fed")
        return self._norm(f"{prefix}.output.LayerNorm", outer)

    def _first_token(self, hidden: str, prefix: str) -> str:
        names = [("first_start", 0), ("first_end", 1), ("first_axis", 1)]
        return self._node("Slice", [hidden, *(self._constant(n, np.array([v])) for n, v in names)], f"{prefix}.first")

    def _heads(self, projected: str, prefix: str, name: str, order: tuple[int, ...] = (0, 2, 1, 3)) -> str:
        sizes = self._constant("heads", np.array([0, 0, self.shape.heads, self.shape.hidden // self.shape.heads]))
        split = self._node("Reshape", [projected, sizes], f"{prefix}.{name}_split")
        return self._node("Transpose", [split], f"{prefix}.{name}", perm=list(order))

    def _activate(self, inner: str, prefix: str) -> str:
        """Exact gelu, x * (1 + erf(x / sqrt 2)) / 2, in the nodes that runtimes fuse; or relu."""
        if self.shape.activation == "relu":
            return self._node("Relu", [inner], f"{prefix}.relu")
        root, one = self._constant("root_two", np.float32(math.sqrt(2))), self._constant("one", np.float32(1))
        error = self._node("Erf", [self._node("Div", [inner, root], f"{prefix}.gelu_div")], f"{prefix}.gelu_erf")
        grown = self._node("Mul", [inner, self._node("Add", [error, one], f"{prefix}.gelu_add")], f"{prefix}.gelu_mul")
        return self._node("Mul", [grown, self._constant("half", np.float32(0.5))], f"{prefix}.gelu")

    def _linear(self, name: str, data: str, scale: float = 1.0, output: str = "") -> str:
        weight = self._constant(f"{name}.weight", np.ascontiguousarray((self._weight(f"{name}.weight") * scale).T))
        bias = self._constant(f"{name}.bias", self._weight(f"{name}.bias") * scale)
        product = self._node("MatMul", [data, weight], f"{name}.product")
        return self._node("Add", [product, bias], output or f"{name}.sum")

    def _norm(self, name: str, data: str) -> str:
        weight = self._constant(f"{name}.weight", self._weight(f"{name}.weight"))
        bias = self._constant(f"{name}.bias", self._weight(f"{name}.bias"))
        return self._node("LayerNormalization", [data, weight, bias], name, axis=-1, epsilon=self.shape.norm_epsilon)

    def _weight(self, name: str) -> Array:
        if name not in self.weights:
            raise EngineError(
                "the student's weights lack a tensor", value=name, fix="materialize student_checkpoint again"
            )
        return self.weights[name].astype(np.float32, copy=False)

    def _constant(self, name: str, array: Any) -> str:
        """Add a constant once: integers as int64, other numbers as float32."""
        import onnx

        if name not in self.constants:
            array = np.asarray(array)
            typed = array.astype(np.int64 if array.dtype.kind == "i" else np.float32, copy=False)
            self.constants[name] = onnx.numpy_helper.from_array(typed, name)
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], name=f"{kind}.{output}", **attributes))
        return output
