"""What the student learns from: the samples of all partitions with the teacher's soft labels, as aligned arrays.

Each partition's soft labels carry their own class list, so partitions that were labelled by different teachers (after
a drift only the drifted partition is labelled again) meet in the student's own class order.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.encoders import offer_texts
from sortiment.errors import TrainingError
from sortiment.sampling import find_repeats_abroad, key_products
from sortiment.teacher import SOFT_LABELS_FILE, SOURCES, TRANSFER_FILE

if TYPE_CHECKING:
    from sortiment.teacher.names import NameTexts

SAMPLE_FILE = "sample.parquet"
CLASSES_FILE = "classes.json"
NO_CLASS = -1
NO_PARTITION = -1
NO_PRODUCT = 0
NAME_BELIEF = 0.9  # that a category's name means the category, and no sister of that name
SPLITS = ("train", "validation", "test")

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Corpus:
    """One row per offer, all partitions in the order of their keys.

    labels: the student's class of the shop's label, -1 where there is none.
    partition, country: index into `partitions`, `countries`; split: index into SPLITS. A category's name is a training
    row of NO_PARTITION. made_up: a title that no shop wrote, a training row without a label. product: a number for the
    offers of one product, which stand on one side of the split; NO_PRODUCT where no shop wrote the text.
    top_index, top_probability: (offers, k), the teacher's best classes in the student's order, -1 and 0 as padding.
    rest: the teacher's probability for all other classes that it knows.
    known: (classes,), whether any teacher of these soft labels knows the class.
    left_out: by partition, the keys of training offers that are no rows here, since they repeat a held-out offer of
    another country; kept_repeats: those that are rows all the same (`sampling/abroad.py`).
    """

    classes: tuple[str, ...]
    partitions: tuple[str, ...]
    countries: tuple[str, ...]
    texts: list[str]
    labels: Ints
    partition: Ints
    country: Ints
    split: Ints
    suspect: Bools
    made_up: Bools
    product: U64
    top_index: Ints
    top_probability: Floats
    rest: Floats
    known: Bools
    left_out: Mapping[str, U64] = field(default_factory=dict, repr=False)
    kept_repeats: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def left_out_offers(self) -> int:
        """How many training offers are left out."""
        return sum(map(len, self.left_out.values()))

    @property
    def is_name(self) -> Bools:
        """(rows,), of a category's name and not of an offer."""
        named: Bools = self.partition == NO_PARTITION
        return named

    @property
    def is_offer(self) -> Bools:
        """(rows,), of a shop's offer."""
        offered: Bools = ~(self.is_name | self.made_up)
        return offered

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Rows of one split, ascending."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def labelled_rows(self, split: str) -> npt.NDArray[np.int64]:
        """Those of them that have a label."""
        return np.flatnonzero((self.split == SPLITS.index(split)) & (self.labels != NO_CLASS))


def add_names(corpus: Corpus, names: "NameTexts | None") -> Corpus:
    """The corpus and behind it the categories' names, a training row each, or one for each group of them."""
    if names is None:
        return corpus
    _, first = np.unique(names.groups, return_index=True)
    classes, count, width = names.classes.astype(np.int32), len(first), corpus.top_index.shape[1]
    index = np.full((count, width), NO_CLASS, np.int32)
    probability = np.zeros((count, width), np.float32)
    index[:, :1], probability[:, :1] = classes[:, None], NAME_BELIEF
    own = {
        "labels": classes,
        "partition": np.full(count, NO_PARTITION, np.int32),
        "country": np.zeros(count, np.int32),
        "split": np.full(count, SPLITS.index("train"), np.int32),
        "suspect": np.zeros(count, np.bool_),
        "made_up": np.zeros(count, np.bool_),
        "product": np.full(count, NO_PRODUCT, np.uint64),
        "top_index": index,
        "top_probability": probability,
        "rest": 1 - probability.sum(1),
    }
    return _append(corpus, [names.texts[row] for row in first.tolist()], own)


