"""Which offers an epoch goes over: all, or what changed and a rehearsal of the rest."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from sortiment.settings import StudentSettings
from sortiment.student.corpus import NO_CLASS, Corpus
from sortiment.student.head import choose_rows

MOST_PASSES = 6  # of an epoch over a rare class's offers


def rows_to_learn(corpus: Corpus, changed: Collection[str] | None, settings: StudentSettings) -> npt.NDArray[np.int64]:
    """All training offers, names and made-up titles; or the offers of the partitions that changed with the names of
    their categories, and other offers rehearsed, rare classes whole."""
    train = corpus.rows("train")
    if changed is None:
        return train
    new = rows_of(corpus, changed)
    is_name = corpus.is_name[train]
    others = np.setdiff1d(train[corpus.is_offer[train]], new)
    rehearsed = choose_rows(corpus.labels, others, settings.rehearsed_offers, settings.seed)
    names = train[is_name & np.isin(corpus.labels[train], corpus.labels[new])]
    return np.union1d(np.union1d(new, names), rehearsed)


def rows_to_repeat(
    corpus: Corpus, rows: npt.NDArray[np.int64], changed: Collection[str] | None, settings: StudentSettings
) -> npt.NDArray[np.int64]:
    """What an epoch goes over once more: the changed partitions' offers, where they are fewer than the rehearsed.

    A class of median size gets `changed_passes`; others more or fewer, by the root of how much smaller they are.
    """
    own = rows[:0] if changed is None else rows_of(corpus, changed)
    if not len(own) or 2 * len(own) >= len(rows) or settings.changed_passes == 1:
        return own[:0]
    answer = np.where(corpus.labels[own] == NO_CLASS, corpus.top_index[own, 0], corpus.labels[own])
    _, member, size = np.unique(answer, return_inverse=True, return_counts=True)
    passes = settings.changed_passes * np.sqrt(np.median(size) / size)
    return np.repeat(own, np.rint(passes.clip(1, MOST_PASSES)).astype(np.int64)[member] - 1)


def rows_of(corpus: Corpus, partitions: Collection[str]) -> npt.NDArray[np.int64]:
    """The training offers of some partitions."""
    train = corpus.rows("train")
    train = train[corpus.is_offer[train]]
    places = [place for place, key in enumerate(corpus.partitions) if key in partitions]
    rows: npt.NDArray[np.int64] = train[np.isin(corpus.partition[train], places)]
    return rows
