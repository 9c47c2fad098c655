"""Embeddings kept by content: a text is embedded once per encoder, over partitions, days and killed runs.

    ROOT/<space>/space.json             what the space's vectors were computed with
    ROOT/<space>/<sha of keys>.safetensors    keys uint64 [n, 2] (blake2b-128 of the text), vectors float16 [n, hidden]

A space is one encoder, its layers, engine, precision and token limit. A shard is written whole or not at all, and its
name is its content, so two processes that compute the same shard write the same file. The keys stay in memory, sorted,
and are read again when a shard has come or gone; of the vectors only the rows that are asked for are read.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.artifacts import content_version
from sortiment.blobs import write_atomically
from sortiment.encoders.embedding import Embedder
from sortiment.encoders.references import EncoderFolder
from sortiment.encoders.runners import Vectors, runner_name
from sortiment.encoders.stored_tensors import read_header
from sortiment.errors import EncoderError
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings

Keys = npt.NDArray[np.void]
Rows = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]
KEY = np.dtype([("high", "<u8"), ("low", "<u8")])
TEXTS_PER_SHARD = 2048
SHARDS_BEFORE_MERGE = 48
SMALL_TEXTS = SHARDS_BEFORE_MERGE * TEXTS_PER_SHARD  # a shard of so many is not merged again: its bytes stay


@dataclass(frozen=True)
class Index:
    """Where each text's vector is. offsets: of the first byte of each file's vectors. starts: of each file's rows,
    counted through all files, and the end of the last one's. keys: of all files, each once, sorted. rows: of each key.
    """

    files: tuple[Path, ...]
    offsets: tuple[int, ...]
    starts: Rows
    keys: Keys
    rows: Rows

    def shards_of(self, rows: Rows) -> Rows:
        """The number of the file that each row is in."""
        return np.searchsorted(self.starts, rows, side="right") - 1


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
        self._index = _read_index(())

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

    def _look_up(self, keys: Keys) -> tuple[Halves, npt.NDArray[np.bool_]]:
        index = self._current_index()
        at = _positions(keys, index.keys)
        found = np.zeros((len(keys), self.space["hidden"]), np.float16)
        try:
            found[at >= 0] = self._read_rows(index, index.rows[at[at >= 0]])
        except FileNotFoundError:  # another process merged the shard just now
            return self._look_up(keys)
        return found, at >= 0

    def _compute(self, texts: Sequence[str], keys: Keys, progress: Progress) -> Halves:
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

    def _write(self, keys: Keys, vectors: Halves) -> Path:
        from safetensors.numpy import save

        order = _sorting(keys)
        plain = np.ascontiguousarray(keys[order]).view("<u8").reshape(-1, 2)
        name = hashlib.sha256(plain.tobytes()).hexdigest()[:16]
        data = save({"keys": plain, "vectors": np.ascontiguousarray(vectors[order])})
        file = self.folder / f"{name}.safetensors"
        write_atomically(file, data)
        return file

    def _current_index(self) -> Index:
        """That of the last call, unless a shard has come or gone. Many small shards are merged into one on the way."""
        files = tuple(sorted(self.folder.glob("*.safetensors")))
        if files == self._index.files:
            return self._index
        try:
            index = _read_index(files)
            small = np.flatnonzero(np.diff(index.starts) < SMALL_TEXTS)
            if len(small) > SHARDS_BEFORE_MERGE:
                self._merge(index, small)
                return self._current_index()
        except FileNotFoundError:  # another process merged it just now
            return self._current_index()
        self._index = index
        return index

    def _merge(self, index: Index, shards: Rows) -> None:
        mine = np.isin(index.shards_of(index.rows), shards)
        merged = self._write(index.keys[mine], self._read_rows(index, index.rows[mine]))
        for shard in shards:
            if index.files[shard] != merged:
                index.files[shard].unlink(missing_ok=True)

    def _read_rows(self, index: Index, rows: Rows) -> Halves:
        """The vectors of some rows, [rows, hidden], of no others. Raises FileNotFoundError where a shard is gone."""
        vectors = np.empty((len(rows), self.space["hidden"]), np.float16)
        shard_of_row = index.shards_of(rows)
        for shard in np.unique(shard_of_row):
            mine, start, end = shard_of_row == shard, index.starts[shard], index.starts[shard + 1]
            file, offset, shape = index.files[shard], index.offsets[shard], (int(end - start), vectors.shape[1])
            try:
                stored = np.memmap(file, "<f2", mode="r", offset=offset, shape=shape)
            except FileNotFoundError:
                raise
            except (ValueError, OSError) as error:  # shorter than it was
                raise _damaged(file) from error
            vectors[mine] = stored[rows[mine] - start]
        return vectors


def _read_index(files: Sequence[Path]) -> Index:
    """Reads the keys alone. Raises FileNotFoundError where a shard is gone."""
    from safetensors import SafetensorError, safe_open

    keys, offsets = [np.empty(0, KEY)], []
    for file in files:
        try:
            with safe_open(file, "numpy") as shard:
                keys.append(np.ascontiguousarray(shard.get_tensor("keys")).view(KEY).reshape(-1))
            offsets += [tensor.offset for tensor in read_header(file) if tensor.name == "vectors"]
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError) as error:
            raise _damaged(file) from error
    every = np.concatenate(keys)
    rows = _sorting(every)
    rows = rows[np.append(True, every[rows[1:]] != every[rows[:-1]])] if len(rows) else rows
    starts = np.cumsum([len(some) for some in keys])
    return Index(tuple(files), tuple(offsets), starts, every[rows], rows)


def _sorting(keys: Keys) -> Rows:
    """What sorts the keys; equal ones keep their order."""
    return np.lexsort((keys["low"], keys["high"]))


def _damaged(file: Path) -> EncoderError:
    return EncoderError("a shard of cached embeddings is damaged", value=str(file), fix=f"delete it: rm {file}")


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
