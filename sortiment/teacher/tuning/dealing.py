"""Which training offers are left out together, and which classes a mistake between them costs less."""

from collections.abc import Sequence

import numpy as np

from sortiment.teacher.names import CategoryNames
from sortiment.teacher.ridge import Ints


def deal_folds(texts: Sequence[str], labels: Ints, folds: int, seed: int) -> Ints:
    """Each offer's fold, int64 [n]: equal texts (but for case) in one, each class's texts spread over all evenly."""
    folded = [text.casefold() for text in texts]
    first_of: dict[str, int] = {}
    for row, text in enumerate(folded):
        first_of.setdefault(text, row)
    number = {text: place for place, text in enumerate(sorted(first_of))}
    first = np.array([first_of[text] for text in number], np.int64)
    order = np.lexsort((np.random.default_rng([seed, 31]).random(len(first)), labels[first]))
    fold_of_text = np.empty(len(first), np.int64)
    fold_of_text[order] = np.arange(len(first)) % folds
    dealt: Ints = fold_of_text[[number[text] for text in folded]]
    return dealt


def departments_of(names: CategoryNames, classes: Sequence[str]) -> Ints:
    """Each class's top level, int64 [classes]; a class whose path is not known is a department of its own."""
    tops: dict[tuple[str, ...], int] = {}
    found = [(str(names[name][0][0]),) if names.get(name) else ("", name) for name in classes]
    return np.array([tops.setdefault(top, len(tops)) for top in found], np.int64)
