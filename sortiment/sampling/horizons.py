"""How deep the reserve goes: a rank per category, and per (category, shop) that the shop cap cuts.

The reserve holds *exactly* the living offers whose rank is at or below their category's horizon and their shop's. That
one sentence is what makes states mergeable: the smaller of two horizons is again a horizon of the union, and whether a
draw is exact can be told from the reserve alone.

Horizons follow from the census, not from order statistics: with n offers of which k are wanted, a horizon at the
fraction e/n of the rank space holds e of them in the mean, and e = max(slack * k, k + 4 * sqrt(k) + 4) leaves room for
withdrawals and for chance (four standard deviations; who has less is refilled). Shops that the cap binds count only up
to the cap.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.counts import Offers, PairCounts, Pairs
from sortiment.sampling.order import HIGHEST_RANK, Keys
from sortiment.settings import SamplingSettings

Shares = npt.NDArray[np.float64]
BISECTIONS = 60
TOO_DEEP = 1.25


@dataclass(frozen=True)
class Demand:
    """What may be asked of each category code: `targets` offers at most, `caps` of one shop, `needed` with room."""

    targets: Offers
    caps: Offers

    def needed(self, share: float) -> Offers:
        """Eligible offers that a reserve must hold so that every smaller target can be drawn from it exactly."""
        return self.targets + int(np.ceil(1 / share))


@dataclass(frozen=True)
class Horizons:
    """categories: rank per category code. pairs, shops: rank per (category, shop) that goes less deep."""

    categories: Keys
    pairs: Pairs
    shops: Keys

    def of_pairs(self, pairs: Pairs) -> Keys:
        """The shop horizon of each pair; the highest rank where the shop is not cut."""
        if not len(self.pairs):
            return np.full(len(pairs), HIGHEST_RANK)
        place = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        return np.where(self.pairs[place] == pairs, self.shops[place], HIGHEST_RANK)

    def lowered(self, other: "Horizons") -> "Horizons":
        """The smaller of both, everywhere. `other` knows at least the categories that this one knows."""
        categories = other.categories.copy()
        np.minimum(categories[: len(self.categories)], self.categories, out=categories[: len(self.categories)])
        pairs = np.union1d(self.pairs, other.pairs)
        return Horizons(categories, pairs, np.minimum(self.of_pairs(pairs), other.of_pairs(pairs)))

    def renewed(self, wanted: "Horizons") -> tuple["Horizons", npt.NDArray[np.bool_]]:
        """These where they hold not much more than the wanted ones, elsewhere the smaller of both; where they changed.

        So that a day that adds a percent of offers leaves nearly all as they are, and a reserve holds at most TOO_DEEP
        times what is wanted. By category code; `wanted` knows at least the categories that this one knows.
        """
        size = len(wanted.categories)
        mine = np.full(size, HIGHEST_RANK)
        mine[: len(self.categories)] = self.categories
        lowered = np.minimum(mine, wanted.categories)
        changed = mine.astype(np.float64) > TOO_DEEP * lowered.astype(np.float64)
        of = (wanted.pairs >> np.uint64(32)).astype(np.int64)
        own = self.of_pairs(wanted.pairs)
        held, low = np.minimum(own, mine[of]).astype(np.float64), np.minimum(own, wanted.shops).astype(np.float64)
        changed[of[held > TOO_DEEP * low]] = True
        kept = Horizons(mine, self.pairs, self.shops)
        if not changed.any():
            return kept, changed
        return kept.replaced(kept.only(changed).lowered(wanted.only(changed)), changed), changed

    def only(self, categories: npt.NDArray[np.bool_]) -> "Horizons":
        """The same for categories, of shops only those of categories where `categories` is true."""
        mine = categories[(self.pairs >> np.uint64(32)).astype(np.int64)]
        return Horizons(self.categories, self.pairs[mine], self.shops[mine])

    def replaced(self, other: "Horizons", categories: npt.NDArray[np.bool_]) -> "Horizons":
        """The other's horizons where `categories` is true."""
        chosen = np.where(categories, other.categories, self.categories)
        mine, theirs = self.only(~categories), other.only(categories)
        pairs, shops = np.concatenate([mine.pairs, theirs.pairs]), np.concatenate([mine.shops, theirs.shops])
        order = np.argsort(pairs, kind="stable")
        return Horizons(chosen, pairs[order], shops[order])


