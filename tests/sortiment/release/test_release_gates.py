"""When a challenger may take the champion's place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sortiment.errors import ReleaseError
from sortiment.release import Parity, decide_release, measure_fall, measure_parity
from sortiment.release.pairing import holm
from sortiment.settings import ReleaseSettings

Build = Callable[..., dict[str, Any]]
EQUAL = Parity(offers=2_000, student_macro_f1=0.80, quantized_macro_f1=0.80)
SETTINGS = ReleaseSettings()


def failed(decision: Any) -> list[str]:
    return [gate.gate for gate in decision.gates if not gate.passed]


def test_a_first_release_passes_on_absolute_gates_alone(scores: Build) -> None:
    decision = decide_release(scores(0.8, country="DE:0.1:500"), None, scores(0.82), EQUAL, SETTINGS)
    assert decision.passed and decision.first
    assert [gate.gate for gate in decision.gates] == ["support", "share_of_teacher", "quantization"]


def test_a_challenger_far_below_its_teacher_and_the_champion_is_refused_in_words(scores: Build) -> None:
    decision = decide_release(scores(0.745, half_width=0.0), scores(0.75), scores(0.9), EQUAL, SETTINGS)
    asked = "at least 90% of it (0.810) is asked, or as much as the champion has (0.750)"
    assert decision.reasons == (f"macro-F1 0.745 beside the teacher's 0.900; {asked}",)


def test_a_challenger_that_is_as_good_as_the_champion_is_not_held_to_the_teacher(scores: Build) -> None:
    assert decide_release(scores(0.75), scores(0.75), scores(0.9), EQUAL, SETTINGS).passed


def test_a_student_within_the_noise_of_the_limit_passes(scores: Build) -> None:
    assert decide_release(scores(0.71, half_width=0.03), scores(0.71), scores(0.8), EQUAL, SETTINGS).passed


def test_a_first_release_stops_only_a_student_that_is_truly_bad(scores: Build) -> None:
    """Without a champion the alternative is no model at all."""
    assert decide_release(scores(0.5), None, scores(0.8), EQUAL, SETTINGS).passed
    refused = decide_release(scores(0.3), None, scores(0.8), EQUAL, SETTINGS)
    assert refused.reasons == (
        "macro-F1 0.300 beside the teacher's 0.800; at least 50% of it (0.400) is asked of a first release",
    )


def test_a_handful_of_test_offers_replaces_no_champion_but_may_be_the_first(scores: Build) -> None:
    few, settings = scores(0.8, offers=20), SETTINGS
    assert failed(decide_release(few, few, scores(0.8), EQUAL, settings)) == ["support"]
    first = decide_release(few, None, scores(0.8), EQUAL, settings)
    assert first.passed and "say little" in first.gates[0].why


def test_quantization_that_costs_too_much_is_refused(scores: Build) -> None:
    parity = Parity(offers=2_000, student_macro_f1=0.80, quantized_macro_f1=0.79)
    assert failed(decide_release(scores(0.8), scores(0.8), scores(0.8), parity, SETTINGS)) == ["quantization"]
    assert decide_release(scores(0.8), None, scores(0.8), parity, SETTINGS).passed
    broken = Parity(offers=2_000, student_macro_f1=0.80, quantized_macro_f1=0.70)
    assert failed(decide_release(scores(0.8), None, scores(0.8), broken, SETTINGS)) == ["quantization"]


def test_quantization_within_half_a_point_or_within_chance_passes(scores: Build) -> None:
    for parity in (
        Parity(offers=2_000, student_macro_f1=0.80, quantized_macro_f1=0.795),
        Parity(offers=100, student_macro_f1=0.80, quantized_macro_f1=0.79, p_value=0.4),
    ):
        assert decide_release(scores(0.8), scores(0.8), scores(0.8), parity, SETTINGS).passed


def test_quantization_that_was_not_measured_is_refused(scores: Build) -> None:
    assert failed(decide_release(scores(0.8), None, scores(0.8), None, SETTINGS)) == ["quantization"]


def test_an_overall_fall_beyond_limit_and_chance_is_refused(scores: Build) -> None:
    decision = decide_release(scores(0.75), scores(0.80), scores(0.8), EQUAL, SETTINGS, against="m1")
    assert failed(decision) == ["macro_f1"]
    assert decision.against == "m1"
    assert "it fell by 0.050, 0.010 is allowed" in decision.reasons[0]


def test_a_large_slice_that_falls_blocks_even_if_the_average_rises(scores: Build) -> None:
    challenger = scores(0.82, country="DE:0.90:1000 AT:0.60:1000")
    champion = scores(0.80, country="DE:0.80:1000 AT:0.80:1000")
    decision = decide_release(challenger, champion, scores(0.8), EQUAL, SETTINGS)
    assert failed(decision) == ["slice"]
    assert decision.reasons[0].startswith("country: AT: macro-F1 0.600, the champion's 0.800 (1,000 offers)")


def test_a_slice_with_few_offers_is_reported_but_does_not_block(scores: Build) -> None:
    challenger = scores(0.82, department="toys:0.2:12")
    champion = scores(0.80, department="toys:0.8:12")
    decision = decide_release(challenger, champion, scores(0.8), EQUAL, SETTINGS)
    assert decision.passed
    assert "not judged, 30 offers are needed" in decision.gates[-1].why


def test_a_slice_that_the_challenger_was_not_scored_on_blocks(scores: Build) -> None:
    decision = decide_release(scores(0.82), scores(0.80, country="DE:0.8:500"), scores(0.8), EQUAL, SETTINGS)
    assert failed(decision) == ["slice"]


def test_scores_of_different_offers_are_an_error(scores: Build) -> None:
    with pytest.raises(ReleaseError, match="scored on different offers"):
        decide_release(scores(0.8, offers=2_000), scores(0.8, offers=1_999), scores(0.8), EQUAL, SETTINGS)


def test_missing_scores_are_an_error() -> None:
    with pytest.raises(ReleaseError, match="the challenger has no overall score"):
        decide_release({}, None, {}, None, SETTINGS)


def paired_table(fall_in: str, size: int, changed: int, seed: int = 0) -> pa.Table:
    """Two departments of `size` offers; in `fall_in` the challenger gets `changed` answers wrong that were right."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, 2 * size).astype(str)
    department = np.array(["books"] * size + ["toys"] * size)
    challenger = truth.copy()
    rows = np.flatnonzero(department == fall_in)[:changed]
    challenger[rows] = "5"
    return pa.table({"department": department, "category_id": truth, "champion_id": truth, "challenger_id": challenger})


