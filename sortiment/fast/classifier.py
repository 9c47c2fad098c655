"""A fast student as a classifier."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from sortiment.calibration import read_calibration
from sortiment.errors import TrainingError
from sortiment.fast.network import DenseLayers, FastNetwork, Tables
from sortiment.student.prediction import Classification, rank_top

WEIGHTS_FILE = "weights.safetensors"
WORDS_FILE = "words.json"
FAST_FILE = "fast.json"
CLASSES_FILE = "classes.json"
LAYERS = "layers."  # before the names of the dense layers' weights
DENSE = set(DenseLayers(1, 1, 1).state_dict())
BATCH = 4_096
DEFAULT_TOP_K = 5


class FastClassifier:
    """Calibrated scoring in large batches on the CPU. Texts as `sortiment.encoders.offer_texts` writes them."""

    def __init__(self, folder: Path) -> None:
        facts = _read(folder, FAST_FILE)
        words = _read(folder, WORDS_FILE)
        self.folder = folder
        self.classes: tuple[str, ...] = tuple(_read(folder, CLASSES_FILE))
        self.inputs: tuple[str, ...] = tuple(facts["inputs"])
        self.calibration = read_calibration(folder)
        if not (folder / WEIGHTS_FILE).is_file():
            raise TrainingError(f"{WEIGHTS_FILE} is missing", value=str(folder), fix="train the fast student again")
        stored = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        weights = {name: value for name, value in stored.items() if not name.startswith(LAYERS)}
        dense = {name.removeprefix(LAYERS): value for name, value in stored.items() if name.startswith(LAYERS)}
        names = set(Tables.__dataclass_fields__)
        if set(weights) != names or set(dense) not in (set(), DENSE):
            raise TrainingError(
                f"{folder / WEIGHTS_FILE} is of another version of the fast student",
                value=sorted(stored),
                allowed=", ".join(sorted(names | {LAYERS + name for name in DENSE})),
                fix="train the fast student again",
            )
        tables = Tables(**weights)
        rows, runs = len(words) + len(tables.pair_buckets), len(tables.run_buckets)
        hidden, width = dense["inner.weight"].shape if dense else (0, 0)
        classes, kept, kept_runs = len(self.classes), rows if dense else 0, runs if dense else 0
        if (
            tables.table.shape != (rows, classes)
            or tables.spelling.shape != (runs, classes)
            or tables.vectors.shape != (kept, width)
            or tables.run_vectors.shape != (kept_runs, width)
            or tables.mass.shape != (rows,)
            or tables.lift.shape != (classes,)
            or (dense and dense["outer.weight"].shape != (classes, hidden + width))
        ):
            raise TrainingError(
                f"the files in {folder} do not fit together",
                value=f"table {tuple(tables.table.shape)}, spelling {tuple(tables.spelling.shape)}",
                allowed=f"{rows} rows and {runs} rows, {classes} classes and vectors of {width}",
                fix="train the fast student again: the folder's files are from different runs",
            )
        layers = None
        if dense:
            layers = DenseLayers(width, hidden, classes).requires_grad_(False).eval()
            layers.load_state_dict(dense)
        self.network = FastNetwork(words, tables, layers, facts["max_words"])

    def score(self, texts: Sequence[str], batch: int = BATCH) -> npt.NDArray[np.float32]:
        """(offers, classes) logits before calibration."""
        parts = [np.zeros((0, len(self.classes)), np.float32)]
        parts += [self.network.score(texts[at : at + batch]) for at in range(0, len(texts), batch)]
        return np.concatenate(parts)

    def classify(
        self,
        texts: Sequence[str],
        countries: Sequence[str] | None = None,
        batch: int = BATCH,
        top_k: int = DEFAULT_TOP_K,
    ) -> Classification:
        """Classes and calibrated probabilities, in the order of the texts."""
        tops = []
        for at in range(0, max(len(texts), 1), batch):
            chunk = texts[at : at + batch]
            own = None if countries is None else countries[at : at + batch]
            shares = self.calibration.probabilities(self.score(chunk, batch), self.calibration.of(own, len(chunk)))
            tops.append(rank_top(shares, top_k))
        return Classification(
            np.concatenate([top.top_index for top in tops]), np.concatenate([top.top_probability for top in tops])
        )


def pack_weights(tables: Tables, layers: DenseLayers | None) -> dict[str, torch.Tensor]:
    """All of a network's weights by name, for safetensors."""
    dense = layers.state_dict() if layers else {}
    named = vars(tables) | {LAYERS + name: value for name, value in dense.items()}
    return {name: value.contiguous() for name, value in named.items()}


def _read(folder: Path, name: str) -> Any:
    file = folder / name
    if not file.is_file():
        raise TrainingError(f"{name} is missing", value=str(folder), fix="train the fast student again")
    return json.loads(file.read_text(encoding="utf-8"))
