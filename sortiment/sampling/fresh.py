"""The new offers of a slice that drifted: a draw of their own, beside the draw over all days.

After months a day is a small part of a category, so of the offers that are drawn over all days few are new: too few to
learn from, and too few to see whether anything was learned. So a second draw by the same rank takes up to
`fresh_per_category` of the offers that came since the last training. It is a bottom-k like the first, over fewer parts:
its state is built and merged like any other, and costs the new parts' rows alone.

What the sample holds is the union of both. Within a category, old and new offers are two strata. What was taken of
either is what lies at or below some rank, for each shop that a cap cut and for all other shops together: so it is a
simple random sample of the stratum's offers there, and the inclusion probability is (taken / living) of that cell. Its
inverse summed over a category's drawn offers is its number of living offers, as without new offers.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.progress import Progress, silent
from sortiment.sampling.building import build_state
from sortiment.sampling.counts import SHOP_BITS, Offers, PairCounts, Pairs, pair_codes, sum_pairs
from sortiment.sampling.eligible import ReserveRows, draw_rows
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.order import Keys, rank_keys
from sortiment.sampling.parts import Addresses, OfferPart, S3Options
from sortiment.sampling.policy import ask_of
from sortiment.sampling.reserve import Entries, Mask, join_entries
from sortiment.sampling.row_files import RowReader
from sortiment.sampling.state import State, check_shaping
from sortiment.settings import SamplingSettings

Floats = npt.NDArray[np.float64]


def build_fresh_state(
    parts: Sequence[OfferPart],
    settings: SamplingSettings,
    folder: Path,
    *,
    s3: S3Options | None = None,
    threads: int = 2,
    progress: Progress = silent,
) -> State:
    """The state of the parts that came since the last training, for `draw_sample(fresh=...)`.

    parts: in their order, the last ones of all: no older part may come after them. folder: empty; it is needed as long
    as the state is. Raises SamplingError where there is nothing to read, UnreadablePart for a part that cannot be read,
    whatever the settings say: the country's state has read it, and so the sample's version says.
    """
    return build_state(parts, _fresh_settings(settings), folder, s3=s3, threads=threads, progress=progress)


def _fresh_settings(settings: SamplingSettings) -> SamplingSettings:
    """As a draw of new offers asks: so many of each category, none without a label; all parts."""
    changed = {"per_category": settings.fresh_per_category, "policy": "cap", "unlabelled_per_country": 0}
    return settings.model_copy(update={**changed, "on_unreadable_part": "fail"})


def join_fresh(
    state: State,
    drawn: Entries,
    probability: Floats,
    binding: Pairs,
    fresh: State,
    settings: SamplingSettings,
    s3: S3Options | None = None,
) -> tuple[Entries, Floats]:
    """What was drawn over all days, and the new offers, each once; and the inclusion probability of each.

    drawn, probability, binding: of the draw over all days. The result has the state's codes, and segments that are
    counted from the state's on: `(*state.segments, *fresh.segments)`. Offers without a label stay as they were.
    Raises SamplingError where the fresh state was kept for other settings.
    """
    check_shaping(fresh, _fresh_settings(settings))
    taken, fresh_binding = _draw_fresh(fresh, _fresh_settings(settings))
    categories = _codes(fresh.category_ids, state.category_ids)
    shops = _codes(fresh.shop_ids, state.shop_ids)

    def recode(pairs: Pairs) -> Pairs:
        category, shop = (pairs >> SHOP_BITS).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return pair_codes(categories[category], shops[shop])

    taken = replace(taken, categories=categories[taken.categories], shops=shops[taken.shops])
    added = taken.moved(len(state.segments)).at(~np.isin(taken.keys, drawn.keys))
    new = np.concatenate([_are_of(drawn.keys, fresh, s3), np.ones(len(added), dtype=np.bool_)])
    together = join_entries([drawn, added])
    new_offers = sum_pairs(recode(fresh.counts.pairs), fresh.counts.offers)
    old_offers = state.counts.plus(PairCounts(new_offers.pairs, -new_offers.offers))
    binding = np.union1d(binding, recode(fresh_binding))
    labelled = together.categories != UNLABELLED
    count = len(state.category_ids)
    joined = np.append(probability, np.zeros(len(added)))
    unseen: dict[bool, Offers] = {}
    for stratum, offers in ((True, new_offers), (False, old_offers)):
        rows = np.flatnonzero(labelled & (new == stratum))
        joined[rows] = include_cells(together.at(rows), offers, binding, count)
        lacking = np.bincount(together.categories[rows], minlength=count) == 0
        unseen[stratum] = np.where(lacking, offers.by_category(count), 0)
    for stratum, offers in (
        (True, new_offers),
        (False, old_offers),
    ):  # who stands for a stratum of which none was drawn
        rows = np.flatnonzero(labelled & (new == stratum))
        own = offers.by_category(count).astype(np.float64)
        share = own / np.maximum(own + unseen[not stratum], 1.0)
        joined[rows] *= share[together.categories[rows]]
    return together, joined


def include_cells(taken: Entries, living: PairCounts, binding: Pairs, categories: int) -> Floats:
    """The inclusion probability of each taken offer of one stratum: taken / living of its cell.

    A cell is a (category, shop) whose cap bound, or all other shops of a category. Where of a cell none was taken, the
    category's other cell stands for it.
    """
    pairs = pair_codes(taken.categories, taken.shops)
    own = np.unique(pairs[np.isin(pairs, binding)])
    of = (own >> SHOP_BITS).astype(np.int64)
    place = np.minimum(np.searchsorted(own, pairs), max(len(own) - 1, 0))
    inside = own[place] == pairs if len(own) else np.zeros(len(pairs), dtype=np.bool_)
    own_taken = np.bincount(place[inside], minlength=len(own))
    own_living = living.of(own)
    total = living.by_category(categories)
    bound = np.bincount(of, weights=own_living, minlength=categories)
    rest_taken = np.bincount(taken.categories[~inside], minlength=categories)
    rest = total - bound
    alone = np.where((rest_taken == 0) & (rest > 0), bound / np.maximum(total, 1), 1.0)
    probability: Floats = (rest_taken / np.maximum(rest, 1))[taken.categories]
    if len(own):
        probability = np.where(inside, (own_taken / np.maximum(own_living, 1) * alone[of])[place], probability)
    return probability


def _draw_fresh(fresh: State, settings: SamplingSettings) -> tuple[Entries, Pairs]:
    """The fresh state's draw, and the pairs whose shop cap bound; in its own codes."""
    entries = fresh.reserve
    rows = ReserveRows(rank_keys(entries.keys, settings.seed), entries.categories, entries.shops)
    asked = ask_of(fresh.counts, len(fresh.category_ids), settings)
    drawn, binding = draw_rows(rows, asked)
    return entries.at(drawn & (entries.categories != UNLABELLED)), binding


def _codes(values: Sequence[str | None], among: Sequence[str | None]) -> npt.NDArray[np.uint32]:
    """The code among `among` of each value; all are there, since the state has read what the fresh state has."""
    place = {value: code for code, value in enumerate(among)}
    return np.array([place[value] for value in values], dtype=np.uint32)


def _are_of(keys: Keys, fresh: State, s3: S3Options | None) -> Mask:
    """Which keys the fresh state's parts hold."""
    reader = RowReader(fresh.category_ids, fresh.shop_ids, Addresses(s3))
    found = np.zeros(len(keys), dtype=np.bool_)
    for block in fresh.ledger.blocks():
        found |= np.isin(keys, reader.keys(block.part, block.start, block.stop))
    return found
