"""What a killed training leaves behind, so that the next one goes on: the start, and the state after each epoch.

    OUT/.training/start/                 the student before the first step, a Hugging Face directory
    OUT/.training/epoch.safetensors      weights and optimizer state after the last whole epoch, and the best epoch's
                                         weights where epochs are judged; without pickles

Both carry the fingerprint of everything that training depends on; what belongs to other inputs is thrown away.
"""

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from sortiment.blobs import write_atomically

FOLDER = ".training"
START = "start"
EPOCH_FILE = "epoch.safetensors"
FINGERPRINT_FILE = "fingerprint.json"
WEIGHTS, OPTIMIZER, BEST = "weights.", "optimizer.", "best."


@dataclass(frozen=True)
class EpochState:
    """State after `epochs` whole epochs, with each epoch's mean loss.

    macro_f1: of each epoch, best: the best one's weights; both empty where epochs are not judged.
    """

    epochs: int
    losses: list[float]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    macro_f1: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


class Resume:
    """The traces of one training in its output folder."""

    def __init__(self, out: Path, fingerprint: str) -> None:
        self.folder = out / FOLDER
        self.fingerprint = fingerprint
        marker = self.folder / FINGERPRINT_FILE
        if not marker.is_file() or json.loads(marker.read_text(encoding="utf-8")) != fingerprint:
            self.remove()
            self.folder.mkdir(parents=True)
            write_atomically(marker, json.dumps(fingerprint).encode())

    @property
    def start(self) -> Path | None:
        """The student before the first step, where it was prepared."""
        folder = self.folder / START
        return folder if folder.is_dir() else None

    def prepare(self) -> Path:
        """An empty folder to write the start to; `keep_start` makes it count."""
        folder = self.folder / f"{START}.building"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def keep_start(self) -> Path:
        return (self.folder / f"{START}.building").rename(self.folder / START)

    def load(self) -> EpochState | None:
        """The state after the last whole epoch, or None."""
        file = self.folder / EPOCH_FILE
        if not file.is_file():
            return None
        with safetensors.safe_open(file, framework="pt") as opened:
            facts = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        named = {
            kind: {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}
            for kind in (WEIGHTS, OPTIMIZER, BEST)
        }
        return EpochState(
            epochs=int(facts["epochs"]),
            losses=json.loads(facts["losses"]),
            weights=named[WEIGHTS],
            optimizer=named[OPTIMIZER],
            macro_f1=json.loads(facts["macro_f1"]),
            best=named[BEST],
        )

    def save(self, state: EpochState) -> None:
        """Replace the saved state atomically."""
        tensors = {f"{WEIGHTS}{name}": value.contiguous() for name, value in state.weights.items()}
        tensors |= {f"{OPTIMIZER}{name}": value for name, value in state.optimizer.items()}
        tensors |= {f"{BEST}{name}": value.contiguous() for name, value in state.best.items()}
        temporary = self.folder / f"{EPOCH_FILE}.building"
        lists = {"losses": state.losses, "macro_f1": state.macro_f1}
        facts = {"epochs": str(state.epochs)} | {name: json.dumps(values) for name, values in lists.items()}
        safetensors.torch.save_file(tensors, temporary, metadata=facts)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(self.folder / EPOCH_FILE)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
