"""How often an arm's answer is another one when a title is written otherwise (`sortiment.evaluation.behaviour`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sortiment.evaluation import measure_behaviour
from sortiment.evaluation.answers import Answering
from sortiment.quality.lessons import Bench
from sortiment.student.prediction import Classification, rank_top
from sortiment.teacher.ridge import Floats
from sortiment.teacher.teacher import Teacher
from sortiment.teacher.transfer import TransferTitles


@dataclass(frozen=True)
class Scored:
    """A model that gives probabilities for texts and their countries, as the behavioural suite asks it."""

    shares: Callable[[Sequence[str], Sequence[str]], Floats]
    inputs: tuple[str, ...]
    classes: tuple[str, ...] = ()

    def classify(self, texts: Sequence[str], countries: Sequence[str] | None = None) -> Classification:
        assert countries is not None
        return rank_top(self.shares(texts, countries), 1)


def asked_teacher(teacher: Teacher, bench: Bench) -> Scored:
    """The teacher for texts that are nobody's offer: each is embedded once, then cached."""

    def shares(texts: Sequence[str], countries: Sequence[str]) -> Floats:
        titles = TransferTitles(list(texts), list(countries), [])
        answers: Floats = np.exp(teacher.log_probabilities_of(titles, bench.progress))
        return answers

    return Scored(shares, bench.settings.encoder.inputs)


def flips_of(bench: Bench, test: pa.Table, model: Answering) -> dict[str, Any]:
    """`{flips: {kind: share}}`."""
    columns = {name: test[name].to_pylist() for name in dict.fromkeys(["title", "country", "brand", *model.inputs])}
    rows = measure_behaviour(columns, {"": model}, bench.settings.evaluation)
    return {"flips": {row["kind"]: row["flip_rate"] for row in rows}}
