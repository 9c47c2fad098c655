"""The expert that knows spelling: ridge regression on TF-IDF of hashed word and character n-grams.

It sees what encoders blur (model numbers, brands, units). Words and word pairs, and characters within words, each
group of unit length, so that both count the same. An offer in a language that it never saw shares few n-grams with
the training offers and gets scores near 0 for every class: the sum then follows the encoder. What it knows of the
categories' names is a ridge regression on the names alone, its prior.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sortiment.teacher.names import NameTexts
from sortiment.teacher.ridge import (
    Floats,
    Ints,
    RidgeFit,
    fit_exact,
    fit_on_landmarks,
    group_landmarks,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD_GRAMS = (1, 2)
CHARACTER_GRAMS = (3, 4)
HASH_BITS = 22
WORD = r"(?u)\w+"
ROWS_PER_BLOCK = 1024
CLASSES_PER_BLOCK = 256
FILE = "ngram_expert.safetensors"


class NgramExpert:
    """columns: int64, the hashed n-grams of training offers and names, ascending. idf: [columns]. landmarks: sparse
    [m, columns]. coefficients: [m, classes]."""

    def __init__(
        self, columns: npt.NDArray[np.int64], idf: Floats, landmarks: "csr_matrix", coefficients: Floats
    ) -> None:
        self.columns, self.idf = columns, idf
        self.landmarks, self.coefficients = landmarks, coefficients

    def scores(self, texts: Sequence[str]) -> Floats:
        """float32 [n, classes]."""
        return self.score_vectors(weigh(count_ngrams(texts), self.columns, self.idf))

    def score_vectors(self, vectors: "csr_matrix") -> Floats:
        """float32 [n, classes]. vectors: as `weigh` gives them."""
        scores = np.empty((vectors.shape[0], self.coefficients.shape[1]), np.float32)
        for at, weights in self._class_blocks():
            scores[:, at : at + weights.shape[1]] = vectors @ weights
        return scores

    @cached_property
    def _small_weights(self) -> Floats:
        weights: Floats = self.landmarks.T @ self.coefficients
        return weights

    def _class_blocks(self) -> Any:
        """The linear kernel folds landmarks into one weight per n-gram and class; many classes a block at a time."""
        classes = self.coefficients.shape[1]
        if classes <= CLASSES_PER_BLOCK:
            yield 0, self._small_weights
            return
        for start in range(0, classes, CLASSES_PER_BLOCK):
            block = np.ascontiguousarray(self.coefficients[:, start : start + CLASSES_PER_BLOCK])
            yield start, self.landmarks.T @ block

    def joined(self, added: "NgramExpert", strength: float) -> "NgramExpert":
        """One expert whose scores are its own and `strength` times those of another that begins with its landmarks."""
        coefficients = np.float32(strength) * added.coefficients
        coefficients[: len(self.coefficients)] += self.coefficients
        return NgramExpert(self.columns, self.idf, added.landmarks, coefficients)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {
            "columns": self.columns,
            "idf": self.idf,
            "landmark_starts": self.landmarks.indptr.astype(np.int64),
            "landmark_columns": self.landmarks.indices.astype(np.int32),
            "landmark_values": self.landmarks.data,
            "coefficients": self.coefficients,
        }
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / FILE)
        (folder / FILE).chmod(0o644)

    @classmethod
    def load(cls, folder: Path) -> "NgramExpert":
        from safetensors.numpy import load_file
        from scipy.sparse import csr_matrix

        arrays = load_file(folder / FILE)
        landmarks = csr_matrix(
            (arrays["landmark_values"], arrays["landmark_columns"], arrays["landmark_starts"]),
            shape=(len(arrays["coefficients"]), len(arrays["columns"])),
        )
        return cls(arrays["columns"], arrays["idf"], landmarks, arrays["coefficients"])


def fit_ngram_expert(
    texts: Sequence[str],
    labels: Ints,
    classes: int,
    weights: Floats,
    *,
    regularization: float,
    exact_offers: int,
    landmarks: int,
    seed: int,
    name_regularization: float,
    names: NameTexts | None = None,
) -> tuple[NgramExpert, RidgeFit, NgramExpert | None]:
    """texts: of the training offers, without a prompt; labels, weights: of each. names: of the classes. The second
    expert says what the names add to the first (`ridge`); None without names."""
    counts = count_ngrams(texts)
    named = count_ngrams(names.texts) if names is not None else ()
    columns = np.unique(np.concatenate([part.indices for part in (*counts, *named)]))
    idf = _idf(counts, columns, len(texts))
    vectors = weigh(counts, columns, idf)
    prior = None if names is None else _fit_prior(names, columns, idf, classes, name_regularization)
    if len(labels) <= exact_offers:
        means, known = vectors, None if prior is None else prior.score_vectors(vectors)
        fit = fit_exact(_linear_kernel(vectors, vectors), labels, classes, weights, regularization, known)
    else:
        means = _means(vectors, group_landmarks(labels, landmarks, seed))

        def blocks(start: int, stop: int) -> Floats:
            return _linear_kernel(vectors[start:stop], means)

        def prior_blocks(start: int, stop: int) -> Floats:
            assert prior is not None
            return prior.score_vectors(vectors[start:stop])

        kernel = _linear_kernel(means, means)
        fit = fit_on_landmarks(
            blocks, kernel, labels, classes, weights, regularization, None if prior is None else prior_blocks
        )
    own = NgramExpert(columns, idf, means, fit.coefficients)
    if prior is None or fit.smoothing is None:
        return own, fit, None
    from scipy.sparse import vstack

    rows = vstack([means, prior.landmarks], format="csr")
    return own, fit, NgramExpert(columns, idf, rows, np.vstack([-fit.smoothing, prior.coefficients]))


def _fit_prior(
    names: NameTexts, columns: npt.NDArray[np.int64], idf: Floats, classes: int, regularization: float
) -> NgramExpert:
    rows = names.gathered(weigh(count_ngrams(names.texts), columns, idf))
    fit = fit_exact(_linear_kernel(rows, rows), names.classes, classes, names.weights, regularization)
    return NgramExpert(columns, idf, rows, fit.coefficients)


def count_ngrams(texts: Sequence[str]) -> tuple["csr_matrix", "csr_matrix"]:
    """Hashed counts of word n-grams, and of character n-grams: each sparse [n, 2 ** 22]; characters in odd columns."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    if not len(texts):  # the vectorizer asks for one at least
        return csr_matrix((0, 2**HASH_BITS), dtype=np.float32), csr_matrix((0, 2**HASH_BITS), dtype=np.float32)
    shared = {"n_features": 2 ** (HASH_BITS - 1), "alternate_sign": False, "norm": None, "dtype": np.float32}
    words = HashingVectorizer(ngram_range=WORD_GRAMS, token_pattern=WORD, **shared).transform(texts)
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=CHARACTER_GRAMS, **shared).transform(texts)
    for part, odd in ((words, 0), (characters, 1)):
        part.indices = part.indices.astype(np.int64) * 2 + odd
    return words, characters


