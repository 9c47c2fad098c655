"""What safetensors files hold, from their headers alone. The format: https://huggingface.co/docs/safetensors"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file. `offset`: of its first byte within the file."""

    name: str
    file: Path
    kind: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


def read_headers(folder: Path) -> Iterator[StoredTensor]:
    """Every tensor of the folder's safetensors files."""
    for file in sorted(folder.glob("*.safetensors")):
        yield from read_header(file)


def read_header(file: Path) -> Iterator[StoredTensor]:
    """Every tensor of a safetensors file."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            yield StoredTensor(name, file, entry["dtype"], tuple(entry["shape"]), 8 + length + first, last - first)
