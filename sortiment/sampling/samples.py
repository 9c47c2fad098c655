"""Writing the drawn offers: one `sample.parquet` per department, as docs/contracts.md says.

`training_weight` is 1, or the setting `suspect_weight` for a suspect label where those are down-weighted. `product_key`
and `gtin_key` say which offers of other countries are the same product (`abroad.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.codebook import Codes
from sortiment.progress import Progress, silent
from sortiment.sampling.drawing import Draw, plan_draw, take_rows
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.parts import S3Options, run_in_order
from sortiment.sampling.payload import TEXT_BYTES_AT_ONCE, Segment, Texts, entries_at_once, open_texts
from sortiment.sampling.policy import SLICES
from sortiment.sampling.reserve import Entries
from sortiment.sampling.splits import SPLITS, TRAIN
from sortiment.sampling.state import UNLABELLED_DEPARTMENT, State
from sortiment.sampling.verdicts import write_verdicts
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
    "product_key",
    "gtin_key",
)
REPEATING = ["country", "shop_id", "brand", "shop_category", "category_id", "department", "feed", "split", "slice"]
ROWS_PER_WRITE = 65_536

Rows = npt.NDArray[np.int64]


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
    """What was written, by department, and what holds for the country: what was lent, moved and alike (`splits.py`)."""

    slices: Mapping[str, SliceReport]
    lent: int
    moved: int
    alike: int


def draw_sample(
    state: State,
    settings: SamplingSettings,
    out: Mapping[str, Path],
    *,
    fresh: State | None = None,
    before: Path | None = None,
    keep: Path | None = None,
    s3: S3Options | None = None,
    text_bytes: int = TEXT_BYTES_AT_ONCE,
    threads: int = 2,
    progress: Progress = silent,
) -> SampleReport:
    """Write `sample.parquet` into each department's folder; one row per offer, ordered by offer_key.

    out: department (or `unlabelled`) to folder. A department of which the country has no offer gets an empty
    file. fresh: the state of the last parts, whose offers are drawn with more weight (`fresh.py`); s3: how those parts
    are read. before: verdicts that an earlier draw kept, which make this one faster (`verdicts.py`); keep: a folder for
    those of this one. The bytes depend neither on them nor on which other departments are asked for.
    text_bytes: how much text is held at once, about; what is more is read in several goes, with the same bytes.
    Raises SamplingError where the country has no offer or the state was kept for other settings.
    """
    codes = {department: np.flatnonzero([name == department for name in state.departments]) for department in out}
    wanted = np.zeros(len(state.category_ids), dtype=np.bool_)
    wanted[np.concatenate([np.empty(0, dtype=np.int64), *codes.values()])] = True

    def open_wanted(entries: Entries, segments: Sequence[Segment]) -> tuple[Entries, Texts] | None:
        entries = entries.at(np.flatnonzero(wanted[entries.categories]))
        if entries_at_once(segments, entries, text_bytes) < len(entries):
            return None
        return entries, open_texts(segments, entries, threads=1)

    with ThreadPoolExecutor(1) as pool:
        # most row groups of the reserve's texts hold a drawn offer: where there is room for all, they are read at once
        early = pool.submit(open_wanted, state.reserve, state.segments) if fresh is None else None
        taken = take_rows(state, settings, fresh, s3)
        opening = early or pool.submit(open_wanted, taken.entries, taken.segments)
        draw = plan_draw(state, settings, threads, taken=taken, before=before)
        found, similarity = draw.split.verdicts, settings.near_duplicate_similarity
        keeping = None if keep is None else pool.submit(write_verdicts, found, similarity, keep)
        drawn = _rows_by_department(taken.entries.categories, list(codes.values()), len(state.category_ids))
        inside = dict(zip(out, drawn, strict=True))
        rows = {department: mine[draw.kept[mine]] for department, mine in inside.items()}
        opened, most = opening.result(), sum(map(len, rows.values()))
        texts = None
        if opened is None:
            most = entries_at_once(draw.segments, draw.entries, text_bytes)
        else:
            texts = _DrawnTexts(opened[1], _places(draw.segments, opened[0], draw.entries))
        _write_departments(state, draw, rows, out, texts, most, threads, progress)
        if keeping is not None:
            keeping.result()
    reports = {
        department: _report(state, draw, department, codes[department], inside[department], rows[department])
        for department in out
    }
    return SampleReport(reports, draw.split.lent, draw.split.moved, draw.split.alike)


@dataclass(frozen=True)
class _DrawnTexts:
    """Texts, and where among them each drawn offer's is; of no meaning for one that is not there."""

    texts: Texts
    place: Rows


