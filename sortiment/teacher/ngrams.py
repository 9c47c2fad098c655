"""The n-gram model: what encoders blur (model numbers, brands, spelling) a linear model over hashed n-grams sees.

Words and word pairs, and character 2- to 5-grams within words, hashed into one table each, weighted by TF-IDF; one linear
SVM per class (squared hinge), the strongest simple model on titles (docs/experiments.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.teacher.heads import Classes, Floats

WEIGHTS_AT_MOST = 2**27  # of the weight matrix, in numbers
LARGEST_TABLE, SMALLEST_TABLE = 2**18, 2**14
COST = 0.5


@dataclass(frozen=True)
class NgramModel:
    """table: buckets of each of the two hash tables. kept: buckets that occurred, ascending. idf, weight: of those."""

    table: int
    kept: npt.NDArray[np.int64]
    idf: Floats
    weight: Floats
    bias: Floats

    def scores(self, texts: Sequence[str]) -> Floats:
        """(offers, classes) margins, to be turned into probabilities by the ensemble's temperature."""
        counts = count_ngrams(texts, self.table)[:, self.kept]
        scores: Floats = (_weigh(counts, self.idf) @ self.weight.T.astype(np.float32)) + self.bias
        return np.asarray(scores, dtype=np.float32)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"kept": self.kept, "idf": self.idf, "weight": self.weight.astype(np.float16), "bias": self.bias}


def fit_ngrams(texts: Sequence[str], labels: Classes, classes: int, seed: int) -> NgramModel:
    """Fit on texts with class indices; every class has at least one text."""
    from sklearn.svm import LinearSVC

    table = LARGEST_TABLE
    while table > SMALLEST_TABLE and 2 * table * classes > WEIGHTS_AT_MOST:
        table //= 2
    counts = count_ngrams(texts, table)
    seen = np.asarray((counts > 0).sum(0)).ravel()
    kept = np.flatnonzero(seen >= (2 if len(texts) > 500 else 1))
    idf = (np.log((1 + len(texts)) / (1 + seen[kept])) + 1).astype(np.float32)
    inputs = _weigh(counts[:, kept], idf)
    solver = LinearSVC(C=COST, class_weight="balanced", random_state=seed, max_iter=300, tol=1e-2, dual=True)
    solver.fit(inputs, labels)
    found = solver.coef_.astype(np.float32), solver.intercept_.astype(np.float32)
    if len(solver.classes_) == 2:  # one column for two classes
        found = np.vstack([-found[0], found[0]]), np.concatenate([-found[1], found[1]])
    weight = np.zeros((classes, len(kept)), np.float32)
    bias = np.full(classes, -1.0, np.float32)
    weight[solver.classes_], bias[solver.classes_] = found
    return NgramModel(table, kept, idf, weight.astype(np.float16), bias)


def count_ngrams(texts: Sequence[str], table: int) -> Any:
    """(offers, 2 * table) sparse: 1 + log of the count of words and pairs, then of character n-grams."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    shared = {"n_features": table, "alternate_sign": False, "norm": None, "dtype": np.float32}
    words = HashingVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **shared)
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared)
    counts = hstack([words.transform(texts), characters.transform(texts)]).tocsr()
    counts.data = 1 + np.log(counts.data)
    return counts


def _weigh(counts: Any, idf: Floats) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(counts.multiply(idf).tocsr(), copy=False).astype(np.float32)
