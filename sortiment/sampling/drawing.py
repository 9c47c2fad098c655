"""The draw of one country, decided on narrow columns: which offers, with what probability, on which side.

A country is decided as a whole even when one department is asked for, so a slice drawn alone is the same, byte for
byte, as drawn with all others.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.errors import SamplingError
from sortiment.sampling.counts import SHOP_BITS, Offers, Pairs
from sortiment.sampling.eligible import ReserveRows, draw_rows
from sortiment.sampling.fresh import join_fresh
from sortiment.sampling.horizons import Demand
from sortiment.sampling.ledger import UNLABELLED
from sortiment.sampling.order import Keys, rank_keys
from sortiment.sampling.parts import S3Options
from sortiment.sampling.payload import Segment, describe_entries
from sortiment.sampling.policy import ask_of, slice_categories
from sortiment.sampling.quality import LabelConflicts, compare_labels
from sortiment.sampling.reserve import Entries, Mask, Reserve
from sortiment.sampling.splits import Split, split_offers
from sortiment.sampling.state import State, check_shaping
from sortiment.sampling.verdicts import KeptVerdicts, read_verdicts
from sortiment.settings import SamplingSettings


@dataclass(frozen=True)
class Draw:
    """One entry per drawn offer, ordered by offer key.

    entries: the drawn offers; segments: what they point into. kept: False for what the settings leave out after the
    draw (near duplicates, suspects). product, gtin: their keys (`text_keys.py`), 0 where there is none.
    conflicts: of the labelled offers only, in the same order. asked, offers, slices, drawn: by category code.
    binding: the (category, shop) pairs whose cap cut offers.
    """

    entries: Entries
    segments: tuple[Segment, ...]
    categories: npt.NDArray[np.uint32]
    shops: npt.NDArray[np.uint32]
    product: Keys
    gtin: Keys
    probability: npt.NDArray[np.float64]
    split: Split
    suspect: Mask
    kept: Mask
    training_weight: npt.NDArray[np.float64]
    conflicts: LabelConflicts
    asked: Demand
    offers: Offers
    slices: npt.NDArray[np.int64]
    drawn: Offers
    binding: Pairs

    @property
    def labelled(self) -> Mask:
        mask: Mask = self.categories != UNLABELLED
        return mask


@dataclass(frozen=True)
class Taken:
    """The drawn offers, ordered by offer key, and the segments that they point into; what was asked of each category;
    each one's inclusion probability; the (category, shop) pairs whose cap cut offers."""

    entries: Entries
    segments: tuple[Segment, ...]
    asked: Demand
    probability: npt.NDArray[np.float64]
    binding: Pairs


def take_rows(
    state: State, settings: SamplingSettings, fresh: State | None = None, s3: S3Options | None = None
) -> Taken:
    """Decide which offers are drawn. fresh, errors: as in `plan_draw`."""
    check_shaping(state, settings)
    if not state.offers:
        raise SamplingError(
            "there is no offer to draw from",
            value=f"{state.rows} rows read, {state.offers} offers left",
            allowed="at least one offer that was not withdrawn",
            fix="load a feed of this country, or take the country out of the market",
        )
    entries = state.reserve
    reserve = ReserveRows(rank_keys(entries.keys, settings.seed), entries.categories, entries.shops)
    asked = ask_of(state.counts, len(state.category_ids), settings)
    mask, binding = draw_rows(reserve, asked)
    probability = _inclusion(state, reserve, mask, binding, asked)
    entries, probability, segments = entries.at(mask), probability[mask], state.segments
    if fresh is not None:
        entries, probability = join_fresh(state, entries, probability, binding, fresh, settings, s3)
        segments = (*segments, *fresh.segments)
    by_key = np.argsort(entries.keys)
    return Taken(entries.at(by_key), segments, asked, probability[by_key], binding)


