"""Forgetting dead rows: the living rows of all parts in one file, which the state keeps.

Feeds that send everything every day kill yesterday's rows, and whoever looks for a key would look through them all.
Once more than half of all rows are dead they are left behind, so a ledger holds at most twice the living rows (and
SMALL_ROWS), at a cost that is paid once per doubling. Withdrawals live on: this state may yet be merged behind another
that has the offer.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from sortiment.feeds.offer_index import COUNTS_SCHEMA, ROW_BYTES, counts_address, rows_address
from sortiment.sampling.ledger import Ledger, cut_rows, make_ledger
from sortiment.sampling.row_files import LIVING_FILE, NUMBER_BYTES, Living, RowReader
from sortiment.sampling.state import State

SMALL_ROWS = 50_000


def is_mostly_dead(ledger: Ledger) -> bool:
    """Whether the living rows should be kept apart."""
    rows = ledger.rows
    return rows > SMALL_ROWS and 2 * ledger.dead_count > rows


def keep_living(state: State, folder: Path, reader: RowReader) -> Ledger:
    """Write the living rows of a state into `folder`: a ledger of them alone."""
    ledger = state.ledger
    living = [ledger.living_in(part) for part in ledger.parts]
    total, done = sum(living), 0
    kept = []
    with Path(rows_address(str(folder / LIVING_FILE))).open("wb") as stream:
        for part, count in zip(ledger.parts, living, strict=True):
            if count:
                kept.append(replace(part, rows=count, runs=(), living=Living("", folder, done, total)))
            for block in cut_rows(part, 0, part.rows):
                rows = np.flatnonzero(~ledger.dead_rows(block))
                columns = [values[rows] for values in reader.columns(part, block.start, block.stop)]
                columns.append(reader.numbers(part, rows + block.start).astype("<u4"))
                before = 0
                for values in columns:
                    stream.seek(before * total + done * values.itemsize)
                    stream.write(np.ascontiguousarray(values).data)
                    before += values.itemsize
                done += len(rows)
        stream.truncate((ROW_BYTES + NUMBER_BYTES) * total)
    row = {"rows": total, "categories": state.category_ids, "departments": state.departments, "shops": state.shop_ids}
    nothing: dict[str, list[int]] = {name: [] for name in COUNTS_SCHEMA.names if name not in row}
    with pa.ipc.new_file(counts_address(str(folder / LIVING_FILE)), COUNTS_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist([{**row, **nothing}], COUNTS_SCHEMA))
    return make_ledger(kept)
