"""The census of one country: counts before and after the draw, what the caps cut, labels that contradict each other.

Files, all ordered and small: `census.parquet` (one row per category), `departments.parquet`, `shops.parquet`,
`label_quality.parquet` (one row per shop), `label_conflicts.parquet` (one row per drawn offer of a contested product).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.sampling.counts import SHOP_BITS
from sortiment.sampling.drawing import Draw, plan_draw
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.order import Keys
from sortiment.sampling.payload import read_texts
from sortiment.sampling.policy import SLICES
from sortiment.sampling.quality import EVIDENCE
from sortiment.sampling.splits import SPLITS
from sortiment.sampling.state import State
from sortiment.sampling.verdicts import VERDICTS, write_verdicts
from sortiment.settings import SamplingSettings

CENSUS_FILE = "census.parquet"
DEPARTMENTS_FILE = "departments.parquet"
SHOPS_FILE = "shops.parquet"
QUALITY_FILE = "label_quality.parquet"
CONFLICTS_FILE = "label_conflicts.parquet"

PLACEHOLDER_OFFERS, PLACEHOLDER_SHARE = 50, 0.05

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CensusReport:
    """One country. cut_by_category_cap + cut_by_shop_cap + drawn = offers; left_out: drawn, then left out, with a label
    or without; in_sample, unlabelled_in_sample: what stays.

    largest_product: drawn offers with the most frequent product id or GTIN. ledger_rows: rows that the state keeps;
    superseded: those that a later row replaced or withdrew.
    """

    offers: int
    unlabelled: int
    categories: int
    shops: int
    departments: tuple[str, ...]
    slices: Mapping[str, int]
    drawn: int
    unlabelled_drawn: int
    left_out: int
    in_sample: int
    unlabelled_in_sample: int
    cut_by_category_cap: int
    cut_by_shop_cap: int
    splits: Mapping[str, int]
    suspects: int
    conflicting_groups: int
    largest_product: int
    lent: int
    moved: int
    alike: int
    ledger_rows: int
    superseded: int
    refills: int
    skipped: tuple[str, ...]

    @property
    def seems_placeholder(self) -> bool:
        """Whether one product id or GTIN is so frequent that it hardly names a product."""
        drawn = self.drawn + self.unlabelled_drawn
        return self.largest_product >= max(PLACEHOLDER_OFFERS, PLACEHOLDER_SHARE * drawn)

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        lists = {"departments": list(self.departments), "skipped": list(self.skipped)}
        groups = {"slices": dict(self.slices), "splits": dict(self.splits)}
        return {**vars(self), **lists, **groups, "seems_placeholder": self.seems_placeholder}


def take_census(state: State, settings: SamplingSettings, out: Path, before: Path | None = None) -> CensusReport:
    """Write the census of a state into the folder, and the verdicts of its split for later draws (`verdicts.py`).

    before: the folder of an earlier census, whose verdicts make this one faster and change nothing.
    Raises SamplingError where the country has no offer.
    """
    draw = plan_draw(state, settings, before=before and before / VERDICTS)
    write_verdicts(draw.split.verdicts, settings.near_duplicate_similarity, out / VERDICTS)
    count = len(state.category_ids)
    codes = np.arange(count)
    living = (draw.offers > 0) & (codes != UNLABELLED)
    reachable = np.minimum(draw.offers, draw.asked.targets)
    cut_by_category, cut_by_shop = draw.offers - reachable, reachable - draw.drawn
    in_sample = np.bincount(draw.categories[draw.kept], minlength=count)
    out.mkdir(parents=True, exist_ok=True)
    names = np.array([name or "" for name in state.category_ids], dtype=object)
    listed = np.flatnonzero(living)
    listed = listed[np.argsort(names[listed].astype(str), kind="stable")]
    departments = np.array([name or "" for name in state.departments], dtype=object)
    shops_of = state.counts.shops_by_category(count)
    census = pa.table(
        {
            "category_id": pa.array(names[listed], pa.string()),
            "department": pa.array(departments[listed], pa.string()),
            "offers": draw.offers[listed],
            "shops": shops_of[listed],
            "in_sample": in_sample[listed],
            "slice": pa.array(np.array(SLICES, dtype=object)[draw.slices[listed]], pa.string()),
            "asked": draw.asked.targets[listed],
            "drawn": draw.drawn[listed],
            "cut_by_category_cap": cut_by_category[listed],
            "cut_by_shop_cap": cut_by_shop[listed],
        }
    )
    pq.write_table(census, out / CENSUS_FILE)
    by_department = census.group_by("department", use_threads=False).aggregate(
        [
            ("category_id", "count"),
            *((name, "sum") for name in ("offers", "in_sample", "drawn", "cut_by_category_cap", "cut_by_shop_cap")),
        ]
    )
    by_department = by_department.rename_columns(
        [
            {"category_id_count": "categories"}.get(name, name.removesuffix("_sum"))
            for name in by_department.column_names
        ]
    )
    pq.write_table(by_department.sort_by("department"), out / DEPARTMENTS_FILE)
    _write_shops(state, draw, out)
    _write_quality(state, draw, out)
    conflicts = draw.conflicts
    sides = draw.split.sides[draw.kept & draw.labelled]
    return CensusReport(
        offers=int(draw.offers[living].sum()),
        unlabelled=int(draw.offers[UNLABELLED]),
        categories=len(listed),
        shops=len(np.unique(state.counts.shops)),
        departments=tuple(sorted(set(departments[listed].tolist()))),
        slices={name: int((draw.slices[listed] == index).sum()) for index, name in enumerate(SLICES)},
        drawn=int(draw.drawn[living].sum()),
        unlabelled_drawn=int(draw.drawn[UNLABELLED]),
        left_out=int((~draw.kept).sum()),
        in_sample=int(in_sample[living].sum()),
        unlabelled_in_sample=int(in_sample[UNLABELLED]),
        cut_by_category_cap=int(cut_by_category[living].sum()),
        cut_by_shop_cap=int(cut_by_shop[living].sum()),
        splits={name: int((sides == index).sum()) for index, name in enumerate(SPLITS)},
        suspects=int(draw.suspect.sum()),
        conflicting_groups=len(np.unique(conflicts.group[conflicts.conflicting])),
        largest_product=max(_most_frequent(draw.product), _most_frequent(draw.gtin)),
        lent=draw.split.lent,
        moved=draw.split.moved,
        alike=draw.split.alike,
        ledger_rows=state.rows,
        superseded=state.rows - state.offers,
        refills=state.refills,
        skipped=state.skipped,
    )


def _most_frequent(keys: Keys) -> int:
    """How many offers have the key that most have; 0 is no key."""
    _, counts = np.unique(keys[keys != 0], return_counts=True)
    return int(counts.max(initial=0))


def _write_shops(state: State, draw: Draw, out: Path) -> None:
    """One row per shop: labelled offers before and after, and what the caps per shop cost it: where one bound, the
    offers that the shop would have among those that its category is asked for, in the mean, less its cap."""
    counts = state.counts
    labelled = counts.categories != UNLABELLED
    size = len(state.shop_ids)
    offers = np.bincount(counts.shops[labelled], weights=counts.offers[labelled], minlength=size).astype(np.int64)
    categories = np.bincount(counts.shops[labelled], minlength=size)
    taken = draw.labelled
    in_sample = np.bincount(draw.shops[taken & draw.kept], minlength=size)
    drawn = np.bincount(draw.shops[taken], minlength=size)
    binding = draw.binding[(draw.binding >> SHOP_BITS) != UNLABELLED]
    category, of = (binding >> SHOP_BITS).astype(np.int64), (binding & np.uint64(0xFFFFFFFF)).astype(np.int64)
    asked = np.minimum(draw.asked.targets, draw.offers)[category] / draw.offers[category]
    beyond = np.maximum(counts.of(binding) * asked - draw.asked.caps[category], 0.0)
    cut = np.bincount(of, weights=beyond, minlength=size).round().astype(np.int64)
    listed = np.flatnonzero(offers > 0)
    ids = pa.array([state.shop_ids[code] for code in listed], pa.string())
    table = pa.table(
        {
            "shop_id": ids,
            "categories": categories[listed],
            "offers": offers[listed],
            "drawn": drawn[listed],
            "in_sample": in_sample[listed],
            "cut_by_shop_cap": cut[listed],
        }
    )
    pq.write_table(table.sort_by([("offers", "descending"), ("shop_id", "ascending")]), out / SHOPS_FILE)


def _write_quality(state: State, draw: Draw, out: Path) -> None:
    conflicts = draw.conflicts
    rows = np.flatnonzero(draw.labelled)
    shops, size = draw.shops[rows], len(state.shop_ids)
    compared = conflicts.offers > 1
    offers = np.bincount(shops, minlength=size)

    def count(mask: Any) -> npt.NDArray[np.int64]:
        return np.bincount(shops[mask], minlength=size)

    listed = np.flatnonzero(offers > 0)
    comparable, disagreeing = count(compared), count(conflicts.conflicting)
    outvoted = count(conflicts.conflicting & (draw.categories[rows] != conflicts.majority))
    table = pa.table(
        {
            "shop_id": pa.array([state.shop_ids[code] for code in listed], pa.string()),
            "offers": offers[listed],
            "comparable": comparable[listed],
            "contested": disagreeing[listed],
            "outvoted": outvoted[listed],
            "suspects": count(conflicts.suspect)[listed],
            "disagreement": _share(outvoted[listed], comparable[listed]),
        }
    )
    order = [("outvoted", "descending"), ("comparable", "descending"), ("shop_id", "ascending")]
    pq.write_table(table.sort_by(order), out / QUALITY_FILE)
    _write_conflicts(state, draw, rows, out)


def _write_conflicts(state: State, draw: Draw, rows: npt.NDArray[np.int64], out: Path) -> None:
    conflicts = draw.conflicts
    contested = np.flatnonzero(conflicts.conflicting)
    drawn = rows[contested]
    entries = draw.entries.at(drawn)
    categories = np.array([name or "" for name in state.category_ids], dtype=object)
    table = pa.table(
        {
            "group": conflicts.group[contested],
            "evidence": pa.array(np.array(EVIDENCE, dtype=object)[conflicts.evidence[contested]], pa.string()),
            "offer_key": entries.keys,
            "shop_id": pa.array([state.shop_ids[code] for code in draw.shops[drawn]], pa.string()),
            "title": read_texts(draw.segments, entries, ("title",))["title"],
            "category_id": pa.array(categories[draw.categories[drawn]], pa.string()),
            "majority_category_id": pa.array(categories[conflicts.majority[contested]], pa.string()),
            "group_offers": conflicts.offers[contested],
            "group_labels": conflicts.labels[contested],
            "suspect": conflicts.suspect[contested],
        }
    )
    order = [("group_offers", "descending"), ("group", "ascending"), ("offer_key", "ascending")]
    pq.write_table(table.sort_by(order), out / CONFLICTS_FILE)


def _share(part: Any, whole: Any) -> Floats:
    share: Floats = part / np.maximum(whole, 1)
    return share
