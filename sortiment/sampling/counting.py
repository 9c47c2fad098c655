"""The census of new parts: their indexes' counts added up, in the codes of a state. No row is read."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from sortiment.codebook import CodeBook
from sortiment.errors import SamplingError
from sortiment.feeds.offer_index import WITHDRAWN
from sortiment.progress import Progress
from sortiment.sampling.counts import PairCounter, PairCounts, pair_codes, sum_pairs
from sortiment.sampling.ledger import Ledger, Positions, find_repeats, make_ledger, read_dead
from sortiment.sampling.parts import Addresses, OfferPart, run_in_order
from sortiment.sampling.reserve import empty_entries
from sortiment.sampling.row_files import PartRows, RowReader, read_index_counts
from sortiment.sampling.state import State

SMALL_ROWS = 4_000_000
"""Up to so many new rows, a key that one part holds twice is looked for too; beyond, parts are taken at their word, and
so are parts that are ordered as the loader orders them: it keeps an offer's last row."""


def count_parts(
    parts: Sequence[OfferPart], base: State, addresses: Addresses, threads: int, progress: Progress
) -> State:
    """The parts as a state without a reserve; `base`'s codes go on.

    Raises UnreadablePart where a part's index cannot be read, SamplingError where a category has no department.
    """
    categories, shops = CodeBook(base.category_ids), CodeBook(base.shop_ids)
    departments = dict(zip(base.category_ids, base.departments, strict=True))
    counter = PairCounter()
    counted: list[PartRows] = []
    with progress("count offers", unit="rows") as step:
        for part, found in zip(
            parts, run_in_order(lambda part: read_index_counts(part, addresses), parts, threads), strict=True
        ):
            category_codes = categories.register_values(found.categories)
            shop_codes = shops.register_values(found.shops)
            for category, department in zip(found.categories, found.departments, strict=True):
                departments.setdefault(category, department)
            pairs = pair_codes(category_codes[found.pair_category], shop_codes[found.pair_shop])
            counter.add(pairs, found.pair_offers)
            named = tuple(sorted(shop_codes[found.rows_of_shop > 0].tolist()))
            counted.append(PartRows(part, 0, found.rows, named, found.runs))
            step.advance(found.rows)
    homeless = [category for category in categories.values if departments.get(category) is None]
    if homeless:
        raise SamplingError(
            f"{len(homeless)} categories have offers but no department",
            value=homeless[:5],
            allowed="a department wherever there is a category_id",
            fix="load the feed files again with the taxonomy that has these categories",
        )
    reader = RowReader(categories.values, shops.values, addresses)
    ledger, counts = _bury_repeats(make_ledger(counted), counter.total(), reader, threads)
    return State(
        shaping=base.shaping,
        ledger=ledger,
        category_ids=tuple(categories.values),
        departments=tuple(departments[category] for category in categories.values),
        shop_ids=tuple(shops.values),
        counts=counts,
        horizons=base.horizons,
        reserve=empty_entries(),
    )


def bury(
    ledger: Ledger, counts: PairCounts, found: Iterable[Positions], reader: RowReader
) -> tuple[Ledger, PairCounts]:
    """The ledger with the rows dead that are found, some millions at a time; the counts without those of them that were
    offers. Of rows that were found no more is kept than a bit."""
    buried = ledger
    for positions in found:
        buried = buried.with_dead(positions)
    if buried is ledger:
        return ledger, counts
    lost = PairCounter()
    for categories, shops in read_dead(buried.died_since(ledger), reader):
        live = categories != WITHDRAWN
        gone = sum_pairs(pair_codes(categories[live], shops[live]), np.ones(int(live.sum()), dtype=np.int64))
        lost.add(gone.pairs, gone.offers)
    return buried, counts.minus(lost.total())


def _bury_repeats(ledger: Ledger, counts: PairCounts, reader: RowReader, threads: int) -> tuple[Ledger, PairCounts]:
    """Bury the rows whose key comes again later in the same ledger.

    Keys are made from shop and offer id, so only parts that share a shop can share a key.
    """
    seen = Counter(shop for part in ledger.parts for shop in part.shops)
    doubted = ledger.rows <= SMALL_ROWS
    suspects = [
        part
        for part in ledger.parts
        if (doubted and not part.has_long_runs) or any(seen[shop] > 1 for shop in part.shops)
    ]
    if not suspects:
        return ledger, counts
    return bury(ledger, counts, find_repeats(ledger, suspects, reader, threads), reader)
