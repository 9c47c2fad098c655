"""Forgetting dead rows: the living rows of all ledgers as one new ledger.

Feeds that send everything every day kill yesterday's rows. Once more than half of all rows are dead they are left
behind, so ledgers hold at most twice the living rows (and SMALL_ROWS), at a cost that is paid once per doubling.
Withdrawals live on: this state may yet be merged behind another that has the offer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.sampling.ledger import Ledger, LedgerWriter, PartRows, alive
from sortiment.sampling.state import LIVING_FOLDER, LedgerReference, State

SMALL_ROWS = 50_000


@dataclass(frozen=True)
class _Kept:
    """A run of living rows of one part: their numbers in the part, keys, categories, shops."""

    part: int
    rows: npt.NDArray[np.uint32]
    keys: npt.NDArray[np.uint64]
    categories: npt.NDArray[np.uint32]
    shops: npt.NDArray[np.uint32]


def is_mostly_dead(state: State) -> bool:
    """Whether the ledgers should be written anew."""
    dead = sum(reference.ledger.dead_count for reference in state.ledgers)
    return state.rows > SMALL_ROWS and 2 * dead > state.rows


def keep_living(state: State, folder: Path) -> tuple[LedgerReference, ...]:
    """Write the living rows of all ledgers as one ledger below `folder`."""
    target = folder / LIVING_FOLDER
    parts: list[PartRows] = []
    total = 0
    with LedgerWriter(target, sparse=True) as writer:
        for reference in state.ledgers:
            written = np.zeros(len(reference.ledger.parts), dtype=np.int64)
            for kept in _living(reference.ledger):
                writer.write(total + int(written.sum()), kept.keys, kept.categories, kept.shops, kept.rows)
                written[kept.part] += len(kept.rows)
            for part, rows in zip(reference.ledger.parts, written.tolist(), strict=True):
                if rows:
                    parts.append(PartRows(part.part, total, rows, part.shops))
                    total += rows
    return (LedgerReference("", Ledger(target, tuple(parts), alive(total), sparse=True)),)


def _living(ledger: Ledger) -> Iterator[_Kept]:
    for start, stop in ledger.blocks():
        categories = ledger.categories(start, stop)
        rows = np.flatnonzero(~ledger.dead_rows(start, stop))
        if not len(rows):
            continue
        keys, shops = ledger.keys(start, stop), ledger.shops(start, stop)
        part, number = ledger.locate(rows + start)
        edges = np.flatnonzero(np.append(True, part[1:] != part[:-1]))
        for first, last in zip(edges, [*edges[1:], len(rows)], strict=True):
            some = rows[first:last]
            yield _Kept(
                int(part[first]), number[first:last].astype(np.uint32), keys[some], categories[some], shops[some]
            )