def weigh(counts: tuple["csr_matrix", "csr_matrix"], columns: npt.NDArray[np.int64], idf: Floats) -> "csr_matrix":
    """(1 + log count) times idf, each of the two groups of unit length: sparse [n, columns]."""
    from scipy.sparse import csr_matrix

    total: Any = None
    for part in counts:
        at = np.minimum(np.searchsorted(columns, part.indices), max(len(columns) - 1, 0))
        known = columns[at] == part.indices if len(columns) else np.zeros(len(at), bool)
        rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))[known]
        values = (1.0 + np.log(part.data[known])) * idf[at[known]]
        norms = np.sqrt(np.bincount(rows, values.astype(np.float64) ** 2, minlength=part.shape[0]))
        values = (values / np.maximum(norms[rows], 1e-12)).astype(np.float32)
        matrix = csr_matrix((values, (rows, at[known])), shape=(part.shape[0], len(columns)))
        total = matrix if total is None else total + matrix
    total.sort_indices()
    return total


def _idf(counts: tuple["csr_matrix", "csr_matrix"], columns: npt.NDArray[np.int64], offers: int) -> Floats:
    found = np.concatenate([np.searchsorted(columns, part.indices) for part in counts])
    frequency = np.bincount(found, minlength=len(columns))
    idf: Floats = (np.log((1.0 + offers) / (1.0 + frequency)) + 1.0).astype(np.float32)
    return idf


def _linear_kernel(left: "csr_matrix", right: "csr_matrix") -> Floats:
    kernel = np.empty((left.shape[0], right.shape[0]), np.float32)
    turned = right.T.tocsr()
    for start in range(0, left.shape[0], ROWS_PER_BLOCK):
        kernel[start : start + ROWS_PER_BLOCK] = (left[start : start + ROWS_PER_BLOCK] @ turned).toarray()
    return kernel


def _means(rows: "csr_matrix", groups: npt.NDArray[np.int64]) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    counts = np.bincount(groups)
    share = (1.0 / counts[groups]).astype(np.float32)
    members = csr_matrix((share, (groups, np.arange(len(groups)))), shape=(len(counts), len(groups)))
    return members @ rows
