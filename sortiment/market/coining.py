"""Words that no language has: brands, product lines and the new words that a drift brings.

They are pronounceable, so that tokenizers and n-grams treat them as words. Any likeness to a real name is chance.
"""

import hashlib
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

ONSETS = (
    *"bdfgklmnprstvz",
    *("br", "cl", "cr", "dr", "fl", "fr", "gl", "gr", "kl", "kr", "pl", "pr", "qu", "sk", "sl", "sp", "st", "tr"),
)
VOWELS = (*"aeiouaeiouaeiou", "ai", "au", "ei", "ie", "ou")
CODAS = ("", "", "", "", *"nrlsxmk", "nd", "rt", "lt")


def coin_words(rng: np.random.Generator, count: int, syllables: tuple[int, int] = (2, 3)) -> list[str]:
    """`count` different words with a capital letter, of `syllables[0]` to `syllables[1]` syllables."""
    words: dict[str, None] = {}
    while len(words) < count:
        missing = count - len(words)
        lengths = rng.integers(syllables[0], syllables[1] + 1, size=missing)
        onsets = rng.integers(0, len(ONSETS), size=(missing, syllables[1]))
        vowels = rng.integers(0, len(VOWELS), size=(missing, syllables[1]))
        codas = rng.integers(0, len(CODAS), size=missing)
        for length, onset, vowel, coda in zip(lengths, onsets, vowels, codas, strict=True):
            body = "".join(ONSETS[onset[at]] + VOWELS[vowel[at]] for at in range(length))
            words.setdefault((body + CODAS[coda]).capitalize())
    return list(words)


def replacement_words(words: Iterable[str], seed: int, taken: Collection[str]) -> dict[str, str]:
    """A one-to-one map from each word to a coined lower-case word that is not in `taken`.

    The coined word depends on the seed and the word alone, except where two would collide: so the same word gets
    the same replacement in every part of a table.
    """
    replacements: dict[str, str] = {}
    used = set(taken)
    for word in sorted(set(words)):
        attempt = 0
        coined = _coin_from(word, seed, attempt)
        while coined in used:
            attempt += 1
            coined = _coin_from(word, seed, attempt)
        used.add(coined)
        replacements[word] = coined
    return replacements


def _coin_from(word: str, seed: int, attempt: int) -> str:
    digest = hashlib.blake2b(f"{seed}\x1f{attempt}\x1f{word}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    return coin_words(rng, 1, syllables=(3, 3))[0].lower()


def uniform_numbers(keys: Iterable[str], seed: int) -> NDArray[np.float64]:
    """One number in [0, 1) per key; it depends on the seed and the key alone."""
    digests = [hashlib.blake2b(f"{seed}\x1f{key}".encode(), digest_size=8).digest() for key in keys]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.float64) / 2.0**64
