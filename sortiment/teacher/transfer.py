"""Titles that no shop wrote, for the teacher to answer and a student to learn from: a transfer set.

A student that has heard the teacher on a few thousand titles has learned these by heart and guesses at the others. What
the teacher makes of a title's parts, and of parts of two titles together, tells which words, and which words together,
it goes by. Buciluă, Caruana, Niculescu-Mizil 2006, "Model Compression", who made up rows for the same reason.

Titles are made from training offers alone, so that no test offer is among what a student learns from.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sortiment.teacher.offers import TRAIN, Offers

LEAST_DROPPED, MOST_DROPPED = 0.2, 0.7  # share of a title's words that are left out
TRANSFER_STREAM = 5  # of random numbers
Words = list[str]


@dataclass(frozen=True)
class TransferTitles:
    """texts: made up, each once. countries: of the offers that they were made from."""

    texts: list[str]
    countries: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def make_transfer_titles(offers: Offers, per_offer: float, seed: int) -> TransferTitles:
    """About `per_offer` titles for each training offer, in equal parts: its words in another order; a run of them; some
    of them; its beginning with the end of another title of its category; the same with any other title.

    Fewer where titles are so short that the same come out twice, or the offers' own.
    """
    rows = np.flatnonzero(offers.split == TRAIN)
    written = [offers.texts[row] for row in rows]
    words = [text.split() for text in written]
    sisters = defaultdict(list)
    for place, row in enumerate(rows):
        sisters[offers.labels[row]].append(place)
    chance = np.random.default_rng([seed, TRANSFER_STREAM])
    made: dict[tuple[str, str], None] = {}
    for place in _sources(len(rows), round(per_offer * len(rows)), chance):
        own = words[place]
        if not own:
            continue
        kind = int(chance.integers(len(SINGLE) + 2))
        if kind < len(SINGLE):
            changed = SINGLE[kind](own, chance)
        else:
            pool = sisters[offers.labels[rows[place]]] if kind == len(SINGLE) else range(len(rows))
            changed = _join(own, words[pool[int(chance.integers(len(pool)))]], chance)
        made[" ".join(changed), offers.countries[rows[place]]] = None
    known = set(written)
    kept = [key for key in made if key[0] not in known]
    return TransferTitles([text for text, _ in kept], [country for _, country in kept])


def _sources(offers: int, wanted: int, chance: np.random.Generator) -> list[int]:
    """`wanted` places among the offers, all of them equally often, give or take one."""
    rounds = -(-wanted // max(offers, 1))
    places = [place for _ in range(rounds) for place in chance.permutation(offers).tolist()]
    return places[:wanted]


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
