"""What stands on top of a candidate: a linear SVM on n-grams, and a linear probe on vectors.

Plain, well-known models on purpose: a ranking compares what they are given. The teacher's own are stronger.
"""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import EncoderError

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

WEIGHTS_AT_MOST = 2**26  # of the SVM's weight matrix, in numbers
LEAST_WEIGHT = 1e-3
COST = 0.5
ITERATIONS = 200
LABEL = "__label__"
FASTTEXT: dict[str, Any] = {"epoch": 50, "lr": 1.0, "wordNgrams": 2, "dim": 64, "bucket": 50_000}
COUNTED_TWICE_FROM = 500  # with so many offers an n-gram counts only where two have it


@dataclass(frozen=True)
class NgramSvm:
    """vectors: text to TF-IDF of words, word pairs and characters 3 and 4 in a row. svm: one-vs-rest, linear."""

    vectors: Any
    svm: Any

    @property
    def weights(self) -> int:
        return int(self.svm.coef_.size + self.svm.intercept_.size)

    def answer(self, texts: Sequence[str]) -> Classes:
        """The class index of each text."""
        answers: Classes = self.svm.predict(self.vectors.transform(texts))
        return answers


@dataclass(frozen=True)
class LinearProbe:
    """weight [features, classes] and bias [classes], on standardized features: mean, scale [features]."""

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def answer(self, features: Floats) -> Classes:
        """The class index of each row."""
        answers: Classes = (((features - self.mean) / self.scale) @ self.weight + self.bias).argmax(1)
        return answers


def fit_ngram_svm(texts: Sequence[str], labels: Classes, weights: Floats, seed: int) -> NgramSvm:
    """labels: 0 to classes - 1, each at least once. weights: of each text; classes are balanced beside."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union
    from sklearn.svm import LinearSVC

    shared = {
        "sublinear_tf": True,
        "dtype": np.float32,
        "min_df": 2 if len(texts) >= COUNTED_TWICE_FROM else 1,
        "max_features": max(1, WEIGHTS_AT_MOST // (int(labels.max()) + 1) // 2),
    }
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", **shared)  # noqa: S106 - not a password
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), **shared)
    vectors = make_union(words, characters)
    svm = LinearSVC(C=COST, class_weight="balanced", random_state=seed, tol=1e-2, max_iter=ITERATIONS, dual=True)
    with _stopping_early():
        svm.fit(vectors.fit_transform(texts), labels, np.maximum(weights, LEAST_WEIGHT))
    return NgramSvm(vectors, svm)


def fit_probe(features: Floats, labels: Classes, weights: Floats, decay: float) -> LinearProbe:
    """Multinomial logistic regression. labels: 0 to classes - 1, each at least once.

    An offer weighs by the root of its category's rarity, so that large categories do not drown the tail. decay: L2
    penalty beside the mean loss.
    """
    from sklearn.linear_model import LogisticRegression

    rarity = 1.0 / np.sqrt(np.bincount(labels)[labels])
    each = rarity * np.maximum(weights, LEAST_WEIGHT)
    mean, scale = features.mean(0), features.std(0) + np.float32(1e-4)
    solver = LogisticRegression(C=1.0 / (2 * decay * len(labels)), max_iter=ITERATIONS, tol=1e-3)
    with _stopping_early():
        solver.fit((features - mean) / scale, labels, each / each.mean())
    weight, bias = solver.coef_.T.astype(np.float32), solver.intercept_.astype(np.float32)
    if weight.shape[1] == 1:  # one column for two classes
        weight, bias = np.hstack([-weight, weight]), np.concatenate([-bias, bias])
    return LinearProbe(mean, scale, weight, bias)


@dataclass(frozen=True)
class FastText:
    """model: of the fastText library. bytes: as it is saved, the same as in memory."""

    model: Any
    bytes: int

    def answer(self, texts: Sequence[str]) -> Classes:
        """The class index of each text."""
        labels, _ = self.model.predict([_plain(text) for text in texts])
        return np.array([int(found[0].removeprefix(LABEL)) for found in labels], np.int64)


def fit_fasttext(texts: Sequence[str], labels: Classes, seed: int) -> FastText:
    """Words and pairs of words (Joulin et al. 2017). Raises EncoderError where the library is not installed."""
    try:
        import fasttext
    except ImportError as error:
        raise EncoderError(
            "fastText is not installed", value="fasttext", fix="pip install fasttext-community"
        ) from error
    with tempfile.TemporaryDirectory(prefix="sortiment-fasttext-") as folder:
        file = Path(folder) / "train.txt"
        lines = (f"{LABEL}{label} {_plain(text)}\n" for text, label in zip(texts, labels.tolist(), strict=True))
        file.write_text("".join(lines), encoding="utf-8")
        model = fasttext.train_supervised(str(file), thread=1, seed=seed, verbose=0, loss="softmax", **FASTTEXT)
    words, rows = model.get_input_matrix(), model.get_output_matrix()
    return FastText(model, words.nbytes + rows.nbytes)


def _plain(text: str) -> str:
    """Lower case on one line, as fastText's own recipe asks."""
    return " ".join(text.lower().split())


def _stopping_early() -> warnings.catch_warnings:
    """The iterations are bounded; solvers that would go on warn of it."""
    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
