"""Reading parts into a ledger and counting them: one pass over the narrow columns."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import SamplingError
from sortiment.progress import Progress
from sortiment.sampling.counts import PairCounter, PairCounts, pair_codes
from sortiment.sampling.ledger import (
    WITHDRAWN,
    Codes,
    Ledger,
    LedgerWriter,
    PartRows,
    Positions,
    alive,
    find_repeats,
)
from sortiment.sampling.parts import LightBatch, PartReader, read_light
from sortiment.sampling.reserve import empty_reserve
from sortiment.sampling.state import LedgerReference, State

SMALL_ROWS = 4_000_000
"""Up to so many new rows, a key that one part holds twice is looked for too; beyond, parts are taken at their word."""


def count_parts(reader: PartReader, base: State, folder: Path, threads: int, progress: Progress) -> State:
    """The parts as a state without a reserve: their rows in a ledger in `folder`, counted; `base`'s codes go on."""
    categories = {category: code for code, category in enumerate(base.category_ids)}
    departments = dict(zip(base.category_ids, base.departments, strict=True))
    shops = {shop: code for code, shop in enumerate(base.shop_ids)}
    known = {category for category in categories if category is not None}
    counter = PairCounter()
    rows = np.zeros(len(reader.parts), dtype=np.int64)
    part_shops: list[set[int]] = [set() for _ in reader.parts]
    with LedgerWriter(folder) as writer, progress("count offers", unit="rows") as step:
        for batch in read_light(reader, threads, known):
            for category, department in batch.departments.items():
                departments.setdefault(category, department)
                known.add(category)
            category_codes = assign_codes(batch.category_values, categories)
            shop_codes = assign_codes(batch.shop_values, shops)
            written = category_codes[batch.categories]
            if batch.withdrawn is not None:
                written[batch.withdrawn] = WITHDRAWN
            writer.append(batch.keys, written, shop_codes[batch.shops])
            counter.add(
                pair_codes(category_codes[batch.pair_categories], shop_codes[batch.pair_shops]), batch.pair_offers
            )
            rows[batch.part] += batch.rows
            part_shops[batch.part].update(_shops_in(batch, shop_codes))
            step.advance(batch.rows)
    homeless = [category for category in categories if category is not None and departments[category] is None]
    if homeless:
        raise SamplingError(
            f"{len(homeless)} categories have offers but no department",
            value=homeless[:5],
            allowed="a department wherever there is a category_id",
            fix="load the feed files again with the taxonomy that has these categories",
        )
    first = np.cumsum(rows) - rows
    ranges = tuple(
        PartRows(part, int(first[index]), int(rows[index]), tuple(sorted(part_shops[index])))
        for index, part in enumerate(reader.parts)
    )
    ledger, counts = _bury_repeats(Ledger(folder, ranges, alive(int(rows.sum()))), counter.total(), threads)
    return State(
        shaping=base.shaping,
        ledgers=(LedgerReference("", ledger),) if ranges else (),
        category_ids=tuple(categories),
        departments=tuple(departments[category] for category in categories),
        shop_ids=tuple(shops),
        counts=counts,
        horizons=base.horizons,
        reserve=empty_reserve(),
    )


def assign_codes(values: list[str | None], codes: dict[str | None, int]) -> Codes:
    """The code of each value; a new value gets the next."""
    return np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.uint32)


def bury(ledger: Ledger, counts: PairCounts, positions: Positions) -> tuple[Ledger, PairCounts]:
    """The ledger with these rows dead, the counts without those of them that were offers. `positions` ascend."""
    if not len(positions):
        return ledger, counts
    found = [np.empty(0, dtype=np.uint64)]
    for start, stop in ledger.blocks():
        low, high = np.searchsorted(positions, [start, stop])
        if low < high:
            inside = positions[low:high] - start
            categories = ledger.categories(start, stop)[inside]
            live = categories != WITHDRAWN
            found.append(pair_codes(categories[live], ledger.shops(start, stop)[inside][live]))
    return ledger.with_dead(positions), counts.minus(np.concatenate(found))


def _shops_in(batch: LightBatch, codes: Codes) -> list[int]:
    """Codes of the shops that a batch names, withdrawn rows included."""
    named: npt.NDArray[Any] = batch.pair_shops if batch.withdrawn is None else batch.shops
    shops: list[int] = codes[np.unique(named)].tolist()
    return shops


def _bury_repeats(ledger: Ledger, counts: PairCounts, threads: int) -> tuple[Ledger, PairCounts]:
    """Bury the rows whose key comes again later in the same ledger.

    Keys are made from shop and offer id, so only parts that share a shop can share a key.
    """
    if ledger.rows <= SMALL_ROWS:
        suspects = list(ledger.parts)
    else:
        seen: dict[int, int] = {}
        for part in ledger.parts:
            for shop in part.shops:
                seen[shop] = seen.get(shop, 0) + 1
        suspects = [part for part in ledger.parts if any(seen[shop] > 1 for shop in part.shops)]
    return bury(ledger, counts, find_repeats(ledger, suspects, threads)) if suspects else (ledger, counts)
