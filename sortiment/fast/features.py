"""The features of the training texts: words, pairs of words and spellings, weighed as the network will weigh them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sortiment.fast.network import Floats, fill_bags, spelling_weights
from sortiment.fast.spelling import BUCKETS, Buckets, rows_of_buckets, spell
from sortiment.fast.words import WordReader, list_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Features:
    """texts: sparse [texts, rows], each of length 1; rows: words with a row of their own, pairs, words without.

    words: those with a row. pairs, runs: buckets that have a row. own: [rows], each row's own feature (0 = none).
    spelling: sparse [rows, runs]. mass: [rows], squared length. rarity: [runs]. new_rarity: of an unknown word.
    """

    texts: "csr_matrix"
    words: list[str]
    pairs: Buckets
    runs: Buckets
    own: Floats
    spelling: "csr_matrix"
    mass: Floats
    rarity: Floats
    new_rarity: float

    @property
    def table_rows(self) -> int:
        return len(self.words) + self.pairs.size

    def composed(self) -> "csr_matrix":
        """[texts, table rows and behind them runs], sparse: how much of each row's own and of each run's a text has."""
        from scipy.sparse import diags, hstack

        own = self.texts[:, : self.table_rows] @ diags(self.own[: self.table_rows])
        joined = hstack([own, self.texts @ self.spelling], format="csr", dtype=np.float32)
        joined.eliminate_zeros()
        return joined

    def spread(self, values: Floats) -> tuple[Floats, Floats]:
        """From what each row should say, [rows, classes], to what its features say: of all rows, and of the runs."""
        runs: Floats = self.spelling.T @ values
        rows: Floats = self.spelling @ runs
        rows += np.square(self.own)[:, None] * values
        return rows, runs


def collect_features(
    texts: Sequence[str], max_words: int, least: int, most_rows: int, further: Sequence[str] = ()
) -> Features:
    """texts: of the training offers and names. least: of them that a word, pair or run is in to get a row; more, until
    there are at most `most_rows`. further: texts that come behind these and have the same words; they get no rows."""
    from scipy.sparse import csr_matrix

    everything = list_words(texts)
    reading = WordReader(everything).read(texts, max_words)
    seen = _texts_with(reading.owner, reading.words, len(everything))
    spellings = [spell(word) for word in everything]
    word_of_run = np.repeat(np.arange(len(everything)), [one.size for one in spellings])
    buckets = np.concatenate(spellings) if spellings else np.zeros(0, np.int32)
    run_seen = np.bincount(buckets, seen[word_of_run], minlength=BUCKETS)
    _, _, owner = pairs = fill_bags(reading, len(everything), np.arange(BUCKETS, dtype=np.int32) + len(everything))
    is_pair = pairs[0] >= len(everything)
    pair_seen = _texts_with(owner[is_pair], pairs[0][is_pair] - len(everything), BUCKETS)
    least = _raise_least((seen, run_seen, pair_seen), least, most_rows)

    # words with a row come first, so that their numbers, and their pairs' buckets, are those of the reader
    has_row = seen >= least
    order = np.concatenate([np.flatnonzero(has_row), np.flatnonzero(~has_row)])
    words, others = int(has_row.sum()), int((~has_row).sum())
    renumbered = WordReader([everything[number] for number in order]).read([*texts, *further], max_words)
    place = np.argsort(order)
    rarity_of_word = _rarity(np.where(has_row, seen, 0)[order], len(texts))
    runs = np.flatnonzero(run_seen >= least).astype(np.int32)
    rarity = _rarity(np.minimum(run_seen[runs], len(texts)), len(texts))
    kept = np.isin(buckets, runs)
    run, word = rows_of_buckets(runs)[buckets[kept]], place[word_of_run[kept]]
    weights = spelling_weights(word, run, rarity, rarity_of_word.astype(np.float64))

    bags = fill_bags(renumbered, words, np.arange(BUCKETS, dtype=np.int32) + words)
    is_pair = (bags[0] >= words) & (bags[2] < len(texts))
    seen_now = _texts_with(bags[2][is_pair], bags[0][is_pair] - words, BUCKETS)
    pair = np.flatnonzero(seen_now >= least).astype(np.int32)
    rows, _, owner = fill_bags(renumbered, words, _shift(rows_of_buckets(pair), words))
    lost = (renumbered.words >= words) & (renumbered.words < len(everything))
    rows = np.concatenate([rows, renumbered.words[lost] + np.int32(pair.size)])
    owner = np.concatenate([owner, renumbered.owner[lost]])

    def by_row(of_words: npt.NDArray[np.float64], of_pairs: npt.NDArray[np.float64]) -> Floats:
        joined: Floats = np.concatenate([of_words[:words], of_pairs, of_words[words:]]).astype(np.float32)
        return joined

    own_word = np.where(np.arange(words + others) < words, rarity_of_word, 0.0)
    own_pair = _rarity(seen_now[pair], len(texts)).astype(np.float64)
    spelled = np.bincount(word, minlength=words + others) > 0
    row_of_word = np.where(word < words, word, word + pair.size)
    total = words + pair.size + others
    mass = by_row(own_word**2 + np.where(spelled, rarity_of_word, 0.0) ** 2, own_pair**2)
    every = len(texts) + len(further)
    size = np.sqrt(np.maximum(np.bincount(owner, mass[rows], minlength=every), 1e-12))
    return Features(
        texts=csr_matrix(((1 / size[owner]).astype(np.float32), (owner, rows)), shape=(every, total)),
        words=[everything[number] for number in order[:words]],
        pairs=pair,
        runs=runs,
        own=by_row(own_word, own_pair),
        spelling=csr_matrix((weights, (row_of_word, run)), shape=(total, runs.size)),
        mass=mass,
        rarity=rarity,
        new_rarity=float(_rarity(np.zeros(1), len(texts))[0]),
    )


def _texts_with(owner: npt.NDArray[np.int64], what: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """How many texts each thing is in."""
    there = np.unique(owner * np.int64(max(count, 1)) + what)
    return np.bincount(there % max(count, 1), minlength=count)


def _raise_least(seen: Sequence[npt.NDArray[np.generic]], least: int, most_rows: int) -> int:
    """The smallest number of texts, `least` or more, that leaves at most `most_rows`."""
    counts = np.sort(np.concatenate(seen).astype(np.float64))[::-1]
    if most_rows < counts.size:
        least = max(least, int(counts[most_rows]) + 1)
    return least


def _rarity(seen: npt.NDArray[np.generic], texts: int) -> Floats:
    """Inverse document frequency."""
    rarity: Floats = (np.log((1.0 + texts) / (1.0 + seen.astype(np.float64))) + 1.0).astype(np.float32)
    return rarity


def _shift(rows: npt.NDArray[np.int32], by: int) -> npt.NDArray[np.int32]:
    return np.where(rows >= 0, rows + np.int32(by), rows)
