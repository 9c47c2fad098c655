"""The offers that a teacher reads: the samples of partitions as aligned columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.encoders import offer_texts
from sortiment.errors import TrainingError
from sortiment.sampling import RepeatsAbroad

SAMPLE_FILE = "sample.parquet"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
COLUMNS = ["offer_key", "country", "category_id", "split", "training_weight"]


@dataclass(frozen=True)
class Offers:
    """One row per offer. texts: without a prompt. labels: the shop's category id or None. training_weight: 1, or less
    where the label is suspect."""

    keys: npt.NDArray[np.uint64]
    texts: list[str]
    countries: list[str]
    labels: list[str | None]
    split: npt.NDArray[np.object_]
    training_weight: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: npt.NDArray[np.int64]) -> "Offers":
        return Offers(
            self.keys[rows],
            [self.texts[row] for row in rows],
            [self.countries[row] for row in rows],
            [self.labels[row] for row in rows],
            self.split[rows],
            self.training_weight[rows],
        )


def read_offers(samples: Mapping[str, Path], inputs: Sequence[str], repeats: RepeatsAbroad) -> Offers:
    """All partitions' offers but for the repeats that are left out, partitions in the order of their keys. `samples`:
    sample.parquet or its folder."""
    columns = [*COLUMNS, *(name for name in inputs if name not in COLUMNS)]
    tables = [
        pq.read_table(sample_file(samples[key]), columns=columns).filter(pa.array(~repeats.left_out[key]))
        for key in sorted(samples)
    ]
    if not tables:
        raise TrainingError("there are no samples to train a teacher on", fix="materialize training_sample first")
    return offers_of(pa.concat_tables(tables, promote_options="permissive"), inputs)


def offers_of(table: pa.Table, inputs: Sequence[str]) -> Offers:
    """A table of a sample's columns as offers."""
    return Offers(
        keys=table["offer_key"].to_numpy().astype(np.uint64),
        texts=offer_texts({name: table[name].to_pylist() for name in inputs}, inputs),
        countries=table["country"].to_pylist(),
        labels=table["category_id"].to_pylist(),
        split=np.array(table["split"].to_pylist(), dtype=object),
        training_weight=table["training_weight"].to_numpy().astype(np.float32),
    )


def sample_file(sample: Path) -> Path:
    return sample / SAMPLE_FILE if sample.is_dir() else sample