def add_transfer_titles(corpus: Corpus, soft_labels: Mapping[str, Path]) -> Corpus:
    """The corpus and behind it the titles that the teacher was asked about besides, but for those made from an offer
    that is left out. Raises TrainingError where a partition's soft labels come without them, which may be none."""
    position = {category: index for index, category in enumerate(corpus.classes)}
    texts, parts = [], []
    for place, key in enumerate(corpus.partitions):
        made = _read_titles(key, soft_labels[key], corpus.left_out.get(key))
        count = made.num_rows
        texts += made["text"].to_pylist()
        parts.append(
            {
                "labels": np.full(count, NO_CLASS, np.int32),
                "partition": np.full(count, place, np.int32),
                "country": np.array([corpus.countries.index(value) for value in made["country"].to_pylist()], np.int32),
                "split": np.full(count, SPLITS.index("train"), np.int32),
                "suspect": np.zeros(count, np.bool_),
                "made_up": np.ones(count, np.bool_),
                "product": np.full(count, NO_PRODUCT, np.uint64),
                **_read_answers(key, made, _read_classes(soft_labels[key]), position, corpus.top_index.shape[1]),
            }
        )
    return _append(corpus, texts, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _read_titles(key: str, soft_labels: Path, left_out: U64 | None) -> pa.Table:
    made = pq.read_table(_file(soft_labels, TRANSFER_FILE))
    if not set(SOURCES) <= set(made.column_names):
        raise TrainingError(
            f"the soft labels of {key} do not say what their titles were made from",
            value=", ".join(made.column_names),
            allowed=", ".join(SOURCES),
            fix=f"materialize teacher_soft_labels of {key} again: an earlier version wrote them",
        )
    if left_out is None or not len(left_out):
        return made
    sources = [np.isin(made[name].to_numpy(), left_out) for name in SOURCES]
    return made.filter(pa.array(~np.logical_or(*sources)))


def _append(corpus: Corpus, texts: list[str], rows: Mapping[str, npt.NDArray[np.generic]]) -> Corpus:
    """rows: the corpus' arrays by name, of these texts."""
    joined: dict[str, Any] = {name: np.concatenate([getattr(corpus, name), own]) for name, own in rows.items()}
    return replace(corpus, texts=[*corpus.texts, *texts], **joined)


def read_corpus(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    inputs: Sequence[str],
    first_classes: Sequence[str] = (),
) -> Corpus:
    """Join each partition's sample with its soft labels. `inputs`: the columns that make an offer's text.

    The student's classes are `first_classes` (those of the student that training starts from, so that indices stay),
    then the teacher's, then labelled categories that no teacher knows, sorted. Raises TrainingError where a partition
    has no soft labels, where they do not fit the sample, or where there is nothing to learn.
    """
    keys = sorted(samples)
    missing = [key for key in keys if key not in soft_labels]
    if missing:
        raise TrainingError(
            f"{len(missing)} partitions have a sample but no soft labels",
            value=missing,
            fix="materialize teacher_soft_labels for these partitions first",
        )
    offers = {key: pq.read_table(_file(samples[key], SAMPLE_FILE)) for key in keys}
    labels = {key: pq.read_table(_file(soft_labels[key], SOFT_LABELS_FILE)) for key in keys}
    own_classes = {key: _read_classes(soft_labels[key]) for key in keys}
    labelled = {str(value) for table in offers.values() for value in table["category_id"].unique().to_pylist() if value}
    known_ids = set(teacher_classes).union(*own_classes.values())
    classes = tuple(dict.fromkeys([*first_classes, *teacher_classes, *sorted(labelled | known_ids)]))
    if len(classes) < 2:
        raise TrainingError(
            "a classifier needs two categories or more",
            value=list(classes),
            fix="sample more departments, or label offers of a second category",
        )
    position = {category: index for index, category in enumerate(classes)}
    repeats = find_repeats_abroad({key: _file(samples[key], SAMPLE_FILE) for key in keys})
    width = max((_largest_top(table) for table in labels.values()), default=0)
    countries = sorted({str(value) for table in offers.values() for value in table["country"].unique().to_pylist()})
    parts = [
        _read_partition(
            key,
            index,
            offers[key],
            labels[key],
            repeats.left_out[key],
            own_classes[key],
            position,
            width,
            countries,
            inputs,
        )
        for index, key in enumerate(keys)
    ]
    if not sum(len(part["texts"]) for part in parts):
        raise TrainingError(
            "the samples hold no offers",
            value=keys,
            fix="check the feeds and the sampling settings (per_category, unlabelled_per_country)",
        )
    stacked = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "texts"}
    return Corpus(
        classes=classes,
        partitions=tuple(keys),
        countries=tuple(countries),
        texts=[text for part in parts for text in part["texts"]],
        known=np.array([category in known_ids for category in classes]),
        left_out={key: offers[key]["offer_key"].to_numpy()[rows] for key, rows in repeats.left_out.items()},
        kept_repeats=repeats.kept,
        **stacked,
    )


