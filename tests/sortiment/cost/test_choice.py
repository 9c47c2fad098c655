"""The choice of instance: right arithmetic, one basis per figure, and honesty about estimates."""

import json
import math
from typing import Any

import pytest

from sortiment.cost import choose_instance, load_price_list
from sortiment.cost.speeds import THIS_MACHINE, count_operations, fit_width_exponent
from sortiment.errors import SettingsError
from sortiment.settings import CostSettings

PRICES = load_price_list()


def speed_row(engine: str, rate: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "engine": engine, "offers_per_s": rate, "machine": "a test machine, 2 cores", "date": "2026-11-22", "cores": 2,
        "architecture": "x86_64", "layers": 3, "hidden": 384, "intermediate": 1536, "bucket_tokens": 28.0,
        "tokenizer_offers_per_s": 1e9,
        "baseline": False,
    } | changes  # fmt: skip


ROWS = [
    speed_row("torch-fp32", 500.0),
    speed_row("openvino-int8", 2_000.0),
    speed_row("neuron-bf16", None),
    speed_row("torch-fp32 naive", 250.0, baseline=True),
]


def test_figures_follow_the_formulas() -> None:
    settings = CostSettings(
        offers_per_day=100_000_000,
        peak_offers_per_minute=600_000,
        deadline_hours=10,
        utilization=0.5,
        region="us-east-1",
    )
    choice = choose_instance(ROWS, settings, PRICES)
    row = next(row for row in choice.rows if (row.instance, row.engine) == ("c7i.xlarge", "openvino-int8"))
    assert row.offers_per_s == 2_000
    assert row.instances_for_day == math.ceil(100_000_000 / (10 * 3600 * 1_000)) == 3
    assert row.instances_for_peak == 10
    assert row.usd_per_million == pytest.approx(0.1785 / 3.6)
    assert row.usd_per_day == pytest.approx(3 * 10 * 0.1785)
    assert row.usd_per_day_for_peak == pytest.approx(10 * 24 * 0.1785)


def test_every_row_has_one_basis_and_its_source() -> None:
    choice = choose_instance(ROWS, CostSettings(), PRICES)
    for row in choice.rows:
        assert row.source.startswith(row.basis)
        assert (row.basis == "measured") == (row.instance == THIS_MACHINE)
        assert (row.basis == "published") == (not row.this_student)


def test_a_published_figure_of_another_model_is_shown_but_never_priced_or_chosen() -> None:
    choice = choose_instance(ROWS, CostSettings(), PRICES)
    published = [row for row in choice.rows if row.basis == "published"]
    assert {row.model for row in published} == {
        "DistilBERT, 128 tokens", "BERT-base, 128 tokens", "RoBERTa-large, 128 tokens",
    }  # fmt: skip
    assert all(row.usd_per_day is None and not row.meets_deadline for row in published)


def test_a_choice_that_rests_on_an_estimate_says_so() -> None:
    choice = choose_instance(ROWS, CostSettings(), PRICES)
    assert choice.chosen is not None
    assert choice.rests_on_estimate
    assert "estimated, not measured" in choice.why


def test_the_cheapest_per_day_is_chosen() -> None:
    choice = choose_instance(ROWS, CostSettings(), PRICES)
    priced = [row.usd_per_day for row in choice.rows if row.usd_per_day is not None and row.meets_deadline]
    assert choice.chosen is not None
    assert choice.chosen.usd_per_day == min(priced)
    assert priced == sorted(priced)


def test_this_machine_is_priced_only_when_its_price_is_given() -> None:
    unpriced = choose_instance(ROWS, CostSettings(), PRICES)
    assert all(row.usd_per_hour is None for row in unpriced.rows if row.instance == THIS_MACHINE)
    priced = choose_instance(ROWS, CostSettings(this_machine_usd_per_hour=0.001), PRICES)
    assert priced.chosen is not None
    assert (priced.chosen.instance, priced.chosen.basis) == (THIS_MACHINE, "measured")
    assert not priced.rests_on_estimate
    assert "not measured" not in priced.why