def test_per_offer_answers_make_small_slices_judgeable(scores: Build) -> None:
    """40 offers of which 10 got worse: the scores' intervals are too blunt to see it, the paired test is not."""
    challenger = scores(0.85, department="books:0.80:40 toys:0.99:40")
    champion = scores(0.85, department="books:0.90:40 toys:0.99:40")
    for model in (challenger, champion):
        model["by_department"]["books"] |= {"low": 0.6, "high": 1.0}
    assert decide_release(challenger, champion, scores(0.85), EQUAL, SETTINGS).passed
    paired = paired_table("books", 40, 10)
    assert failed(decide_release(challenger, champion, scores(0.85), EQUAL, SETTINGS, paired=paired)) == ["slice"]


def test_equally_good_models_are_rarely_refused_over_many_small_slices(scores: Build) -> None:
    """Two models that err independently at the same rate, 30 slices of 60 offers, 20 releases."""
    refused = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 6, 1_800)
        answers = {
            name: np.where(random.random(1_800) < 0.2, random.integers(0, 6, 1_800), truth)
            for name in ("champion", "challenger")
        }
        departments = np.repeat([f"d{number:02d}" for number in range(30)], 60)
        built: dict[str, dict[str, Any]] = {}
        for name, predicted in answers.items():
            built[name] = scores(0.8, offers=1_800)
            built[name]["by_department"] = {}
            for department in sorted(set(departments)):
                rows = departments == department
                f1 = (
                    1.0
                    - measure_fall(
                        truth[rows].astype(str), truth[rows].astype(str), predicted[rows].astype(str), 1, 0
                    ).macro_f1_fall
                )
                built[name]["by_department"][department] = {"offers": 60, "macro_f1": f1}
        paired = pa.table(
            {
                "department": departments,
                "category_id": truth.astype(str),
                "champion_id": answers["champion"].astype(str),
                "challenger_id": answers["challenger"].astype(str),
            }
        )
        settings = ReleaseSettings(randomization_rounds=800)
        decision = decide_release(built["challenger"], built["champion"], scores(0.8), EQUAL, settings, paired=paired)
        refused += not decision.passed
    assert refused <= 2


def test_the_paired_test_repeats_exactly_and_sees_no_fall_in_equal_answers() -> None:
    truth, answer = ["a", "b", "c"] * 20, ["a", "b", "b"] * 20
    same = measure_fall(truth, answer, answer, rounds=100, seed=1)
    assert (same.macro_f1_fall, same.discordant, same.p_value) == (0.0, 0, 1.0)
    worse = [measure_fall(truth, truth, answer, rounds=500, seed=1) for _ in range(2)]
    assert worse[0] == worse[1]
    assert worse[0].p_value < 0.01 and worse[0].discordant == 20


def test_parity_counts_agreement_and_chance() -> None:
    truth = ["a", "b"] * 50
    parity = measure_parity(truth, truth, [*truth[:-1], "a"], rounds=200, seed=0)
    assert parity.agreement == 0.99
    assert parity.student_macro_f1 == 1.0 > parity.quantized_macro_f1
    assert parity.p_value is not None and parity.p_value > 0.05


def test_holm_adjusts_for_every_look() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_a_decision_survives_json(scores: Build) -> None:
    decision = decide_release(scores(0.75), scores(0.80), scores(0.8), EQUAL, SETTINGS)
    assert type(decision).from_json(decision.as_json()) == decision
