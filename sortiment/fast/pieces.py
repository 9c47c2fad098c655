"""Texts to piece ids at hundreds of thousands of texts a second: the encoder's unigram pieces in a SentencePiece model.

The sentencepiece library segments many times as fast as a tokenizers pipeline. Its model is a protobuf message; it is
put together here from the pieces and their scores, with the library's own normalization map, and never stored: what is
stored is JSON. Texts are case-folded by that map (nmt_nfkc_cf), so that shops that shout need no pieces of their own.
"""

import io
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sentencepiece

from sortiment.errors import TrainingError

UNKNOWN = 0
WORD_START = "▁"
NORMALIZATION = "nmt_nfkc_cf"
NORMAL, UNKNOWN_TYPE = 1, 2
TRAINER_FIELD, NORMALIZER_FIELD = 2, 3
TEXTS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Piece:
    """One entry of a unigram vocabulary; `row` is its row in the encoder's token table."""

    text: str
    score: float
    row: int


class Segmenter:
    """Cuts texts into pieces. Piece 0 is "unknown"."""

    def __init__(self, pieces: Sequence[tuple[str, float]]) -> None:
        self.pieces = list(pieces)
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=_write_model(self.pieces))
        self.starts_word = np.array([True] + [text.startswith(WORD_START) for text, _ in self.pieces])

    def __len__(self) -> int:
        """Pieces, "unknown" included."""
        return len(self.pieces) + 1

    def cut(self, texts: Sequence[str], max_pieces: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Piece ids of all texts, one after the other, and each text's number of ids (0 for an empty text)."""
        parts: list[npt.NDArray[np.int32]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            parts += self.processor.encode_as_numpy(list(texts[start : start + TEXTS_AT_ONCE]))
        parts = [part[:max_pieces] for part in parts]
        lengths = np.fromiter((part.size for part in parts), np.int64, len(parts))
        return (np.concatenate(parts) if parts else np.zeros(0, np.int32)), lengths


def read_unigram_pieces(encoder_folder: Path) -> list[Piece]:
    """The pieces of the encoder's tokenizer.json, without its special tokens."""
    file = encoder_folder / "tokenizer.json"
    if not file.is_file():
        raise TrainingError("tokenizer.json is missing", value=str(encoder_folder), fix="convert the encoder again")
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["model"]["type"] != "Unigram":
        raise TrainingError(
            "the fast student needs an encoder with a unigram vocabulary",
            value=content["model"]["type"],
            allowed="Unigram (XLM-RoBERTa, multilingual e5, multilingual MiniLM)",
            fix="set encoder.reference to such an encoder",
        )
    special = {token["content"] for token in content["added_tokens"]}
    vocabulary = content["model"]["vocab"]
    return [Piece(text, score, row) for row, (text, score) in enumerate(vocabulary) if text and text not in special]


def choose_pieces(pieces: Sequence[Piece], texts: Sequence[str], max_pieces: int) -> list[Piece]:
    """The pieces that the texts use, single characters, and the pieces whose rows are in between, in their order."""
    whole = Segmenter([(piece.text, piece.score) for piece in pieces])
    used = np.zeros(len(whole), np.bool_)
    ids, _ = whole.cut(texts, max_pieces)
    used[ids] = True
    return [piece for index, piece in enumerate(pieces) if used[index + 1] or len(piece.text) == 1]


def _write_model(pieces: Sequence[tuple[str, float]]) -> bytes:
    """A ModelProto: pieces (field 1), the trainer's spec (2) and the normalizer's (3) of the library's own making."""
    trainer, normalizer = _specs()
    body = bytearray(_piece("<unk>", 0.0, UNKNOWN_TYPE))
    for text, score in pieces:
        body += _piece(text, score, NORMAL)
    return bytes(body) + _field(TRAINER_FIELD, trainer) + _field(NORMALIZER_FIELD, normalizer)


def _piece(text: str, score: float, kind: int) -> bytes:
    return _field(1, _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind]))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@lru_cache(maxsize=1)
def _specs() -> tuple[bytes, bytes]:
    """Trainer and normalizer spec of a model that the library trains on next to nothing."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h"] * 20),
        model_writer=model,
        vocab_size=20,
        hard_vocab_limit=False,
        normalization_rule_name=NORMALIZATION,
        unk_id=UNKNOWN,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    fields = dict(_read_fields(model.getvalue()))
    return fields[TRAINER_FIELD], fields[NORMALIZER_FIELD]


def _read_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a message."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 != 2:
            raise TrainingError("the sentencepiece library wrote a model in an unknown form", value=key)
        length, at = _read_varint(message, at)
        yield key >> 3, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
