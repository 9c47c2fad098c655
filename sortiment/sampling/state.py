"""The sampling state of one country: everything that the census and any draw need, as one folder.

- the ledger: `parts.arrow`, and in `dead.bits` a bit per row that is dead; rows lie beside their parts, or in
  `living.rows` of the state that kept them apart (`row_files.py`);
- `categories.arrow`: category_id, department, horizon; the row number is the category's code, code 0 is the pool of
  offers without a label. `shops.arrow`: shop_id by code; code 0 is "no shop given";
- `counts.arrow`: living offers per (category, shop);
- `horizons.arrow`: ranks of the shops that the cap cuts;
- `reserve.arrow` (`reserve.py`), and the segments `texts-<n>.parquet`, `texts-<n>.keys`: texts of the offers that
  this state added, and their keys (`payload.py`);
- `state.json`: settings that shaped it, segments, parts that were left out.

Two states are equal in meaning when they give the same census and the same draws. Their bytes may differ: a state that
grew day by day has more, smaller segments and may have deeper or shallower horizons.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sortiment.errors import SamplingError
from sortiment.sampling.counts import PairCounts, no_pairs
from sortiment.sampling.horizons import Horizons
from sortiment.sampling.ledger import Ledger, make_ledger, parts_of_table, tabulate_parts
from sortiment.sampling.order import HIGHEST_RANK
from sortiment.sampling.parts import OfferPart
from sortiment.sampling.payload import Segment
from sortiment.sampling.reserve import (
    Entries,
    empty_entries,
    read_arrow,
    read_entries,
    read_numbers,
    write_arrow,
    write_entries,
    write_numbers,
)
from sortiment.settings import SamplingSettings

UNLABELLED_DEPARTMENT = "unlabelled"
DEAD_FILE = "dead.bits"
DEAD_CODEC = "lz4_raw"
SHAPING = ("seed", "per_category", "per_shop_share", "unlabelled_per_country", "reserve_slack")
"""The settings that a state depends on; all others only shape a draw."""

Resolve = Callable[[str], Path]


@dataclass(frozen=True)
class State:
    """One country's state. segments: the texts that the reserve points into."""

    shaping: dict[str, Any]
    ledger: Ledger
    category_ids: tuple[str | None, ...]
    departments: tuple[str | None, ...]
    shop_ids: tuple[str | None, ...]
    counts: PairCounts = field(repr=False)
    horizons: Horizons = field(repr=False)
    reserve: Entries = field(repr=False)
    segments: tuple[Segment, ...] = ()
    skipped: tuple[str, ...] = ()
    refills: int = 0

    @property
    def parts(self) -> tuple[OfferPart, ...]:
        """Every part that was read, in order."""
        return tuple(rows.part for rows in self.ledger.parts)

    @property
    def rows(self) -> int:
        """Rows of the ledger, dead ones included."""
        return self.ledger.rows

    @property
    def offers(self) -> int:
        """Living offers, with and without a label."""
        return int(self.counts.offers.sum())


def empty_state(settings: SamplingSettings) -> State:
    """A state that has read nothing."""
    nothing = np.empty(0, dtype=np.uint64)
    return State(
        shaping=shaping_of(settings),
        ledger=make_ledger([]),
        category_ids=(None,),
        departments=(UNLABELLED_DEPARTMENT,),
        shop_ids=(None,),
        counts=no_pairs(),
        horizons=Horizons(np.full(1, HIGHEST_RANK), nothing, nothing),
        reserve=empty_entries(),
    )


def shaping_of(settings: SamplingSettings) -> dict[str, Any]:
    """The settings that a state depends on."""
    return {name: getattr(settings, name) for name in SHAPING}


def check_shaping(state: State, settings: SamplingSettings) -> None:
    """Raise SamplingError where the state was kept for other settings."""
    asked = shaping_of(settings)
    if state.shaping != asked:
        raise SamplingError(
            "the sampling state was kept for other settings",
            value={name: kept for name, kept in state.shaping.items() if kept != asked[name]},
            allowed=f"{ {name: value for name, value in asked.items() if value != state.shaping[name]} }",
            fix="keep a state with these settings (it reads the parts once more)",
        )


def write_state(state: State, folder: Path) -> None:
    """Write all but this state's own segment and living rows, which are in the folder already."""
    write_entries(folder, state.reserve)
    categories = {
        "category_id": pa.array(state.category_ids, pa.string()),
        "department": pa.array(state.departments, pa.string()),
        "horizon": state.horizons.categories,
    }
    write_arrow(folder / "categories.arrow", pa.table(categories))
    write_arrow(folder / "shops.arrow", pa.table({"shop_id": pa.array(state.shop_ids, pa.string())}))
    write_numbers(folder / "counts.arrow", {"pair": state.counts.pairs, "offers": state.counts.offers})
    write_numbers(folder / "horizons.arrow", {"pair": state.horizons.pairs, "horizon": state.horizons.shops})
    dead = state.ledger.dead.tobytes()
    (folder / DEAD_FILE).write_bytes(pa.compress(dead, DEAD_CODEC, asbytes=True) if dead else b"")
    kept = {part.living for part in state.ledger.parts if part.living}
    names = {str(living.folder): _name(living.name, living.folder, folder) for living in kept}
    write_arrow(folder / "parts.arrow", tabulate_parts(state.ledger.parts, names))
    content = {
        "shaping": state.shaping,
        "skipped": list(state.skipped),
        "refills": state.refills,
        "segments": [
            {"name": _name(one.name, one.folder, folder), "file": one.file, "rows": one.rows} for one in state.segments
        ],
    }
    (folder / "state.json").write_text(json.dumps(content, sort_keys=True), encoding="utf-8")


def read_state(folder: Path, resolve: Resolve = Path) -> State:
    """The state in a folder. `resolve` turns the name of a ledger or segment into its folder."""
    content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    categories = read_arrow(folder / "categories.arrow")
    counts = read_numbers(folder / "counts.arrow")
    parts = read_arrow(folder / "parts.arrow")
    horizons = read_numbers(folder / "horizons.arrow")

    def find(name: str) -> Path:
        return resolve(name) if name else folder

    ledger = make_ledger(parts_of_table(parts, find))
    dead = (folder / DEAD_FILE).read_bytes()
    if dead:
        bits = pa.decompress(dead, len(ledger.dead), DEAD_CODEC)
        ledger = replace(ledger, dead=np.frombuffer(bits, dtype=np.uint8))
    return State(
        shaping=content["shaping"],
        ledger=ledger,
        category_ids=tuple(categories["category_id"].to_pylist()),
        departments=tuple(categories["department"].to_pylist()),
        shop_ids=tuple(read_arrow(folder / "shops.arrow")["shop_id"].to_pylist()),
        counts=PairCounts(counts["pair"], counts["offers"]),
        horizons=Horizons(categories["horizon"].to_numpy(), horizons["pair"], horizons["horizon"]),
        reserve=read_entries(folder),
        segments=tuple(
            Segment(entry["name"], find(entry["name"]), entry["file"], entry["rows"]) for entry in content["segments"]
        ),
        skipped=tuple(content["skipped"]),
        refills=content["refills"],
    )


def _name(name: str, where: Path, folder: Path) -> str:
    """What a later reader resolves: nothing for what is in the state's own folder."""
    return name or ("" if where == folder else str(where))
