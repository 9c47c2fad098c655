"""Writing the drawn offers: one `sample.parquet` per department, as docs/contracts.md says.

Beyond the contract's columns each row has `training_weight`: 1, or the setting `suspect_weight` for a suspect label
where those are down-weighted.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.progress import Progress, silent
from sortiment.sampling.drawing import Draw, plan_draw, take_rows
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.parts import S3Options, run_in_order
from sortiment.sampling.payload import open_texts
from sortiment.sampling.policy import SLICES
from sortiment.sampling.reserve import Mask
from sortiment.sampling.splits import SPLITS
from sortiment.sampling.state import UNLABELLED_DEPARTMENT, State
from sortiment.settings import SamplingSettings

SAMPLE_FILE = "sample.parquet"
COLUMNS = (
    "offer_key",
    "country",
    "shop_id",
    "title",
    "brand",
    "description",
    "shop_category",
    "price",
    "category_id",
    "department",
    "feed",
    "split",
    "slice",
    "inclusion_probability",
    "suspect",
    "training_weight",
)
REPEATING = ["country", "shop_id", "brand", "shop_category", "category_id", "department", "feed", "split", "slice"]
ROWS_PER_WRITE = 65_536


@dataclass(frozen=True)
class SliceReport:
    """One department's sample. left_out: drawn, then left out as near duplicates or suspects."""

    department: str
    offers: int
    drawn: int
    rows: int
    left_out: int
    suspects: int
    categories: int
    splits: Mapping[str, int]
    untrained: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "splits": dict(self.splits), "untrained": list(self.untrained)}


@dataclass(frozen=True)
class SampleReport:
    """What was written, by department, and what holds for the country: groups lent and moved (`splits.py`)."""

    slices: Mapping[str, SliceReport]
    lent: int
    moved: int


def draw_sample(
    state: State,
    settings: SamplingSettings,
    out: Mapping[str, Path],
    *,
    fresh: State | None = None,
    s3: S3Options | None = None,
    threads: int = 2,
    progress: Progress = silent,
) -> SampleReport:
    """Write `sample.parquet` into each department's folder; one row per offer, ordered by offer_key.

    out: department (or `unlabelled`) to folder. A department of which the country has no offer gets an empty
    file. fresh: the state of the last parts, whose offers are drawn with more weight (`fresh.py`); s3: how those parts
    are read. The bytes do not depend on which other departments are asked for.
    Raises SamplingError where the country has no offer or the state was kept for other settings.
    """
    taken = take_rows(state, settings, fresh, s3)
    codes = {department: np.flatnonzero([name == department for name in state.departments]) for department in out}
    wanted = np.zeros(len(state.category_ids), dtype=np.bool_)
    wanted[np.concatenate([np.empty(0, dtype=np.int64), *codes.values()])] = True
    candidates = np.flatnonzero(wanted[taken.entries.categories])
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(open_texts, taken.segments, taken.entries.at(candidates), threads=1)
        draw = plan_draw(state, settings, threads, taken=taken)
        texts = opened.result()
    place = np.zeros(len(taken.entries), dtype=np.int64)
    place[candidates] = np.arange(len(candidates))
    rows = {name: _rows_of(draw, codes[name], draw.kept) for name in out}

    def write(department: str) -> SliceReport:
        out[department].mkdir(parents=True, exist_ok=True)
        mine = texts.at(place[rows[department]])
        table = _sample_table(state, draw, rows[department], mine)
        _write(table, out[department] / SAMPLE_FILE)
        return _report(state, draw, department, codes[department])

    reports = {}
    with progress("write samples", total=len(out), unit="departments") as step:
        for report in run_in_order(write, out, threads):
            reports[report.department] = report
            step.advance(note=report.department)
    return SampleReport(reports, draw.split.lent, draw.split.moved)


def _rows_of(draw: Draw, codes: npt.NDArray[np.int64], mask: Mask) -> npt.NDArray[np.int64]:
    """Where the draw has offers of these categories, of those where the mask is true; by offer key, as the draw is."""
    wanted = np.zeros(len(draw.offers), dtype=np.bool_)
    wanted[codes] = True
    return np.flatnonzero(wanted[draw.categories] & mask)


def _sample_table(state: State, draw: Draw, rows: npt.NDArray[np.int64], texts: pa.Table) -> pa.Table:
    """The contract's columns of one department, in their order."""
    categories, shops = draw.categories[rows], draw.shops[rows]
    labelled = categories != UNLABELLED
    columns = {
        "offer_key": pa.array(draw.entries.keys[rows]),
        "shop_id": pa.array(state.shop_ids, pa.string()).take(pa.array(shops)),
        "category_id": pa.array(state.category_ids, pa.string()).take(pa.array(categories)),
        "department": pa.array([None, *state.departments[1:]], pa.string()).take(pa.array(categories)),
        "split": pa.array(SPLITS).take(pa.array(draw.split.sides[rows])),
        "slice": pa.array(SLICES).take(pa.array(draw.slices[categories], mask=~labelled)),
        "inclusion_probability": pa.array(draw.probability[rows], pa.float64()),
        "suspect": pa.array(draw.suspect[rows], pa.bool_()),
        "training_weight": pa.array(draw.training_weight[rows], pa.float64()),
    }
    columns |= {name: texts[name] for name in texts.column_names}
    return pa.table({name: columns[name] for name in COLUMNS})


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="snappy", use_dictionary=REPEATING, row_group_size=ROWS_PER_WRITE)


def _report(state: State, draw: Draw, department: str, codes: npt.NDArray[np.int64]) -> SliceReport:
    inside = _rows_of(draw, codes, np.ones(len(draw.kept), dtype=np.bool_))
    rows = inside[draw.kept[inside]]
    sides = draw.split.sides[rows]
    trained = set(draw.categories[rows[sides == 0]].tolist())
    sampled = set(draw.categories[inside].tolist())
    untrained = () if department == UNLABELLED_DEPARTMENT else tuple(sorted(sampled - trained))
    return SliceReport(
        department=department,
        offers=int(draw.offers[codes].sum()),
        drawn=len(inside),
        rows=len(rows),
        left_out=len(inside) - len(rows),
        suspects=int(draw.suspect[inside].sum()),
        categories=len(sampled) if department != UNLABELLED_DEPARTMENT else 0,
        splits={name: int((sides == index).sum()) for index, name in enumerate(SPLITS)},
        untrained=tuple(str(state.category_ids[code]) for code in untrained),
    )
