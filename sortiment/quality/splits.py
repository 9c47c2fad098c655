"""Splits of a feed by near-duplicate groups into train, validation and test, one per seed; few-label regimes.

The platform's own splitter (`sortiment.sampling.splits`) decides each country's sides; training offers that repeat
another country's held-out offer are left out, as the platform leaves them out of training. The seed is mixed into the
groups' keys, so equal and nearly equal titles stay on one side in every split; seed 0 is the platform's split itself.

With `labels_per_class`, so many labelled offers of each category keep their label in training and as many in
validation; the other training offers become unlabelled ones, the other validation offers are left out. Test offers
are the same in all regimes of a seed, and fewer labels are a part of more.

With `left_out`, so large a share of each department's categories is known to the test side alone: what is a model to
say of an offer whose category it never learned?
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.artifacts import Artifact, ArtifactStore, Recipe
from sortiment.errors import SamplingError
from sortiment.quality import CODE_VERSION
from sortiment.quality.arms import Size
from sortiment.quality.offers import FeedOffers
from sortiment.sampling import SAMPLE_FILE
from sortiment.sampling.abroad import leave_out
from sortiment.sampling.order import mask_of_seed
from sortiment.sampling.policy import SLICES, slice_categories
from sortiment.sampling.reserve import Reserve
from sortiment.sampling.splits import SPLITS, TEST, TRAIN, VALIDATION, split_offers
from sortiment.sampling.text_keys import key_offers, mix
from sortiment.settings import SamplingSettings
from sortiment.teacher import CategoryNames

SPLIT_ASSET = "bench_split"
LABEL_STREAM, LEFT_OUT_STREAM = 20, 21
LEAST_CATEGORIES, LEAST_LEARNED = 3, 2
REPEATS = ("left_out_repeats", "kept_repeats")
NOT_DRAWN = {"policy", "temperature", "per_category", "minimum_per_category", "per_shop_share", "reserve_slack"}

Sides = npt.NDArray[np.int8]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SplitOffers:
    """One split in one regime. artifact: holds COUNTRY/sample.parquet with the columns of `training_sample`.

    summary: `{classes, train, unlabelled, validation, test}`, offers of each kind; left_out_repeats: training offers
    that repeat another country's held-out offer, not learned; kept_repeats: labelled ones that do too, and are learned,
    since their category has no others (`sortiment/sampling/abroad.py`). category_names: for the teacher.
    """

    feed: str
    seed: int
    labels_per_class: int | None
    artifact: Artifact
    category_names: CategoryNames

    @property
    def version(self) -> str:
        return self.artifact.version

    @property
    def samples(self) -> dict[str, Path]:
        """Country to its sample's folder."""
        return {folder.name: folder for folder in sorted(self.artifact.path.iterdir()) if folder.is_dir()}

    @property
    def size(self) -> Size:
        return Size(**{each.name: int(self.artifact.summary[each.name]) for each in fields(Size)})

    @property
    def repeats(self) -> dict[str, int]:
        """Of left_out_repeats and kept_repeats those that are not zero."""
        return {name: count for name in REPEATS if (count := int(self.artifact.summary.get(name, 0)))}


def draw_split(
    offers: FeedOffers,
    seed: int,
    labels_per_class: int | None,
    settings: SamplingSettings,
    store: ArtifactStore,
    hidden: str | None = None,
    left_out: float | None = None,
) -> SplitOffers:
    """The split, found or drawn. hidden: a country whose labels are only for the test, and that alone is tested.
    left_out: the share of categories whose offers are only for the test.

    Raises SamplingError where no test offer is left, or training offers of fewer than two categories.
    """
    recipe = Recipe(
        {"offers": offers.version},
        {
            "seed": seed,
            "labels_per_class": labels_per_class,
            **({} if hidden is None else {"hidden": hidden}),
            **({} if left_out is None else {"left_out": left_out}),
            "sampling": settings.model_dump(mode="json", exclude=NOT_DRAWN),
        },
        CODE_VERSION,
    )

    def write(out: Path) -> dict[str, int]:
        sides, repeats = _draw_sides(offers, seed, settings)
        left_out_repeats = int((repeats & (sides < 0)).sum())
        labelled = np.array(offers.labelled)
        if hidden is not None:
            labelled, sides = _hide_country(offers, labelled, sides, hidden)
        if left_out is not None:
            sides = _leave_categories_out(offers, labelled, sides, seed, left_out)
        if labels_per_class is not None:
            labelled, sides = _keep_labels(offers, labelled, sides, seed, labels_per_class)
        counts = _write_samples(offers, labelled, sides, settings, out)
        kept_repeats = int((repeats & labelled & (sides == TRAIN)).sum())
        return {**counts, "left_out_repeats": left_out_repeats, "kept_repeats": kept_repeats}

    return SplitOffers(offers.name, seed, labels_per_class, store.build(SPLIT_ASSET, recipe, write), offers.names)


