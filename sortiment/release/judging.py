"""A release decision from the table of answers that `sortiment.evaluation` makes."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sortiment.release.gates import ReleaseDecision, decide_release
from sortiment.release.pairing import measure_parity
from sortiment.settings import ReleaseSettings

SLICINGS = ["country", "department", "slice", "feed"]


def judge_answers(
    answers: pa.Table,
    scores: Mapping[str, Mapping[str, Any]],
    settings: ReleaseSettings,
    *,
    against: str | None,
) -> ReleaseDecision:
    """Judge the student (challenger) by its answers, beside the teacher's, the int8 engine's and the champion's.

    answers: one row per test offer with `<model>_id` columns. scores: of the same answers, by model. against: the
    champion's version, None where there is none; then no column `champion_id` is needed. Raises ReleaseError.
    """
    truth, student = answers["category_id"].to_pylist(), answers["student_id"].to_pylist()
    parity = measure_parity(
        truth, student, answers["int8_id"].to_pylist(), settings.randomization_rounds, settings.seed
    )
    paired = None
    if against is not None:
        paired = answers.select(["category_id", *SLICINGS])
        paired = paired.append_column("challenger_id", answers["student_id"])
        paired = paired.append_column("champion_id", answers["champion_id"])
    return decide_release(
        scores["student"],
        scores["champion"] if against is not None else None,
        scores["teacher"],
        parity,
        settings,
        paired=paired,
        against=against,
    )
