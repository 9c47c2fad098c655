"""Titles that no shop wrote, for the teacher to answer and a student to learn from: a transfer set.

A student that has heard the teacher on a few thousand titles has learned these by heart and guesses at the others. What
the teacher makes of a title's parts, and of parts of two titles together, tells which words, and which words together,
it goes by. Buciluă, Caruana, Niculescu-Mizil 2006, "Model Compression", who made up rows for the same reason.

Titles are made from training offers alone, so that no test offer is among what a student learns from.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.teacher.offers import TRAIN, Offers

LEAST_DROPPED, MOST_DROPPED = 0.2, 0.7  # share of a title's words that are left out
TRANSFER_STREAM = 5  # of random numbers
Words = list[str]


@dataclass(frozen=True)
class TransferTitles:
    """texts: made up, each once. countries: of the offers that they were made from; sources: these offers' keys, twice
    the same where it was one."""

    texts: list[str]
    countries: list[str]
    sources: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.texts)


def make_transfer_titles(
    offers: Offers, per_offer: float, seed: int, balance: float = 0.0, most: int | None = None
) -> TransferTitles:
    """About `per_offer` titles for each training offer, in equal parts: its words in another order; a run of them; some
    of them; its beginning with the end of another title of its category; the same with any other title.

    balance: an offer gives titles in proportion to (offers of its category) to the power of minus this, `most` at most.
    Fewer where titles are so short that the same come out twice, or the offers' own.
    """
    rows = np.flatnonzero(offers.split == TRAIN)
    written = [offers.texts[row] for row in rows]
    words = [text.split() for text in written]
    sisters = defaultdict(list)
    for place, row in enumerate(rows):
        sisters[offers.labels[row]].append(place)
    chance = np.random.default_rng([seed, TRANSFER_STREAM])
    keys = offers.keys[rows].tolist()
    made: dict[tuple[str, str], tuple[int, int]] = {}
    labels = [offers.labels[row] for row in rows]
    for place in draw_sources(weigh_sources(labels, balance), round(per_offer * len(rows)), most, chance):
        own = words[place]
        if not own:
            continue
        kind, other = int(chance.integers(len(SINGLE) + 2)), place
        if kind < len(SINGLE):
            changed = SINGLE[kind](own, chance)
        else:
            pool = sisters[offers.labels[rows[place]]] if kind == len(SINGLE) else range(len(rows))
            other = pool[int(chance.integers(len(pool)))]
            changed = _join(own, words[other], chance)
        made.setdefault((" ".join(changed), offers.countries[rows[place]]), (keys[place], keys[other]))
    known = set(written)
    kept = [key for key in made if key[0] not in known]
    texts, countries = [text for text, _ in kept], [country for _, country in kept]
    return TransferTitles(texts, countries, [made[key] for key in kept])


def weigh_sources(labels: Sequence[str | None], balance: float) -> npt.NDArray[np.float64]:
    """Of each offer, mean 1; an offer without a label weighs the mean."""
    sizes = Counter(label for label in labels if label is not None)
    weights = np.array([np.nan if label is None else sizes[label] ** -balance for label in labels])
    mean = np.nanmean(weights) if sizes else 1.0
    return np.where(np.isnan(weights), mean, weights) / mean


def draw_sources(
    weights: npt.NDArray[np.float64], wanted: int, most: int | None, chance: np.random.Generator
) -> list[int]:
    """About `wanted` places among the offers: each as often as it weighs, give or take one, `most` times at most."""
    if not wanted:
        return []
    times = weights * (wanted / weights.sum())
    if most is not None:
        times = _cap(times, most)
    whole = np.floor(times + chance.random(len(times))).astype(np.int64)
    places: list[int] = chance.permutation(np.repeat(np.arange(len(times)), whole)).tolist()
    return places


def _cap(times: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.float64]:
    """None above `most`; the others share what is left, in proportion."""
    wanted = min(float(times.sum()), float(most * len(times)))
    capped = np.zeros(len(times), np.bool_)
    while True:
        left = max(float(times[~capped].sum()), 1e-12)
        scaled = np.where(capped, most, times * (wanted - most * capped.sum()) / left)
        over = ~capped & (scaled > most)
        if not over.any():
            return scaled
        capped |= over


def _shuffle(words: Words, chance: np.random.Generator) -> Words:
    return [words[place] for place in chance.permutation(len(words))]


def _run(words: Words, chance: np.random.Generator) -> Words:
    length = int(chance.integers(1, len(words) + 1))
    start = int(chance.integers(len(words) - length + 1))
    return words[start : start + length]


def _drop(words: Words, chance: np.random.Generator) -> Words:
    kept = chance.random(len(words)) >= chance.uniform(LEAST_DROPPED, MOST_DROPPED)
    if not kept.any():
        kept[chance.integers(len(words))] = True
    return [word for word, stays in zip(words, kept, strict=True) if stays]


def _join(words: Words, others: Words, chance: np.random.Generator) -> Words:
    """A beginning of the one, which may be all of it or nothing, and an end of the other."""
    first, second = int(chance.integers(len(words) + 1)), int(chance.integers(len(others) + 1))
    return words[:first] + others[second:] or words


SINGLE: tuple[Callable[[Words, np.random.Generator], Words], ...] = (_shuffle, _run, _drop)
