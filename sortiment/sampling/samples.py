"""Writing the drawn offers: one `sample.parquet` per department, as docs/contracts.md says.

Beyond the contract's columns each row has `training_weight`: 1, or the setting `suspect_weight` for a suspect label
where those are down-weighted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.progress import Progress, silent
from sortiment.sampling.drawing import Draw, plan_draw
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.parts import run_in_order
from sortiment.sampling.payload import read_texts
from sortiment.sampling.policy import SLICES
from sortiment.sampling.splits import SPLITS
from sortiment.sampling.state import UNLABELLED_DEPARTMENT, State
from sortiment.settings import SamplingSettings

SAMPLE_FILE = "sample.parquet"
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
    threads: int = 2,
    progress: Progress = silent,
) -> SampleReport:
    """Write `sample.parquet` into each department's folder; one row per offer, ordered by offer_key.

    out: department (or `unlabelled`) to folder. A department of which the country has no offer gets an empty file. The
    bytes do not depend on which other departments are asked for.
    Raises SamplingError where the country has no offer or the state was kept for other settings.
    """
    draw = plan_draw(state, settings, threads)
    department_of = np.array([name or "" for name in state.departments])

    def write(department: str) -> SliceReport:
        codes = np.flatnonzero(department_of == department)
        inside = np.flatnonzero(np.isin(draw.categories, codes))
        out[department].mkdir(parents=True, exist_ok=True)
        _write(out[department] / SAMPLE_FILE, state, draw, inside[draw.kept[inside]])
        return _report(state, draw, department, codes, inside)

    reports = {}
    with progress("write samples", total=len(out), unit="departments") as step:
        for report in run_in_order(write, out, threads):
            reports[report.department] = report
            step.advance(note=report.department)
    return SampleReport(reports, draw.split.lent, draw.split.moved)


def _write(path: Path, state: State, draw: Draw, rows: npt.NDArray[np.int64]) -> None:
    rows = rows[np.argsort(state.reserve.keys[draw.rows[rows]])]
    table = read_texts(state.segments, state.reserve.at(draw.rows[rows]))
    labelled = draw.categories[rows] != UNLABELLED
    departments = pa.array([state.departments[code] for code in draw.categories[rows]], pa.string())
    slices = np.array(SLICES, dtype=object)[draw.slices[draw.categories[rows]]]
    added = {
        "split": pa.array(np.array(SPLITS, dtype=object)[draw.split.sides[rows]], pa.string()),
        "slice": pa.array(slices, pa.string(), mask=~labelled),
        "inclusion_probability": pa.array(draw.probability[rows], pa.float64()),
        "suspect": pa.array(draw.suspect[rows], pa.bool_()),
        "training_weight": pa.array(draw.training_weight[rows], pa.float64()),
    }
    place = table.schema.get_field_index("department")
    if labelled.any():
        table = table.set_column(place, "department", departments)
    for name, column in added.items():
        table = table.append_column(name, column)
    pq.write_table(table, path, compression="snappy", use_dictionary=REPEATING, row_group_size=ROWS_PER_WRITE)


def _report(
    state: State, draw: Draw, department: str, codes: npt.NDArray[np.int64], inside: npt.NDArray[np.int64]
) -> SliceReport:
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
