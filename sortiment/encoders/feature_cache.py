"""Embeddings kept by content: a text is embedded once per encoder, over partitions, days and killed runs.

    ROOT/<space>/space.json             what the space's vectors were computed with
    ROOT/<space>/<sha of keys>.safetensors    keys uint64 [n, 2] (blake2b-128 of the text), vectors float16 [n, hidden]

A space is one encoder, its layers, engine, precision and token limit. A shard is written whole or not at all, and its
name is its content, so two processes that compute the same shard write the same file.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.artifacts import content_version
from sortiment.blobs import write_atomically
from sortiment.encoders.embedding import Embedder
from sortiment.encoders.references import EncoderFolder
from sortiment.encoders.runners import Vectors, runner_name
from sortiment.errors import EncoderError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings

Keys = npt.NDArray[np.void]
KEY = np.dtype([("high", "<u8"), ("low", "<u8")])
TEXTS_PER_SHARD = 2048
SHARDS_BEFORE_MERGE = 48


class FeatureCache:
    """Vectors of one encoder, looked up by text and computed where they are not there yet.

    root: shared by all encoders. layers: the first so many of the encoder. Safe for several processes at a time.
    """

    def __init__(
        self, root: Path, encoder: EncoderFolder, settings: EncoderSettings, layers: int | None = None
    ) -> None:
        self.embedder = Embedder(encoder, settings, layers)
        self.space: dict[str, Any] = {
            "encoder": encoder.version,
            "reference": encoder.reference,
            "layers": layers or encoder.layers,
            "engine": runner_name(settings),
            "max_tokens": settings.max_tokens,
            "hidden": encoder.hidden,
        }
        address = {name: value for name, value in self.space.items() if name != "reference"}
        self.folder = root / content_version(address)

    def features(self, texts: Sequence[str], progress: Progress) -> Vectors:
        """One row per text, float32 [n, hidden], rounded to float16. `texts`: with their prompt in front."""
        unique, inverse = np.unique(text_keys(texts), return_inverse=True)
        found, there = self._look_up(unique)
        missing = np.flatnonzero(~there)
        if len(missing):
            first_row = np.empty(len(unique), np.int64)
            first_row[inverse[::-1]] = np.arange(len(texts))[::-1]
            found[missing] = self._compute([texts[row] for row in first_row[missing]], unique[missing], progress)
        return found[inverse].astype(np.float32)

    def _look_up(self, keys: Keys) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
        known_keys, known_vectors = self._read()
        at = _positions(keys, known_keys)
        found = np.zeros((len(keys), self.space["hidden"]), np.float16)
        found[at >= 0] = known_vectors[at[at >= 0]]
        return found, at >= 0

    def _compute(self, texts: Sequence[str], keys: Keys, progress: Progress) -> npt.NDArray[np.float16]:
        """Embed texts that no shard holds, and write them shard by shard."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "space.json", (json.dumps(self.space, indent=1) + "\n").encode())
        vectors = np.empty((len(texts), self.space["hidden"]), np.float16)
        # by length, so that a shard's batches hardly pad; characters stand in for tokens
        order = np.argsort([len(text) for text in texts], kind="stable")
        with progress(f"embed with {self.space['reference']}", total=len(texts), unit="titles") as step:
            for start in range(0, len(texts), TEXTS_PER_SHARD):
                part = order[start : start + TEXTS_PER_SHARD]
                vectors[part] = self.embedder.embed([texts[row] for row in part], step).astype(np.float16)
                self._write(keys[part], vectors[part])
        return vectors

    def _write(self, keys: Keys, vectors: npt.NDArray[np.float16]) -> Path:
        from safetensors.numpy import save

        order = np.argsort(keys)
        plain = np.ascontiguousarray(keys[order]).view("<u8").reshape(-1, 2)
        name = hashlib.sha256(plain.tobytes()).hexdigest()[:16]
        data = save({"keys": plain, "vectors": np.ascontiguousarray(vectors[order])})
        file = self.folder / f"{name}.safetensors"
        write_atomically(file, data)
        return file

    def _read(self) -> tuple[Keys, npt.NDArray[np.float16]]:
        """Everything in the space, sorted by key. Many small shards are merged into one on the way."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        files = sorted(self.folder.glob("*.safetensors"))
        keys, vectors = [np.empty(0, KEY)], [np.empty((0, self.space["hidden"]), np.float16)]
        for file in files:
            try:
                shard = load_file(file)
            except FileNotFoundError:  # another process merged it just now
                return self._read()
            except (SafetensorError, OSError) as error:
                raise EncoderError(
                    "a shard of cached embeddings is damaged", value=str(file), fix=f"delete it: rm {file}"
                ) from error
            keys.append(np.ascontiguousarray(shard["keys"]).view(KEY).reshape(-1))
            vectors.append(shard["vectors"])
        all_keys, rows = np.unique(np.concatenate(keys), return_index=True)
        all_vectors = np.concatenate(vectors)[rows]
        if len(files) > SHARDS_BEFORE_MERGE:
            merged = self._write(all_keys, all_vectors)
            for file in files:
                if file != merged:
                    file.unlink(missing_ok=True)
        return all_keys, all_vectors


def text_keys(texts: Sequence[str]) -> Keys:
    """128 bits of blake2b per text."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, KEY)


def _positions(wanted: Keys, known: Keys) -> npt.NDArray[np.int64]:
    """Where each wanted key stands in the sorted known ones; -1 = nowhere."""
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    at = np.searchsorted(known, wanted)
    at[at == len(known)] = 0
    return np.where(known[at] == wanted, at, -1)
