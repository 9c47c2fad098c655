"""A student directory as a classifier in torch: for evaluation, and wherever no compiled engine is at hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sortiment.calibration import read_calibration
from sortiment.errors import TrainingError
from sortiment.machine import count_cores
from sortiment.student.body import first_token_logits, load_student, move_student, pad_id_of
from sortiment.student.prediction import Classification, rank_top
from sortiment.student.scoring import SCORING_BATCH, choose_device, has_bf16, map_rows
from sortiment.student.tokens import load_tokenizer, tokenize

STUDENT_FILE = "student.json"
CLASSES_FILE = "classes.json"
DEFAULT_TOP_K = 5
TEXTS_AT_ONCE = 16_384


class StudentClassifier:
    """Calibrated scoring in length-sorted batches, float32 or bfloat16.

    Texts are taken as `sortiment.encoders.offer_texts` writes them with `inputs`; no prompt goes in front.
    """

    def __init__(self, folder: Path, device: str = "auto", precision: str = "auto") -> None:
        self.folder = folder
        self.classes: tuple[str, ...] = tuple(read_classes(folder))
        facts = json.loads(_file(folder, STUDENT_FILE).read_text(encoding="utf-8"))
        self.inputs: tuple[str, ...] = tuple(facts["inputs"])
        self.max_tokens: int = facts["max_tokens"]
        self.calibration = read_calibration(folder)
        self.device = choose_device(device)
        self.bf16 = has_bf16(self.device) if precision == "auto" else precision == "bf16"
        torch.set_num_threads(count_cores())  # as in training: the same bytes, whatever ran before in this process
        self.student = move_student(load_student(folder), self.device)
        if len(self.classes) > self.student.classifier.out_features:
            raise TrainingError(
                f"{folder} lists more classes than its head has outputs",
                value=f"{len(self.classes)} classes, {self.student.classifier.out_features} outputs",
                fix="materialize the student again: the folder's files are from different runs",
            )
        self.tokenizer = load_tokenizer(folder, self.max_tokens)

    def score(
        self, texts: Sequence[str], batch: int = SCORING_BATCH
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """(offers, classes) logits before calibration."""
        tokens = tokenize(self.tokenizer, texts, pad_id_of(self.student))
        logits = map_rows(self.student, tokens, np.arange(len(texts)), first_token_logits, self.bf16, batch)
        if not len(texts):
            return np.zeros((0, len(self.classes)), np.float32)
        return logits[:, : len(self.classes)]

    def classify(
        self,
        texts: Sequence[str],
        countries: Sequence[str] | None = None,
        batch: int = SCORING_BATCH,
        top_k: int = DEFAULT_TOP_K,
    ) -> Classification:
        """Classes and calibrated probabilities, in the order of the texts."""
        parts = [
            self._classify_chunk(
                texts[at : at + TEXTS_AT_ONCE],
                None if countries is None else countries[at : at + TEXTS_AT_ONCE],
                batch,
                top_k,
            )
            for at in range(0, max(len(texts), 1), TEXTS_AT_ONCE)
        ]
        return Classification(
            np.concatenate([part.top_index for part in parts]),
            np.concatenate([part.top_probability for part in parts]),
        )

    def _classify_chunk(
        self, texts: Sequence[str], countries: Sequence[str] | None, batch: int, top_k: int
    ) -> Classification:
        logits = self.score(texts, batch)
        shares = self.calibration.probabilities(logits, self.calibration.of(countries, len(texts)))
        return rank_top(shares, top_k)


def read_classes(folder: Path) -> list[str]:
    """A student directory's category ids, index = output."""
    classes: list[str] = json.loads(_file(folder, CLASSES_FILE).read_text(encoding="utf-8"))
    return classes


def read_max_tokens(folder: Path) -> int:
    """How far the student of a directory reads a text."""
    facts = json.loads(_file(folder, STUDENT_FILE).read_text(encoding="utf-8"))
    return int(facts["max_tokens"])


def _file(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise TrainingError(f"{name} is missing", value=str(folder), fix="materialize the student again")
    return file