def category_codes(offers: FeedOffers) -> Codes:
    """0 = unlabelled, else 1 and up in the order of the categories' ids."""
    names = np.array([name or "" for name in offers.table["category_id"].to_pylist()], dtype=object)
    _, codes = np.unique(np.r_[[""], names].astype(str), return_inverse=True)
    return codes[1:]


def _draw_sides(offers: FeedOffers, seed: int, settings: SamplingSettings) -> tuple[Sides, npt.NDArray[np.bool_]]:
    """Index into SPLITS; -1 for offers that are left out as near duplicates of another side, or as repeats abroad. And
    which training offers repeat an offer abroad, left out or kept."""
    codes, labelled = category_codes(offers), offers.labelled
    table = offers.table
    countries = np.array(table["country"].to_pylist(), dtype=object)
    salt = np.uint64(mask_of_seed(seed))
    sides = np.full(len(offers), -1, np.int8)
    product, gtin, title = same = np.zeros((3, len(offers)), np.uint64)
    for country in sorted(set(countries)):
        rows = np.flatnonzero(countries == country)
        part = table.take(pa.array(rows))
        keys = key_offers(*(part[name].combine_chunks() for name in ("title", "product_id", "gtin")))
        zeros = np.zeros(len(rows), np.uint32)
        reserve = Reserve(
            keys=part["offer_key"].to_numpy(),
            categories=codes[rows].astype(np.uint32),
            shops=zeros,
            product=keys.product,
            gtin=keys.gtin,
            title=keys.title,
            group=keys.group if seed == 0 else mix(keys.group ^ salt),
            segment=zeros.astype(np.uint16),
            row=zeros,
            signature=keys.signature,
        )
        split = split_offers(reserve, labelled[rows], settings)
        sides[rows] = np.where(split.kept, split.sides, np.int8(-1))
        product[rows], gtin[rows], title[rows] = keys.product, keys.gtin, keys.title
    rows = np.flatnonzero(sides >= 0)
    _, country_codes = np.unique(countries[rows].astype(str), return_inverse=True)
    keys_of = [column[rows] for column in same]
    abroad, kept = leave_out(keys_of, country_codes, np.where(labelled, codes, 0)[rows], sides[rows] == TRAIN)
    sides[rows[abroad]] = -1
    repeats = np.zeros(len(offers), np.bool_)
    repeats[rows[abroad | kept]] = True
    return sides, repeats


def _hide_country(
    offers: FeedOffers, labelled: npt.NDArray[np.bool_], sides: Sides, hidden: str
) -> tuple[npt.NDArray[np.bool_], Sides]:
    """The hidden country keeps its labels on the test side only; the test side keeps only the hidden country."""
    own = np.array(offers.table["country"].to_pylist(), dtype=object) == hidden
    left_out = np.where(own, sides == VALIDATION, sides == TEST)
    return labelled & ~(own & (sides == TRAIN)), np.where(left_out, np.int8(-1), sides).astype(np.int8)


def _leave_categories_out(
    offers: FeedOffers, labelled: npt.NDArray[np.bool_], sides: Sides, seed: int, share: float
) -> Sides:
    """Sides without the chosen categories' training and validation offers.

    Every department gives its share, of categories with training and test offers, drawn at random: at least two
    categories stay to be learned. Raises SamplingError where fewer than three could be chosen from.
    """
    codes = category_codes(offers)
    able = np.intersect1d(codes[labelled & (sides == TRAIN)], codes[labelled & (sides == TEST)])
    if len(able) < LEAST_CATEGORIES:
        raise SamplingError(
            f"the feed {offers.name} has too few categories to leave some out",
            value=f"{len(able)} with training and test offers",
            allowed=f"{LEAST_CATEGORIES} or more",
        )
    first = dict(zip(codes.tolist(), offers.table["department"].to_pylist(), strict=True))
    chance = np.random.default_rng([seed, LEFT_OUT_STREAM]).random(len(able))
    order = np.lexsort((chance, np.array([first[code] for code in able.tolist()], dtype=str)))
    count = min(max(1, round(share * len(able))), len(able) - 2)
    places = (np.arange(count) + np.random.default_rng([seed, LEFT_OUT_STREAM, 1]).random()) * len(able) / count
    chosen = able[order[np.minimum(places.astype(np.int64), len(able) - 1)]]
    learned = np.isin(codes, chosen) & labelled & (sides != TEST)
    return np.where(learned, np.int8(-1), sides).astype(np.int8)


