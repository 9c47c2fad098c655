"""The baselines: what anybody would try first, tuned as fairly as our own models, on the same texts.

TF-IDF of words, word pairs and characters under a linear SVM with balanced classes: the characters' range and C are
chosen by macro-F1 on validation offers. fastText (Joulin et al. 2017): words and pairs, with or without subwords, and
how long to learn, chosen the same way. Both are calibrated on validation offers, as our models are. Without validation
offers each is its first candidate, uncalibrated, and says so.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.errors import TrainingError
from sortiment.evaluation import macro_f1
from sortiment.progress import Step

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CODE_VERSION = "2"  # with a slope over entropy
CHARACTER_RANGES = ((3, 4), (2, 5))
COSTS = (1.0, 0.3, 3.0)
FIRST_COST = COSTS[0]
SVM_CANDIDATES = len(CHARACTER_RANGES) + len(COSTS) - 1
ITERATIONS = 1_000
MARGIN_SCALE = 5.0  # brings the best temperature near 1
TOLERANCE = 2e-2  # a tenth of the time of 1e-3, the same macro-F1
FASTTEXT = (
    {"epoch": 50, "lr": 1.0, "wordNgrams": 2},
    {"epoch": 50, "lr": 1.0, "wordNgrams": 2, "minn": 3, "maxn": 5},
)
FASTTEXT_ROWS, FASTTEXT_WIDTH = 500_000, 64
LABEL = "__label__"
UNJUDGED = {"by": "default, not calibrated: no validation offer of a learned category"}

Scorer = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline. score: texts to float32 [n, classes], bigger is likelier. chosen: what validation chose."""

    score: Scorer
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Lesson:
    """What a baseline learns from. labels: class numbers; validation labels may be -1 for classes never trained."""

    texts: Sequence[str]
    labels: Ints
    validation_texts: Sequence[str]
    validation_labels: Ints
    classes: int
    seed: int

    @property
    def judged(self) -> bool:
        """Whether there is anything to choose and calibrate by."""
        return bool((self.validation_labels >= 0).any())


def fit_tfidf(lesson: Lesson, step: Step) -> Baseline:
    """The best of a few SVMs: first the characters' range at one C, then C at that range. The first where nothing can
    judge them."""
    best: tuple[float, Baseline] | None = None
    vectors: dict[tuple[int, int], Any] = {}

    def attempt(characters: tuple[int, int], cost: float) -> None:
        nonlocal best
        if characters not in vectors:
            vectors.clear()
            vectors[characters] = _vectorize(lesson.texts, characters)
        vectorizer, matrix = vectors[characters]
        found = _fit_svm(vectorizer, matrix, lesson, characters, cost)
        value = _validation_score(found, lesson)
        if best is None or value > best[0]:
            best = (value, found)
        step.advance(note=f"tfidf {characters} C {cost:g}: {value:.3f}")

    for characters in reversed(CHARACTER_RANGES if lesson.judged else CHARACTER_RANGES[-1:]):
        attempt(characters, FIRST_COST)
    assert best is not None
    characters = tuple(best[1].chosen["characters"])
    for cost in COSTS[1:] if lesson.judged else ():
        attempt((characters[0], characters[1]), cost)
    return best[1]


def _vectorize(texts: Sequence[str], characters: tuple[int, int]) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    shared: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", **shared)  # noqa: S106 - not a password
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=characters, **shared)
    vectorizer = make_union(words, pieces)
    return vectorizer, vectorizer.fit_transform(texts)


def _fit_svm(vectorizer: Any, matrix: Any, lesson: Lesson, characters: tuple[int, int], cost: float) -> Baseline:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    svm = LinearSVC(C=cost, class_weight="balanced", random_state=lesson.seed, max_iter=ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are bounded
        svm.fit(matrix, lesson.labels)

    def score(texts: Sequence[str]) -> Floats:
        margins = MARGIN_SCALE * svm.decision_function(vectorizer.transform(texts)).astype(np.float32)
        if margins.ndim == 1:
            margins = np.stack([-margins, margins], 1)
        full = np.full((len(texts), lesson.classes), -10.0 * MARGIN_SCALE, np.float32)
        full[:, svm.classes_] = margins
        return full

    return Baseline(score, {"characters": list(characters), "C": cost})


def fit_fasttext(lesson: Lesson, step: Step) -> Baseline:
    """The best of a few fastText models; the first where nothing can judge them.

    Raises TrainingError where the library is not installed.
    """
    found: list[tuple[float, Baseline]] = []
    with tempfile.TemporaryDirectory(prefix="sortiment-fasttext-") as folder:
        file = Path(folder) / "train.txt"
        lines = (f"{LABEL}{label} {_plain(text)}\n" for text, label in zip(lesson.texts, lesson.labels, strict=True))
        file.write_text("".join(lines), encoding="utf-8")
        for settings in FASTTEXT if lesson.judged else FASTTEXT[:1]:
            baseline = _train_fasttext(file, settings, lesson)
            found.append((_validation_score(baseline, lesson), baseline))
            step.advance(note=f"fasttext {settings}: {found[-1][0]:.3f}")
    return max(found, key=lambda one: one[0])[1]


def _train_fasttext(file: Path, settings: dict[str, Any], lesson: Lesson) -> Baseline:
    model = _fasttext().train_supervised(
        str(file),
        thread=1,
        seed=lesson.seed,
        verbose=0,
        dim=FASTTEXT_WIDTH,
        bucket=FASTTEXT_ROWS,
        loss="softmax",
        **settings,
    )

    def score(texts: Sequence[str]) -> Floats:
        logs = np.full((len(texts), lesson.classes), -20.0, np.float32)
        for row, (labels, probabilities) in enumerate(_predict(model, texts)):
            numbers = [int(label.removeprefix(LABEL)) for label in labels]
            logs[row, numbers] = np.log(np.maximum(probabilities, 1e-9))
        return logs

    return Baseline(score, settings)


def _predict(model: Any, texts: Sequence[str]) -> Iterator[tuple[Sequence[str], Any]]:
    labels, probabilities = model.predict([_plain(text) for text in texts], k=-1)
    yield from zip(labels, probabilities, strict=True)


def _fasttext() -> Any:
    try:
        import fasttext
    except ImportError as error:
        raise TrainingError(
            "the fastText baseline needs a package that is not installed",
            value="fasttext",
            fix="pip install fasttext-community, or leave fasttext out of --models",
        ) from error
    return fasttext


def _plain(text: str) -> str:
    """Lower case on one line, as fastText's own recipe asks."""
    return " ".join(text.lower().split())


def _validation_score(baseline: Baseline, lesson: Lesson) -> float:
    if not lesson.judged:
        return 0.0
    answers = baseline.score(lesson.validation_texts).argmax(1)
    return macro_f1(lesson.validation_labels.astype(str), answers.astype(str))
