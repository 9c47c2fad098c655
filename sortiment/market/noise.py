"""What goes wrong between a shop's database and a feed: typing errors, double spaces, shortened words."""

from functools import lru_cache

import numpy as np

VOWELS = frozenset("aeiouäöüáéíóúàèìòùâêîôûyAEIOUÄÖÜÁÉÍÓÚÀÈÌÒÙÂÊÎÔÛY")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIN_TYPO_CHARS = 5
ABBREVIATED_CHARS = 4


def add_typos(rng: np.random.Generator, titles: list[str], share: float) -> list[str]:
    """One typing error in `share` of the titles: a letter dropped, doubled, swapped with the next or replaced."""
    hit = np.flatnonzero(rng.random(len(titles)) < share)
    where, kinds = rng.random(len(hit)), rng.integers(0, 4, size=len(hit))
    letters = rng.integers(0, len(LETTERS), size=len(hit))
    titles = list(titles)
    for row, place, kind, letter in zip(hit, where, kinds, letters, strict=True):
        title = titles[row]
        if len(title) < MIN_TYPO_CHARS:
            continue
        at = 1 + int(place * (len(title) - 2))
        before, here, after = title[:at], title[at], title[at + 1 :]
        changed = (
            before + after,
            before + here + here + after,
            before + after[:1] + here + after[1:],
            before + LETTERS[letter] + after,
        )
        titles[row] = changed[kind]
    return titles


def add_double_spaces(rng: np.random.Generator, titles: list[str], share: float) -> list[str]:
    """Two spaces for the first one in `share` of the titles."""
    hit = rng.random(len(titles)) < share
    return [title.replace(" ", "  ", 1) if there else title for title, there in zip(titles, hit, strict=True)]


def abbreviate_words(title: str) -> str:
    """Each longer word by its first letter and the next consonants: 'Smartphone schwarz' -> 'Smrt. schw.'."""
    return " ".join(_abbreviate(word) for word in title.split(" "))


@lru_cache(maxsize=100_000)
def _abbreviate(word: str) -> str:
    if len(word) <= ABBREVIATED_CHARS or not word.isalpha():
        return word
    skeleton = word[0] + "".join(letter for letter in word[1:] if letter not in VOWELS)
    return skeleton[:ABBREVIATED_CHARS] + "."