def plan_draw(
    state: State,
    settings: SamplingSettings,
    threads: int = 2,
    fresh: State | None = None,
    taken: Taken | None = None,
    before: Path | None = None,
) -> Draw:
    """Decide a country's draw.

    fresh: the state of the parts whose offers are drawn with more weight (`fresh.py`). taken: what `take_rows` says,
    where the caller has it already. before: the folder of verdicts that an earlier draw kept (`verdicts.py`).
    Raises SamplingError where a state was kept for other settings or holds no offer.
    """
    taken = taken or take_rows(state, settings, fresh)
    entries, segments, asked, probability = taken.entries, taken.segments, taken.asked, taken.probability
    count = len(state.category_ids)
    categories = entries.categories
    labelled = categories != UNLABELLED
    drawn = describe_entries(segments, entries)
    _, alphabetical = np.unique([name or "" for name in state.category_ids], return_inverse=True)
    conflicts = compare_labels(drawn.at(labelled), alphabetical)
    suspect = np.zeros(len(entries), dtype=np.bool_)
    suspect[labelled] = conflicts.suspect
    left_in = ~suspect if settings.suspect_labels == "drop" else np.ones(len(entries), dtype=np.bool_)
    verdicts = read_verdicts(before, settings.near_duplicate_similarity) if before else {}
    split, kept = _split(drawn, labelled, left_in, settings, threads, verdicts)
    weight = np.where(suspect & (settings.suspect_labels == "down_weight"), settings.suspect_weight, 1.0)
    offers = state.counts.by_category(count)
    return Draw(
        entries=entries,
        segments=segments,
        categories=categories,
        shops=entries.shops,
        product=drawn.product,
        gtin=drawn.gtin,
        probability=probability,
        split=split,
        suspect=suspect,
        kept=kept,
        training_weight=weight,
        conflicts=conflicts,
        asked=asked,
        offers=offers,
        slices=slice_categories(offers, settings),
        drawn=np.bincount(categories, minlength=count),
        binding=taken.binding,
    )


def _split(
    drawn: Reserve, labelled: Mask, left_in: Mask, settings: SamplingSettings, threads: int, before: KeptVerdicts
) -> tuple[Split, Mask]:
    """The split of the offers that are left in; the others are not kept."""
    if not left_in.all():
        drawn, labelled = drawn.at(left_in), labelled[left_in]
    inner = split_offers(drawn, labelled, settings, threads, before)
    sides = np.zeros(len(left_in), dtype=np.int8)
    sides[left_in] = inner.sides
    kept = np.zeros(len(left_in), dtype=np.bool_)
    kept[left_in] = inner.kept
    return replace(inner, sides=sides, kept=kept), kept


def _inclusion(
    state: State, reserve: ReserveRows, drawn: Mask, binding: Pairs, asked: Demand
) -> npt.NDArray[np.float64]:
    """The inclusion probability of each reserve row. binding: the pairs whose shop cap bound.

    Ranks are uniform, so within a category the draw is a simple random sample of each shop that the cap cut (cap of its
    offers), and one of all other shops together. So 1 / probability summed over the drawn offers of a category is
    exactly the category's number of living offers. Where the cut shops alone fill the target, they stand for all.
    """
    count = len(asked.targets)
    taken = np.bincount(reserve.categories[drawn], minlength=count)
    of = (binding >> SHOP_BITS).astype(np.int64)
    bound_offers = state.counts.of(binding)
    offers = state.counts.by_category(count)
    bound_total = np.bincount(of, weights=bound_offers, minlength=count)
    bound_taken = np.bincount(of, weights=asked.caps[of], minlength=count)
    rest_total, rest_taken = offers - bound_total, taken - bound_taken
    standing_in = np.where((rest_taken == 0) & (rest_total > 0), bound_total / np.maximum(offers, 1), 1.0)
    probability: npt.NDArray[np.float64] = (rest_taken / np.maximum(rest_total, 1))[reserve.categories]
    if len(binding):
        place = np.minimum(np.searchsorted(binding, reserve.pairs), len(binding) - 1)
        inside = binding[place] == reserve.pairs
        of_binding = asked.caps[of] / bound_offers * standing_in[of]
        probability = np.where(inside, of_binding[place], probability)
    return probability