def demand_of(counts: PairCounts, categories: int, settings: SamplingSettings) -> Demand:
    """The largest draw that any policy may ask for. Code 0 is the pool of offers without a label."""
    targets = np.full(categories, settings.per_category, dtype=np.int64)
    caps = np.full(categories, shop_cap(settings.per_category, settings.per_shop_share), dtype=np.int64)
    targets[0] = settings.unlabelled_per_country
    caps[0] = fair_cap(counts.offers[counts.categories == 0], settings.unlabelled_per_country)
    return Demand(targets, caps)


def shop_cap(target: int, share: float) -> int:
    """Offers of one shop among `target` of a category: the share, rounded up, so never less than one."""
    return max(1, int(np.ceil(round(share * target, 9))))


def fair_cap(offers_by_shop: Offers, target: int) -> int:
    """The smallest cap per shop with which the shops together fill the target; at least one."""
    low, high = 1, max(1, int(offers_by_shop.max(initial=1)))
    while low < high:
        middle = (low + high) // 2
        if int(np.minimum(offers_by_shop, middle).sum()) >= target:
            high = middle
        else:
            low = middle + 1
    return low


def set_horizons(
    counts: PairCounts, demand: Demand, settings: SamplingSettings, widen: Shares | float = 1.0
) -> Horizons:
    """Horizons that the census asks for. `widen` multiplies the fraction of the rank space, per category."""
    capped = counts.shops != 0
    capped |= counts.categories == 0
    needed = demand.needed(settings.per_shop_share)
    room = _room(needed, settings.reserve_slack) / (1 - 0.4 / np.sqrt(np.maximum(demand.caps, 1)))
    room[demand.targets == 0] = 0.0
    fractions = _category_fractions(counts, capped, demand.caps.astype(np.float64), room) * widen
    shop_room = _room(demand.caps, settings.reserve_slack)[counts.categories]
    deep = capped & (counts.offers > shop_room)
    wide = widen if isinstance(widen, float) else widen[counts.categories[deep]]
    shop_fractions = shop_room[deep] / counts.offers[deep] * wide
    return Horizons(_ranks(fractions), counts.pairs[deep], _ranks(shop_fractions))


def _room(wanted: Offers, slack: float) -> Shares:
    return np.asarray(np.maximum(slack * wanted, wanted + 4 * np.sqrt(wanted) + 4), dtype=np.float64)


def _category_fractions(counts: PairCounts, capped: npt.NDArray[np.bool_], caps: Shares, room: Shares) -> Shares:
    """For each category the smallest t with: sum over shops of min(offers * t, cap) >= room; 1 where none has it."""
    categories = len(room)
    codes = counts.categories
    offers = counts.offers.astype(np.float64)
    limit = np.where(capped, caps[codes], np.inf)
    total = np.bincount(codes, weights=offers, minlength=categories)
    reachable = np.bincount(codes, weights=np.minimum(offers, limit), minlength=categories)
    fractions = np.minimum(1.0, room / np.maximum(total, 1.0))
    fractions[reachable < room] = 1.0
    bound = np.zeros(categories, dtype=np.bool_)
    bound[codes[offers * fractions[codes] > limit]] = True
    bound &= fractions < 1.0
    chosen = bound[codes]
    codes, offers, limit = codes[chosen], offers[chosen], limit[chosen]
    low, high = fractions.copy(), np.ones(categories)
    for _ in range(BISECTIONS if len(codes) else 0):
        middle = np.sqrt(low * high)
        filled = np.bincount(codes, weights=np.minimum(offers * middle[codes], limit), minlength=categories) >= room
        high = np.where(filled, middle, high)
        low = np.where(filled, low, middle)
    return np.where(bound, high, fractions)


def _ranks(fractions: Shares) -> Keys:
    below = fractions < 1.0
    ranks = np.full(len(fractions), HIGHEST_RANK)
    ranks[below] = (fractions[below] * 2.0**64).astype(np.uint64)
    return ranks