def _keep_labels(
    offers: FeedOffers, labelled: npt.NDArray[np.bool_], sides: Sides, seed: int, labels_per_class: int
) -> tuple[npt.NDArray[np.bool_], Sides]:
    """Labels of `labels_per_class` offers of each category, in training and in validation; the test side is whole."""
    codes, sides = category_codes(offers), sides.copy()
    order = np.random.default_rng([seed, LABEL_STREAM]).permutation(len(offers))
    kept = labelled & (sides == TEST)
    for side in (TRAIN, VALIDATION):
        rows = order[labelled[order] & (sides[order] == side)]
        rows = rows[np.argsort(codes[rows], kind="stable")]
        starts = np.flatnonzero(np.r_[True, np.diff(codes[rows]) > 0]) if len(rows) else np.zeros(0, np.int64)
        place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
        kept[rows[place < labels_per_class]] = True
    sides[(sides == VALIDATION) & ~kept] = -1
    return kept, sides


def _write_samples(
    offers: FeedOffers, labelled: npt.NDArray[np.bool_], sides: Sides, settings: SamplingSettings, out: Path
) -> dict[str, int]:
    train, test = labelled & (sides == TRAIN), labelled & (sides == TEST)
    if not train.any() or not test.any():
        left_out = int((labelled & (sides == -1)).sum())
        raise SamplingError(
            f"the feed {offers.name} cannot be split: its offers are too few, or all alike",
            value=f"{int(train.sum())} labelled training offers, {int(test.sum())} test offers, {left_out} left out",
            fix="give more labelled offers, of other products where near duplicates were left out, or raise "
            "sampling.test_share",
        )
    codes = category_codes(offers)
    if len(np.unique(codes[train])) < LEAST_LEARNED:
        raise SamplingError(
            f"a split of the feed {offers.name} teaches a single category",
            value=f"{int(train.sum())} labelled training offers, all of one category",
            allowed=f"{LEAST_LEARNED} categories or more",
            fix="give labelled offers of more categories, or more of them (--offers cuts a feed)",
        )
    counts = np.bincount(codes[offers.labelled], minlength=codes.max() + 1)
    slices = np.array(SLICES, dtype=object)[slice_categories(counts, settings)][codes]
    countries = np.array(offers.table["country"].to_pylist(), dtype=object)
    written = (sides == TRAIN) | (labelled & (sides >= 0))
    for country in sorted(set(countries[written])):
        rows = np.flatnonzero(written & (countries == country))
        (out / country).mkdir(parents=True)
        pq.write_table(_as_sample(offers, rows, labelled[rows], sides[rows], slices[rows]), out / country / SAMPLE_FILE)
    return {
        "classes": len(np.unique(codes[train])),
        "train": int(train.sum()),
        "unlabelled": int((written & ~labelled).sum()),
        "validation": int((labelled & (sides == VALIDATION)).sum()),
        "test": int(test.sum()),
    }


def _as_sample(offers: FeedOffers, rows: Codes, labelled: npt.NDArray[np.bool_], sides: Sides, slices: Any) -> pa.Table:
    """The columns of docs/contracts.md, "training_sample"."""
    part = offers.table.take(pa.array(rows))
    keys = key_offers(*(part[name].combine_chunks() for name in ("title", "product_id", "gtin")))
    part = part.drop_columns(["product_id", "gtin"])
    unknown = pa.scalar(None, pa.string())
    for name in ("category_id", "department"):
        visible = pc.if_else(pa.array(labelled), part[name], unknown)
        part = part.set_column(part.column_names.index(name), name, visible)
    count = len(rows)
    more = {
        "split": pa.array(np.array(SPLITS, dtype=object)[sides], pa.string()),
        "slice": pc.if_else(pa.array(labelled), pa.array(slices, pa.string()), unknown),
        "inclusion_probability": pa.array(np.ones(count)),
        "suspect": pa.array(np.zeros(count, np.bool_)),
        "training_weight": pa.array(np.ones(count)),
        "product_key": pa.array(keys.product, mask=keys.product == 0),
        "gtin_key": pa.array(keys.gtin, mask=keys.gtin == 0),
    }
    for name, column in more.items():
        part = part.append_column(name, column)
    return part
