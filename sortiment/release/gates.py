"""May this challenger take the champion's place? Every gate is a row with its numbers and a sentence.

A challenger is compared with the last blessed champion on every slice of the same offers (the idea of TFX's
Evaluator). A fall counts only where it is larger than the limit *and* larger than chance, so that a slice of
thirty offers cannot hold back a release by noise, and a slice of three thousand cannot hide a loss in the average.
The absolute gates never keep something worse in its place: where there is no champion they only stop a model that is
truly bad, and where there is one, a challenger that is as good as it is passes them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sortiment.errors import ReleaseError
from sortiment.release.pairing import Parity, holm, measure_fall
from sortiment.settings import ReleaseSettings

if TYPE_CHECKING:
    import pyarrow as pa

OVERALL = "overall"
Z_95 = 1.959964

Leaf = Mapping[str, Any]
Scores = Mapping[str, Any]


@dataclass(frozen=True)
class Gate:
    """One row: what was asked of which slice, the numbers, the answer and its reason in words.

    challenger, champion: the two figures compared (for `share_of_teacher` and `quantization` the second is the
    teacher's and the student's). limit: the worst value of `challenger` that passes without a second look.
    """

    gate: str
    slice: str
    offers: int
    challenger: float
    champion: float | None
    limit: float | None
    p_value: float | None
    passed: bool
    why: str


@dataclass(frozen=True)
class ReleaseDecision:
    """passed: every gate is. first: there was no champion to compare with. against: that champion's version."""

    passed: bool
    first: bool
    against: str | None
    gates: tuple[Gate, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused, one sentence per gate; empty where it passed."""
        return tuple(gate.why for gate in self.gates if not gate.passed)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "gates": [asdict(gate) for gate in self.gates], "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ReleaseDecision":
        return cls(
            passed=content["passed"],
            first=content["first"],
            against=content["against"],
            gates=tuple(Gate(**gate) for gate in content["gates"]),
        )


def decide_release(
    challenger_scores: Scores,
    champion_scores: Scores | None,
    teacher_scores: Scores,
    parity: Parity | None,
    settings: ReleaseSettings,
    *,
    paired: "pa.Table | None" = None,
    against: str | None = None,
) -> ReleaseDecision:
    """Judge a challenger. Without a champion (first release) only the absolute gates apply.

    The three scores are one model's entry of `scores.json` each, on the same test offers. paired, where given, has one
    row per test offer: `category_id, challenger_id, champion_id` and a column per slicing (`country`, `department`,
    `slice`, `feed`): chance is then judged by a paired test, otherwise by the scores' own intervals, which is blunter.
    against: the champion's version; the release log refuses a decision that was made against another one.
    Raises ReleaseError where the scores are not of the same offers, or are missing.
    """
    ours = _leaf(challenger_scores, OVERALL, "the challenger")
    theirs = None if champion_scores is None else _leaf(champion_scores, OVERALL, "the champion")
    gates = [
        _judge_support(ours, theirs, settings),
        _judge_share_of_teacher(ours, _leaf(teacher_scores, OVERALL, "the teacher"), theirs, settings),
        _judge_quantization(parity, theirs, settings),
    ]
    if champion_scores is not None and theirs is not None:
        if int(ours["offers"]) != int(theirs["offers"]):
            raise ReleaseError(
                "challenger and champion were scored on different offers",
                value=f"{ours['offers']} and {theirs['offers']} offers",
                fix="evaluate both on the current test split: materialize student_evaluation again",
            )
        gates.append(_judge_overall(ours, theirs, paired, settings))
        gates.extend(_judge_slices(challenger_scores, champion_scores, paired, settings))
    return ReleaseDecision(
        passed=all(gate.passed for gate in gates),
        first=champion_scores is None,
        against=against,
        gates=tuple(gates),
    )


def _judge_support(ours: Leaf, theirs: Leaf | None, settings: ReleaseSettings) -> Gate:
    offers = int(ours["offers"])
    enough = offers >= settings.min_offers
    why = f"{offers:,} test offers"
    if not enough and theirs is None:
        why += f"; fewer than {settings.min_offers:,} say little, but there is no champion that could be better"
    elif not enough:
        why += f"; at least {settings.min_offers:,} are needed to judge at all"
    passed = enough or theirs is None
    return Gate("support", OVERALL, offers, offers, None, settings.min_offers, None, passed, why)


def _judge_share_of_teacher(ours: Leaf, teacher: Leaf, theirs: Leaf | None, settings: ReleaseSettings) -> Gate:
    share = settings.first_min_share_of_teacher if theirs is None else settings.min_share_of_teacher
    limit = share * teacher["macro_f1"]
    figures = f"macro-F1 {ours['macro_f1']:.3f} beside the teacher's {teacher['macro_f1']:.3f}"
    asked = f"at least {share:.0%} of it ({limit:.3f}) is asked" + (" of a first release" if theirs is None else "")
    if theirs is not None and theirs["macro_f1"] < limit:
        limit = theirs["macro_f1"]
        asked += f", or as much as the champion has ({limit:.3f})"
    if ours["macro_f1"] >= limit:
        passed, why = True, f"{figures}; {asked}"
    elif (high := _number(ours, "high")) is not None and high >= limit:
        passed, why = True, f"{figures}; {asked}: within the noise of this test set (up to {high:.3f})"
    else:
        passed, why = False, f"{figures}; {asked}"
    return Gate(
        "share_of_teacher",
        OVERALL,
        int(ours["offers"]),
        ours["macro_f1"],
        teacher["macro_f1"],
        limit,
        None,
        passed,
        why,
    )


def _judge_quantization(parity: Parity | None, theirs: Leaf | None, settings: ReleaseSettings) -> Gate:
    if parity is None:
        why = "int8 was not compared with the student: materialize quantized_student"
        return Gate("quantization", OVERALL, 0, 0.0, None, None, None, False, why)
    allowed = settings.max_quantization_drop if theirs is not None else settings.first_max_quantization_drop
    limit = parity.student_macro_f1 - allowed
    fall = parity.student_macro_f1 - parity.quantized_macro_f1
    small = fall <= allowed + 1e-9
    chance = parity.p_value is not None and parity.p_value > settings.significance
    why = (
        f"int8 has macro-F1 {parity.quantized_macro_f1:.3f}, the student {parity.student_macro_f1:.3f}; "
        f"a fall of {allowed:.3f} is allowed" + (" for a first release" if theirs is None else "")
    )
    if not small and chance:
        why += f"; this one may be chance (p = {parity.p_value:.3f})"
    return Gate(
        "quantization",
        OVERALL,
        parity.offers,
        parity.quantized_macro_f1,
        parity.student_macro_f1,
        limit,
        parity.p_value,
        small or chance,
        why,
    )


def _judge_overall(ours: Leaf, theirs: Leaf, paired: "pa.Table | None", settings: ReleaseSettings) -> Gate:
    limit = theirs["macro_f1"] - settings.max_macro_f1_drop
    p_value = None
    if ours["macro_f1"] < limit:
        p_value = _p_value(ours, theirs, None if paired is None else paired.to_pydict(), settings)
    return _judge_fall(
        "macro_f1", OVERALL, ours, theirs, limit=settings.max_macro_f1_drop, p_value=p_value, settings=settings
    )


def _judge_slices(
    challenger: Scores, champion: Scores, paired: "pa.Table | None", settings: ReleaseSettings
) -> Iterator[Gate]:
    """One gate per slice that the champion was scored on, in the order of the champion's scores."""
    limit = settings.max_slice_drop
    pairs, p_values = {}, {}
    for kind, name, theirs in _slices(champion):
        ours = challenger.get(f"by_{kind}", {}).get(name)
        key = f"{kind}: {name}"
        pairs[key] = (ours, theirs)
        if ours is None or int(theirs["offers"]) < settings.min_slice_offers:
            continue
        p_values[key] = 1.0
        if theirs["macro_f1"] - ours["macro_f1"] > limit:
            p_values[key] = _p_value(ours, theirs, _rows_of(paired, kind, name), settings)
    adjusted = holm(p_values)
    for key, (ours, theirs) in pairs.items():
        if ours is None:
            why = f"{key}: the champion was scored on {theirs['offers']:,} offers here, the challenger on none"
            yield Gate(
                "slice",
                key,
                int(theirs["offers"]),
                0.0,
                theirs["macro_f1"],
                theirs["macro_f1"] - limit,
                None,
                False,
                why,
            )
        else:
            yield _judge_fall("slice", key, ours, theirs, limit=limit, p_value=adjusted.get(key), settings=settings)


def _judge_fall(
    gate: str, name: str, ours: Leaf, theirs: Leaf, *, limit: float, p_value: float | None, settings: ReleaseSettings
) -> Gate:
    fall = theirs["macro_f1"] - ours["macro_f1"]
    offers = int(theirs["offers"])
    why = f"{name}: macro-F1 {ours['macro_f1']:.3f}, the champion's {theirs['macro_f1']:.3f} ({offers:,} offers)"
    passed = True
    if gate == "slice" and offers < settings.min_slice_offers:
        why += f"; not judged, {settings.min_slice_offers} offers are needed"
    elif fall > limit + 1e-9:
        assert p_value is not None, "a fall beyond the limit has been tested"
        passed = p_value > settings.significance
        why += f"; it fell by {fall:.3f}, {limit:.3f} is allowed; "
        why += f"p = {p_value:.4f}, " + ("may be chance" if passed else "not chance")
    return Gate(
        gate, name, offers, ours["macro_f1"], theirs["macro_f1"], theirs["macro_f1"] - limit, p_value, passed, why
    )


def _p_value(ours: Leaf, theirs: Leaf, rows: Mapping[str, list[str]] | None, settings: ReleaseSettings) -> float:
    """Chance of so large a fall if both models were equally good: paired where per-offer answers are given."""
    if rows is not None:
        return measure_fall(
            rows["category_id"],
            rows["champion_id"],
            rows["challenger_id"],
            settings.randomization_rounds,
            settings.seed,
        ).p_value
    spread = math.hypot(_standard_error(ours), _standard_error(theirs))
    if spread == 0.0:
        return 0.0
    return 0.5 * math.erfc((theirs["macro_f1"] - ours["macro_f1"]) / spread / math.sqrt(2.0))


def _standard_error(leaf: Leaf) -> float:
    """From the leaf's 95 % interval; without one, the binomial error of a share over the offers."""
    low, high = _number(leaf, "low"), _number(leaf, "high")
    if low is not None and high is not None and high > low:
        return (high - low) / (2 * Z_95)
    share = min(max(float(leaf["macro_f1"]), 0.05), 0.95)
    return math.sqrt(share * (1.0 - share) / max(int(leaf["offers"]), 1))


def _rows_of(paired: "pa.Table | None", kind: str, name: str) -> Mapping[str, list[str]] | None:
    if paired is None or kind not in paired.column_names:
        return None
    import pyarrow.compute as pc

    rows: dict[str, list[str]] = paired.filter(pc.equal(paired[kind], name)).to_pydict()
    return rows if rows["category_id"] else None


def _slices(scores: Scores) -> Iterator[tuple[str, str, Leaf]]:
    for group, slices in scores.items():
        if group.startswith("by_"):
            for name, leaf in slices.items():
                yield group.removeprefix("by_"), name, leaf


def _number(leaf: Leaf, name: str) -> float | None:
    value = leaf.get(name)
    return None if value is None or math.isnan(value) else float(value)


def _leaf(scores: Scores, name: str, whose: str) -> Leaf:
    leaf: Leaf | None = scores.get(name)
    if leaf is None or _number(leaf, "macro_f1") is None:
        raise ReleaseError(
            f"{whose} has no {name} score", value=sorted(scores), fix="materialize student_evaluation again"
        )
    return leaf