def _read_partition(
    key: str,
    index: int,
    offers: pa.Table,
    soft: pa.Table,
    left_out: Bools,
    own_classes: list[str],
    position: Mapping[str, int],
    width: int,
    countries: list[str],
    inputs: Sequence[str],
) -> dict[str, npt.NDArray[np.generic] | list[str]]:
    count = offers.num_rows
    if count != soft.num_rows or not offers["offer_key"].equals(soft["offer_key"]):
        raise TrainingError(
            f"the soft labels of {key} are not those of its sample",
            value=f"{count} offers, {soft.num_rows} soft labels",
            allowed="the same offer_key column in both",
            fix=f"materialize teacher_soft_labels of {key} again",
        )
    offers, soft = (table.filter(pa.array(~left_out)) for table in (offers, soft))
    count = offers.num_rows
    return {
        "texts": offer_texts({name: offers[name].to_pylist() for name in inputs}, inputs),
        "labels": np.array([position.get(value, NO_CLASS) for value in offers["category_id"].to_pylist()], np.int32),
        "partition": np.full(count, index, np.int32),
        "country": np.array([countries.index(value) for value in offers["country"].to_pylist()], np.int32),
        "split": np.array([SPLITS.index(value) for value in offers["split"].to_pylist()], np.int32),
        "suspect": np.array([bool(value) for value in offers["suspect"].to_pylist()], np.bool_),
        "made_up": np.zeros(count, np.bool_),
        "product": _products_of(offers),
        **_read_answers(key, soft, own_classes, position, width),
    }


def _products_of(offers: pa.Table) -> U64:
    product, gtin = (pc.fill_null(offers[name].cast(pa.uint64()), 0).to_numpy() for name in ("product_key", "gtin_key"))
    return key_products(offers["title"].cast(pa.string()).combine_chunks(), product, gtin)


def _read_answers(
    key: str, soft: pa.Table, own_classes: list[str], position: Mapping[str, int], width: int
) -> dict[str, npt.NDArray[np.generic]]:
    """The corpus' arrays of what the teacher says. position: the student's index of each class."""
    count = soft.num_rows
    lengths = soft["top_index"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    own_index = soft["top_index"].combine_chunks().flatten().to_numpy()
    if own_index.size and (own_index.min() < 0 or own_index.max() >= len(own_classes)):
        raise TrainingError(
            f"the soft labels of {key} name a class that their classes.json does not list",
            value=int(own_index.max()),
            allowed=f"0 to {len(own_classes) - 1}",
            fix=f"materialize teacher_soft_labels of {key} again with the current teacher",
        )
    logits = soft["top_logit"].combine_chunks().flatten().to_numpy()
    rest = soft["rest_mass"].to_numpy().astype(np.float32)
    if not (np.isfinite(logits).all() and np.isfinite(rest).all()):
        raise TrainingError(
            f"the soft labels of {key} hold numbers that are not finite",
            fix="fit the teacher again; then materialize teacher_soft_labels of this partition",
        )
    to_student = np.array([position[category] for category in own_classes], np.int32)
    top_index = np.full((count, width), NO_CLASS, np.int32)
    top_probability = np.zeros((count, width), np.float32)
    filled = np.arange(width)[None, :] < lengths[:, None]
    top_index[filled] = to_student[own_index]
    top_probability[filled] = np.exp(np.minimum(logits, 0.0))
    total = np.maximum(top_probability.sum(1) + rest, 1e-9)
    return {"top_index": top_index, "top_probability": top_probability / total[:, None], "rest": rest / total}


def _largest_top(soft: pa.Table) -> int:
    lengths = soft["top_index"].combine_chunks().value_lengths()
    return max((length for length in lengths.to_pylist() if length is not None), default=0)


def _read_classes(folder: Path) -> list[str]:
    classes: list[str] = json.loads(_file(folder, CLASSES_FILE).read_text(encoding="utf-8"))
    return classes


def _file(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise TrainingError(f"{name} is missing", value=str(folder), fix="materialize the artifact again")
    return file
