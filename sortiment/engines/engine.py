"""A compiled student, ready to classify: texts in, classes and calibrated confidence out."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.calibration import read_calibration
from sortiment.engines.folders import EngineSpec, read_built_spec, read_classes, read_inputs
from sortiment.engines.sessions import open_session
from sortiment.engines.tokens import Batch, Floats, Take, TextTokenizer, plan_spec
from sortiment.errors import EngineError


@dataclass(frozen=True)
class Predictions:
    """One entry per text, in the texts' order. `index` counts into the engine's `classes`; `confidence` is the
    calibrated probability of that class and `margin` its lead over the second."""

    index: npt.NDArray[np.int32]
    confidence: Floats
    margin: Floats


class Engine:
    """A loaded model with its tokenizer, classes and calibration.

    Texts are tokenized window by window in a thread of their own while the window before is computed, sorted by length
    within the window, and answered in their own order. The same texts give the same predictions. Among other texts, a
    text's logits may differ in the last bits; onnx-int8 measures its int8 ranges per batch and may differ by more
    (`spec.target` says which: `TARGETS[...].batch_independent`).
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.folder = folder
        self.spec: EngineSpec = read_built_spec(folder)
        self.classes = read_classes(folder)
        self.calibration = read_calibration(folder)
        self.tokenizer = TextTokenizer(folder, self.spec.max_tokens)
        self.session = open_session(folder, self.spec, threads)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The offer's columns that make a text (`sortiment.encoders.offer_texts`), as the student was trained."""
        return read_inputs(self.folder)

    @property
    def target(self) -> str:
        return self.spec.target

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> Predictions:
        """The best class of each text. `countries`: one ISO code per text, for the calibration; None = the default."""
        temperatures = self.calibration.of(countries, len(texts))
        index = np.zeros(len(texts), np.int32)
        confidence = np.zeros(len(texts), np.float32)
        margin = np.zeros(len(texts), np.float32)

        def take(batch: Batch, logits: Floats) -> None:
            shares = self.calibration.probabilities(self._known_classes(logits), temperatures[batch.rows])
            index[batch.rows], confidence[batch.rows], margin[batch.rows] = rank_top(shares)

        self._run(texts, take)
        return Predictions(index, confidence, margin)

    def score(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> Floats:
        """Calibrated probabilities of every class, [texts, classes]."""
        temperatures = self.calibration.of(countries, len(texts))
        shares = np.zeros((len(texts), len(self.classes)), np.float32)

        def take(batch: Batch, logits: Floats) -> None:
            shares[batch.rows] = self.calibration.probabilities(self._known_classes(logits), temperatures[batch.rows])

        self._run(texts, take)
        return shares

    def compute_logits(self, texts: Sequence[str]) -> Floats:
        """Logits before calibration, [texts, classes]."""
        found = np.zeros((len(texts), len(self.classes)), np.float32)

        def take(batch: Batch, logits: Floats) -> None:
            found[batch.rows] = self._known_classes(logits)

        self._run(texts, take)
        return found

    def _run(self, texts: Sequence[str], take: Take) -> None:
        self.session.run(self._batches(texts), take)

    def _batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Batches of all windows, their rows counted over all texts; the next window is tokenized meanwhile."""
        starts = range(0, len(texts), self.spec.sort_window)
        windows = [texts[start : start + self.spec.sort_window] for start in starts]
        if not windows:
            return
        if len(windows) == 1:
            yield from plan_spec(self.tokenizer.tokenize(windows[0]), self.spec)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as pool:
            coming = pool.submit(self.tokenizer.tokenize, windows[0])
            for place, start in enumerate(starts):
                tokens = coming.result()
                if place + 1 < len(windows):
                    coming = pool.submit(self.tokenizer.tokenize, windows[place + 1])
                for batch in plan_spec(tokens, self.spec):
                    yield Batch(batch.rows + start, batch.ids, batch.mask)

    def _known_classes(self, logits: Floats) -> Floats:
        """Without the head's padding for classes that do not exist yet."""
        if logits.shape[1] < len(self.classes):
            raise EngineError(
                "the model has fewer outputs than classes.json has classes",
                value=f"{logits.shape[1]} outputs, {len(self.classes)} classes",
                fix="materialize compiled_student again",
            )
        known = logits[:, : len(self.classes)]
        if not np.isfinite(known).all():
            raise EngineError(
                f"{self.spec.target} computed logits that are not finite",
                fix="compile for torch-fp32 and compare: the precision may be too low for this student",
            )
        return known


def rank_top(shares: Floats) -> tuple[npt.NDArray[np.int32], Floats, Floats]:
    """Class, its probability, and its lead over the second, each [offers]. Ties go to the lower class index."""
    rows = np.arange(shares.shape[0])
    index = shares.argmax(axis=1)
    confidence = shares[rows, index]
    if shares.shape[1] == 1:
        return index.astype(np.int32), confidence, confidence
    second = np.partition(shares, shares.shape[1] - 2, axis=1)[:, -2]
    return index.astype(np.int32), confidence, confidence - second


def load_engine(folder: Path, threads: int | None = None) -> Engine:
    """The engine of a `compiled_student` folder.

    Raises EngineUnavailable where the folder says that its target was not built here, EngineError where it is damaged.
    """
    return Engine(folder, threads)