def _write_departments(
    state: State,
    draw: Draw,
    rows: Mapping[str, Rows],
    out: Mapping[str, Path],
    texts: _DrawnTexts | None,
    most: int,
    threads: int,
    progress: Progress,
) -> None:
    """rows: of each department. texts: of all of them, or they are opened for about `most` rows at once."""
    writers: dict[str, pq.ParquetWriter] = {}

    def write(held: _DrawnTexts, pieces: tuple[str, list[Rows]]) -> tuple[str, int]:
        department, groups = pieces
        for piece in groups:
            table = _sample_table(state, draw, piece, held.texts.at(held.place[piece]))
            if department not in writers:
                out[department].mkdir(parents=True, exist_ok=True)
                writers[department] = files.enter_context(_open_writer(out[department] / SAMPLE_FILE, table.schema))
            writers[department].write_table(table, row_group_size=ROWS_PER_WRITE)
        return department, sum(map(len, groups))

    def write_some(some: Mapping[str, list[Rows]]) -> Iterator[tuple[str, int]]:
        held = texts or _open_drawn(draw, [piece for groups in some.values() for piece in groups], threads)
        yield from run_in_order(partial(write, held), some.items(), threads)

    with ExitStack() as files, progress("write samples", total=sum(map(len, rows.values()))) as step:
        for some in _cut_rows(rows, most):
            for department, count in write_some(some):
                step.advance(count, note=department)


def _open_drawn(draw: Draw, pieces: Sequence[Rows], threads: int) -> _DrawnTexts:
    rows = np.concatenate(pieces)
    place = np.zeros(len(draw.entries), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return _DrawnTexts(open_texts(draw.segments, draw.entries.at(rows), threads=threads), place)


def _cut_rows(rows: Mapping[str, Rows], most: int) -> Iterator[dict[str, list[Rows]]]:
    """The row groups of departments, so many together that they have at most `most` rows, but one at least."""
    group: dict[str, list[Rows]] = {}
    size = 0
    for department, mine in rows.items():
        for first in range(0, max(len(mine), 1), ROWS_PER_WRITE):
            piece = mine[first : first + ROWS_PER_WRITE]
            if group and size + len(piece) > most:
                yield group
                group, size = {}, 0
            group.setdefault(department, []).append(piece)
            size += len(piece)
    if group:
        yield group


def _places(segments: Sequence[Segment], opened: Entries, drawn: Entries) -> Rows:
    """Where each drawn entry is among the opened ones."""
    firsts = np.cumsum([0, *(segment.rows for segment in segments)])
    place = np.zeros(firsts[-1], dtype=np.int64)
    place[firsts[opened.segment] + opened.row] = np.arange(len(opened))
    return place[firsts[drawn.segment] + drawn.row]


def _rows_by_department(categories: Codes, codes: Sequence[Rows], count: int) -> list[Rows]:
    """For each of the lists of category codes, which offers are of these categories, in the offers' order."""
    number = np.zeros(count, dtype=np.uint16)
    for index, mine in enumerate(codes, start=1):
        number[mine] = index
    of_offer = number[categories]
    order = np.argsort(of_offer, kind="stable")
    ends = np.cumsum(np.bincount(of_offer, minlength=len(codes) + 1))
    return [order[start:end] for start, end in pairwise(ends.tolist())]


def _sample_table(state: State, draw: Draw, rows: Rows, texts: pa.Table) -> pa.Table:
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
        "product_key": pa.array(draw.product[rows], pa.uint64(), mask=draw.product[rows] == 0),
        "gtin_key": pa.array(draw.gtin[rows], pa.uint64(), mask=draw.gtin[rows] == 0),
    }
    columns |= {name: texts[name] for name in texts.column_names}
    return pa.table({name: columns[name] for name in COLUMNS})


def _open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=REPEATING)


def _report(state: State, draw: Draw, department: str, codes: Rows, inside: Rows, rows: Rows) -> SliceReport:
    """codes: the department's categories; inside, rows: its offers that were drawn, and that were written."""
    count, sides = len(state.category_ids), draw.split.sides[rows]
    sampled = np.bincount(draw.categories[inside], minlength=count) > 0
    trained = np.bincount(draw.categories[rows[sides == TRAIN]], minlength=count) > 0
    labelled = department != UNLABELLED_DEPARTMENT
    untrained = np.flatnonzero(sampled & ~trained).tolist() if labelled else []
    return SliceReport(
        department=department,
        offers=int(draw.offers[codes].sum()),
        drawn=len(inside),
        rows=len(rows),
        left_out=len(inside) - len(rows),
        suspects=int(draw.suspect[inside].sum()),
        categories=int(sampled.sum()) if labelled else 0,
        splits={name: int((sides == index).sum()) for index, name in enumerate(SPLITS)},
        untrained=tuple(str(state.category_ids[code]) for code in untrained),
    )
