"""Which offers an epoch goes over: all, or what changed and a rehearsal of the rest."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from sortiment.settings import StudentSettings
from sortiment.student.corpus import Corpus
from sortiment.student.head import choose_rows


def rows_to_learn(corpus: Corpus, changed: Collection[str] | None, settings: StudentSettings) -> npt.NDArray[np.int64]:
    """All training offers; or those of the partitions that changed, and others rehearsed, rare classes whole."""
    train = corpus.rows("train")
    if changed is None:
        return train
    new = rows_of(corpus, changed)
    rehearsed = choose_rows(corpus.labels, np.setdiff1d(train, new), settings.rehearsed_offers, settings.seed)
    return np.union1d(new, rehearsed)


def rows_to_repeat(
    corpus: Corpus, rows: npt.NDArray[np.int64], changed: Collection[str] | None, settings: StudentSettings
) -> npt.NDArray[np.int64]:
    """What an epoch goes over once more: the changed partitions' offers, where they are fewer than the rehearsed."""
    own = rows[:0] if changed is None else rows_of(corpus, changed)
    return np.tile(own, settings.changed_passes - 1 if 2 * len(own) < len(rows) else 0)


def rows_of(corpus: Corpus, partitions: Collection[str]) -> npt.NDArray[np.int64]:
    """The training offers of some partitions."""
    train = corpus.rows("train")
    places = [place for place, key in enumerate(corpus.partitions) if key in partitions]
    rows: npt.NDArray[np.int64] = train[np.isin(corpus.partition[train], places)]
    return rows
