"""The offers that all candidates of a ranking learn from and are scored on: bounded, evenly drawn, repeatable."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.artifacts import content_version
from sortiment.encoders.inputs import offer_texts
from sortiment.errors import TrainingError
from sortiment.sampling import find_repeats_abroad
from sortiment.sampling.order import rank_keys
from sortiment.settings import RankingSettings

SAMPLE_FILE = "sample.parquet"
COLUMNS = ("offer_key", "country", "category_id", "slice", "training_weight", "split")


@dataclass(frozen=True)
class RankingOffers:
    """One entry per offer in each list.

    classes: category ids with a training offer here, sorted. train_labels: index into them. test_ids, test_slices,
    test_countries: of the test offers; their category may be one without a training offer, which nobody can name.
    """

    classes: tuple[str, ...]
    train_texts: list[str]
    train_countries: list[str]
    train_labels: npt.NDArray[np.int64]
    train_weights: npt.NDArray[np.float32]
    test_texts: list[str]
    test_countries: list[str]
    test_ids: list[str]
    test_slices: list[str]

    @property
    def version(self) -> str:
        """Hash of all that a candidate sees and is scored by."""
        train = [self.train_texts, self.train_countries, self.train_labels.tolist(), self.train_weights.tolist()]
        test = [self.test_texts, self.test_countries, self.test_ids, self.test_slices]
        return content_version([self.classes, train, test])

    @property
    def untaught(self) -> int:
        """Test offers of categories that have no training offer here."""
        taught = set(self.classes)
        return sum(category not in taught for category in self.test_ids)


def draw_ranking_offers(samples: Mapping[str, Path], inputs: Sequence[str], settings: RankingSettings) -> RankingOffers:
    """Draw from the samples' labelled offers, as many from each partition as it has room for.

    samples: partition key to artifact folder. inputs: columns that make an offer's text. Training offers are taken one
    per category, then a second per category and so on, so that few offers teach many categories; test offers as the
    sample has them. What repeats another country's held-out offer is not learned, as the teacher does not learn it.
    Raises TrainingError where there are not two categories to learn, or nothing to be tested on.
    """
    sides, left_out = {}, find_repeats_abroad(samples).left_out
    for split, limit in (("train", settings.train_offers), ("test", settings.test_offers)):
        tables = [
            _first_offers(samples[key], left_out[key], split, limit, inputs, settings.seed) for key in sorted(samples)
        ]
        shares = even_shares([table.num_rows for table in tables], limit)
        kept = [table.slice(0, share) for table, share in zip(tables, shares, strict=True)]
        sides[split] = pa.concat_tables(kept) if kept else None
    train, test = sides["train"], sides["test"]
    classes = sorted(set(train["category_id"].to_pylist())) if train else []
    if train is None or test is None or len(classes) < 2 or not test.num_rows:
        raise TrainingError(
            "encoders cannot be ranked on these samples",
            value=f"{len(classes)} categories with training offers, {test.num_rows if test else 0} test offers",
            allowed="labelled offers of two categories or more, some of them in the test split",
            fix="give labelled offers: map `category` in the feed specs",
        )
    number = {category: index for index, category in enumerate(classes)}
    return RankingOffers(
        classes=tuple(classes),
        train_texts=_texts(train, inputs),
        train_countries=train["country"].to_pylist(),
        train_labels=np.array([number[category] for category in train["category_id"].to_pylist()], np.int64),
        train_weights=train["training_weight"].to_numpy().astype(np.float32),
        test_texts=_texts(test, inputs),
        test_countries=test["country"].to_pylist(),
        test_ids=test["category_id"].to_pylist(),
        test_slices=test["slice"].to_pylist(),
    )


def even_shares(rooms: Sequence[int], total: int) -> list[int]:
    """How many to take from each, equal as far as there is room; what does not divide goes to the first ones."""
    shares = [0] * len(rooms)
    left = min(total, sum(rooms))
    while left:
        open_ones = [index for index, room in enumerate(rooms) if room > shares[index]]
        each = max(left // len(open_ones), 1)
        for index in open_ones[:left]:
            taken = min(each, rooms[index] - shares[index])
            shares[index] += taken
            left -= taken
    return shares


def _first_offers(
    sample: Path, left_out: npt.NDArray[np.bool_], split: str, limit: int, inputs: Sequence[str], seed: int
) -> pa.Table:
    """At most `limit` labelled offers of a partition's split, in the order in which they are taken."""
    columns = list(dict.fromkeys([*COLUMNS, *inputs]))
    offers = pq.read_table(sample / SAMPLE_FILE, columns=columns).filter(pa.array(~left_out))
    offers = offers.filter(pc.and_(pc.equal(offers["split"], split), pc.is_valid(offers["category_id"])))
    ranks = rank_keys(offers["offer_key"].to_numpy(), seed)
    order = np.argsort(ranks, kind="stable")
    if split == "train":
        order = _rare_first(order, offers["category_id"].to_pylist())
    return offers.take(pa.array(order[:limit]))


def _rare_first(order: npt.NDArray[np.int64], categories: Sequence[str]) -> npt.NDArray[np.int64]:
    """The first offer of each category, then the second of each, ..."""
    seen: Counter[str] = Counter()
    rounds = np.empty(len(order), np.int64)
    for place, row in enumerate(order.tolist()):
        rounds[place] = seen[categories[row]]
        seen[categories[row]] += 1
    return order[np.argsort(rounds, kind="stable")]


def _texts(offers: pa.Table, inputs: Sequence[str]) -> list[str]:
    return offer_texts({name: offers[name].to_pylist() for name in inputs}, inputs)