def test_the_naive_baseline_and_engines_without_a_figure_are_left_out() -> None:
    engines = {row.engine for row in choose_instance(ROWS, CostSettings(), PRICES).rows if row.instance == "c7i.xlarge"}
    assert engines == {"torch-fp32", "openvino-int8"}


def test_nothing_is_estimated_across_architectures() -> None:
    choice = choose_instance(ROWS, CostSettings(), PRICES)
    assert {each.instance for each in choice.unknown} == {"c7g.xlarge", "c8g.xlarge", "g6.xlarge", "g5.2xlarge"}
    on_arm = choose_instance([speed_row("openvino-int8", 900.0, architecture="aarch64")], CostSettings(), PRICES)
    assert {row.instance for row in on_arm.rows if "equal speed per core" in row.source} == {"c7g.xlarge", "c8g.xlarge"}


def test_the_neuron_estimate_reproduces_the_published_models() -> None:
    """A student of BERT-base's own shape gets about its published speed: the fit goes through the three figures."""
    like_base = speed_row("torch-fp32", 100.0, layers=12, hidden=768, intermediate=3072, bucket_tokens=128.0)
    choice = choose_instance([like_base], CostSettings(), PRICES)
    row = next(row for row in choice.rows if row.instance == "inf2.xlarge" and row.this_student)
    assert row.offers_per_s == pytest.approx(2_674, rel=0.01)
    assert "nothing ran on Neuron" in row.source


def test_narrower_layers_are_not_assumed_to_be_as_efficient() -> None:
    exponent = fit_width_exponent(PRICES.published)
    assert 0 < exponent < 2
    choice = choose_instance(ROWS, CostSettings(), PRICES)
    row = next(row for row in choice.rows if row.instance == "inf2.xlarge" and row.this_student)
    by_arithmetic = 2_674 * count_operations(12, 768, 3072, 128) / count_operations(3, 384, 1536, 28.0)
    assert row.offers_per_s == pytest.approx(by_arithmetic * 0.5**exponent)


def test_a_chip_is_not_faster_than_its_host_tokenizes() -> None:
    choice = choose_instance(
        [speed_row("openvino-int8", 2_000.0, tokenizer_offers_per_s=50_000.0)], CostSettings(), PRICES
    )
    rates = {row.instance: row.offers_per_s for row in choice.rows if row.engine == "neuron-bf16" and row.this_student}
    assert rates["inf2.xlarge"] == 50_000
    assert rates["inf2.8xlarge"] > 50_000


def test_beside_a_choice_from_published_figures_stands_the_cheapest_that_was_timed() -> None:
    choice = choose_instance(ROWS, CostSettings(offers_per_day=5_000_000_000), PRICES)
    assert choice.chosen is not None
    assert choice.chosen.instance == "inf2.xlarge"
    assert "from timing this student" in choice.why
    assert "c7i.xlarge with openvino-int8" in choice.why


def test_a_fleet_larger_than_allowed_is_not_chosen() -> None:
    settings = CostSettings(offers_per_day=500_000_000_000, max_instances=10)
    choice = choose_instance(ROWS, settings, PRICES)
    assert choice.chosen is None
    assert "at most 10 instances" in choice.why
    assert choice.to_json()["choice"] is None


def test_without_a_timed_engine_nothing_is_chosen() -> None:
    choice = choose_instance([speed_row("neuron-bf16", None)], CostSettings(), PRICES)
    assert choice.chosen is None
    assert "no engine was timed" in choice.why


def test_an_unknown_region_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"mars-1.*allowed: eu-central-1, us-east-1"):
        choose_instance(ROWS, CostSettings(region="mars-1"), PRICES)


def test_the_table_is_what_the_report_reads() -> None:
    from sortiment.report.schema import Cost

    content = json.loads(json.dumps(choose_instance(ROWS, CostSettings(), PRICES).to_json()))
    cost = Cost.model_validate(content)
    assert cost.choice is not None
    assert {row.basis for row in cost.rows} == {"measured", "published", "estimated"}
