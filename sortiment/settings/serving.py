"""What is done with a student: measured, compiled, priced, released, asked, watched."""

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from sortiment.settings.base import Seed, Share, StageSettings


class EvaluationSettings(StageSettings):
    """Scoring models."""

    bootstrap_rounds: int = Field(200, ge=0, le=10_000, description="resamples for intervals; 0 = none")
    seed: Seed = 0
    behaviour_offers: int = Field(
        100, ge=1, le=100_000, description="test offers that are rewritten to see whether the answer flips"
    )
    flip_limit: Share = Field(0.15, description="a larger share of flipped answers under one kind of change warns")
    flip_limits: dict[str, Share] = Field(
        {
            "upper case": 0.05,
            "lower case": 0.05,
            "HTML remnants": 0.05,
            "accents left out": 0.10,
            "umlauts as two letters": 0.10,
            "brand left out": 0.25,
            "cut off": 0.35,
            "typo": 0.20,
            "empty title": 0.0,
        },
        description="the same by kind, where it is not flip_limit (sortiment/evaluation/behaviour.py names the kinds)",
    )


class EngineSettings(StageSettings):
    """Quantizing, compiling and timing."""

    targets: tuple[str, ...] = Field(
        ("torch-fp32", "openvino-int8", "onnx-int8", "neuron-bf16"),
        description="compile targets, the partitions of compiled_student",
    )
    calibration_offers: int = Field(300, ge=1, le=10_000, description="offers that set the int8 ranges")
    agreement_offers: int = Field(500, ge=1, le=100_000, description="other offers that int8 and fp32 are compared on")
    batch_offers: int = Field(32, ge=1, le=4096, description="offers computed at once")
    token_multiple: int = Field(4, ge=1, le=64, description="a batch's width is rounded up to a multiple of this")
    sort_window: int = Field(16_384, ge=32, le=1_000_000, description="offers sorted by length together")
    streams: int | None = Field(None, ge=1, le=256, description="OpenVINO batches in flight; empty = one per core")
    neuron_buckets: tuple[Annotated[int, Field(ge=1, le=512)], ...] = Field(
        (16, 32, 64), description="token lengths for which Neuron programs are compiled"
    )
    neuron_batch_offers: int = Field(64, ge=1, le=1024, description="offers per call of a Neuron program, per core")
    neuron_target: Literal["inf2", "trn1", "trn2"] = Field("inf2", description="chip that Neuron compiles for")
    benchmark_seconds: float = Field(4.0, gt=0, le=600, description="timing per engine, beside loading it")
    benchmark_repeats: int = Field(3, ge=1, le=50, description="timings per engine; the median counts")
    benchmark_offers: int = Field(2_000, ge=1, le=1_000_000, description="at most this many offers are timed at once")


class CostSettings(StageSettings):
    """Choosing the instance."""

    offers_per_day: int = Field(500_000_000, ge=1, description="offers to classify each day")
    peak_offers_per_minute: int = Field(4_800_000, ge=1, description="the busiest minute")
    deadline_hours: float = Field(24.0, gt=0, le=24, description="a day's offers are classified within this time")
    utilization: float = Field(0.7, gt=0, le=1, description="share of an instance's speed that is planned with")
    max_instances: int = Field(1_000, ge=1, description="a fleet for the day may not be larger")
    region: str = Field("eu-central-1", description="region of the price list")
    this_machine_usd_per_hour: float | None = Field(
        None, gt=0, description="what this machine costs; empty = not priced"
    )


class ReleaseSettings(StageSettings):
    """The gates between a challenger and the champion's place."""

    max_macro_f1_drop: Share = Field(0.01, description="overall macro-F1 may fall by this much at most, beyond chance")
    max_slice_drop: Share = Field(0.05, description="a slice's macro-F1 may fall by this much at most, beyond chance")
    min_share_of_teacher: Share = Field(0.9, description="least share of the teacher's macro-F1")
    max_quantization_drop: Share = Field(0.005, description="int8 may lose this much of the student's macro-F1 at most")
    min_offers: int = Field(50, ge=1, description="test offers without which no champion is replaced")
    first_min_share_of_teacher: Share = Field(
        0.5, description="the same of a first release: the alternative is no model at all, not a better one"
    )
    first_max_quantization_drop: Share = Field(0.05, description="the same of a first release")
    min_slice_offers: int = Field(30, ge=1, description="a slice with fewer test offers is reported, not judged")
    significance: Share = Field(0.05, description="a fall with a larger p-value is chance; over all slices by Holm")
    randomization_rounds: int = Field(4_000, ge=100, le=1_000_000, description="swaps of the paired randomization test")
    seed: Seed = 0


class PredictionSettings(StageSettings):
    """Classifying offers in bulk."""

    target: str = Field("openvino-int8", description="the compile target that serves, and that is released")
    shard_offers: int = Field(250_000, ge=1, le=10_000_000, description="offers per shard: what a killed run repeats")
    batch_titles: int = Field(8_192, ge=1, le=1_000_000, description="different titles given to the engine at once")
    review_confidence: Share = Field(0.4, description="a less confident prediction is flagged for review")
    memory_limit_mb: int = Field(1_024, ge=128, description="DuckDB's share of memory; beyond it, it spills to disk")


class DriftSettings(StageSettings):
    """Judging whether a slice drifted."""

    seed: Seed = 0
    min_offers: int = Field(20, ge=2, description="a slice with fewer new or reference offers is not judged")
    max_offers: int = Field(5_000, ge=10, le=1_000_000, description="offers per slice and side that are looked at")
    resamples: int = Field(200, ge=20, le=100_000, description="resamples of the reference that show what chance does")
    significance: float = Field(
        0.01, gt=0.0, lt=1.0, description="chance of one false alarm among all slices and signals"
    )
    min_labelled_share: Share = Field(0.1, description="a country with a smaller share of labelled new offers has none")
    label_free: Literal["unlabelled", "always", "never"] = Field(
        "unlabelled", description="where signals that need no labels decide: in countries without labels, ..."
    )
    min_accuracy_drop: Share = Field(0.05, description="a smaller fall of the accuracy is no drift")
    min_macro_f1_drop: Share = Field(0.10, description="a smaller fall of the macro-F1 is no drift")
    min_new_category_share: Share = Field(
        0.05, description="a smaller share of labels that the model lacks is no drift"
    )
    min_confidence_drop: Share = Field(0.05, description="a smaller fall of the mean confidence is no drift")
    min_novelty_rise: Share = Field(0.15, description="a smaller rise of the share of unknown words is no drift")
    min_category_psi: float = Field(0.25, ge=0.0, description="a smaller PSI of the predicted categories is no drift")
    min_length_shift: float = Field(
        1.0, ge=0.0, description="a smaller shift of title length, in deviations, is no drift"
    )
    refit_teacher: bool = Field(
        True, description="the teacher learns a drifted slice's new offers before it labels them, or stays as it is"
    )
    cooldown_hours: float = Field(24.0, ge=0.0, description="a slice is not labelled anew again before this")
    retrain_cooldown_hours: float = Field(0.0, ge=0.0, description="the student is not trained again before this")
    max_pages: int = Field(3, ge=0, le=100, description="Evidently pages for the slices that drifted most; 0 = none")
