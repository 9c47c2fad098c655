"""How large each signal gets when nothing has changed.

The reference is drawn twice, title by title with replacement: once as itself, once as many titles as the new offers
have. That is what two days of one and the same market look like. The resamples give the mean and the spread of every
signal under "no drift"; its tail is read from a normal distribution with these moments (a gamma distribution for PSI,
which is a sum of squares), since the tail that 500 tests at once need lies beyond any number of resamples.
"""

import math
from dataclasses import dataclass

import numpy as np

from sortiment.drift.sides import Floats, SliceOffers
from sortiment.drift.signals import Layout, SignalName, measure_signals

TINY = 1e-12


@dataclass(frozen=True)
class Chance:
    """Mean and standard deviation of a signal's value where nothing has changed."""

    mean: float
    deviation: float


def resample_reference(
    sums: Floats, weight: Floats, titles: int, layout: Layout, resamples: int, rng: np.random.Generator
) -> dict[SignalName, Chance]:
    """Draw the reference's titles (sums [titles, columns]) as reference and as `titles` new ones; repeat."""
    share = weight / weight.sum()
    reference = rng.multinomial(len(sums), share, resamples) @ sums
    current = rng.multinomial(titles, share, resamples) @ sums
    values = measure_signals(reference, current, layout)
    return {name: Chance(float(found.mean()), float(found.std(ddof=1))) for name, found in values.items()}


def widen(chance: Chance, name: SignalName, reference: SliceOffers, current: SliceOffers, layout: Layout) -> Chance:
    """Never a smaller spread than the two samples' own: a reference without a single mistake resamples to none.

    Shares get the pooled standard error of two shares, a macro-F1 that of its labels' shares, means Welch's.
    """
    if name == "macro_f1":
        floor = _f1_error(reference, current, layout)
    elif name in ("accuracy", "new_categories"):
        before, after = (side.new if name == "new_categories" else side.hit for side in (reference, current))
        pooled = (before.sum() + after.sum() + 0.5) / (len(before) + len(after) + 1.0)
        floor = math.sqrt(pooled * (1.0 - pooled) * (1.0 / _effective(reference) + 1.0 / len(current)))
    elif name == "category_mix":
        floor = 0.0
    else:
        old, new = (_per_title(name, side) for side in (reference, current))
        floor = math.sqrt(old.var() / _effective(reference) + new.var() / len(current))
        floor /= max(float(old.std()), TINY) if name == "title_length" else 1.0
    return Chance(chance.mean, max(chance.deviation, floor, TINY))


def chance_of(name: SignalName, value: float, chance: Chance) -> float:
    """Probability of a value at least as large (for `title_length`: as far from its mean) where nothing has changed."""
    if name == "category_mix":
        from scipy.special import gammaincc

        shape, scale = _gamma(chance)
        return float(gammaincc(shape, max(value, 0.0) / scale))
    far = (value - chance.mean) / chance.deviation
    if name == "title_length":
        return math.erfc(abs(far) / math.sqrt(2.0))
    return 0.5 * math.erfc(far / math.sqrt(2.0))


def critical_value(name: SignalName, chance: Chance, significance: float) -> float:
    """The value that chance exceeds with this probability (`title_length`: on both sides together)."""
    from scipy.special import gammainccinv, ndtri

    if name == "category_mix":
        shape, scale = _gamma(chance)
        return float(gammainccinv(shape, significance) * scale)
    tail = significance / 2 if name == "title_length" else significance
    return chance.mean - float(ndtri(tail)) * chance.deviation


def _gamma(chance: Chance) -> tuple[float, float]:
    """Shape and scale with the given mean and deviation."""
    mean, variance = max(chance.mean, TINY), max(chance.deviation, TINY) ** 2
    return mean**2 / variance, variance / mean


def _f1_error(reference: SliceOffers, current: SliceOffers, layout: Layout) -> float:
    """Standard error of the difference of two macro-F1, each F1 taken as a share of its label's offers."""
    variance = 0.0
    for category in layout.labelled:
        before, after = (side.hit[side.label == category] for side in (reference, current))
        pooled = (before.sum() + after.sum() + 0.5) / (len(before) + len(after) + 1.0)
        variance += pooled * (1.0 - pooled) * (1.0 / len(before) + 1.0 / len(after))
    return math.sqrt(variance) / len(layout.labelled)


def _per_title(name: SignalName, side: SliceOffers) -> Floats:
    if name == "novelty":
        return side.novel / np.maximum(side.words, 1.0)
    return side.confidence if name == "confidence" else side.length


def _effective(offers: SliceOffers) -> float:
    """How many unweighted offers the weighted ones are worth (Kish)."""
    return float(offers.weight.sum() ** 2 / np.square(offers.weight).sum())
