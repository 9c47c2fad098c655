"""Every knob, once: one frozen model per stage, its bounds and a line of description per field.

A market keeps its settings in `market.yaml` under the stage's name; what is not given there has the default here.
"""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class StageSettings(BaseModel):
    """What all stages' settings share: frozen, and a misspelled knob is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeedSettings(StageSettings):
    """Reading, cleaning and quarantining feed files."""

    quarantine_limit: Share = Field(0.2, description="a file with a larger share of broken rows fails")
    title_max_chars: int = Field(1000, ge=1, le=10_000, description="a longer title, after cleaning, is quarantined")
    text_max_chars: int = Field(10_000, ge=100, le=100_000, description="other text is cut after this many characters")
    unreadable_optional: Literal["quarantine", "drop"] = Field(
        "quarantine",
        description="what an unreadable price, currency, date or withdrawn mark does: the row or only the value goes",
    )
    memory_mb: int = Field(
        1024, ge=128, description="memory for DuckDB while a file loads; beyond it, it spills to disk"
    )
    max_departments: int = Field(
        60, ge=1, le=2_000, description="top levels of the labels with a partition of their own: the largest, at first"
    )
    shared_departments: int = Field(20, ge=1, le=100, description="partitions that the other top levels share, by hash")


class SamplingSettings(StageSettings):
    """Drawing the training sample."""

    seed: Seed = Field(0, description="changes the order in which offers are taken")
    policy: Literal["cap", "sqrt", "temperature"] = Field(
        "cap",
        description="offers asked of a category: cap = per_category of each; sqrt and temperature = per_category of "
        "the largest, others by the root or the power `temperature` of their share of the largest's size",
    )
    temperature: Share = Field(0.3, description="power of the policy temperature: 0 = equal, 1 = proportional")
    per_category: int = Field(200, ge=1, le=1_000_000, description="most offers asked of a country's category")
    fresh_per_category: int = Field(
        200,
        ge=0,
        le=1_000_000,
        description="offers asked of a category beside those, of what came since the last training, where a slice "
        "drifted; 0 = none",
    )
    minimum_per_category: int = Field(
        20, ge=1, le=1_000_000, description="least offers asked of a category, where per_category is not less still"
    )
    per_shop_share: float = Field(
        0.5,
        ge=0.001,
        le=1.0,
        description="largest share of what is asked of a category that one shop may fill, rounded up; 1 = no cap. "
        "Offers without a shop are not capped",
    )
    unlabelled_per_country: int = Field(
        5_000, ge=0, le=10_000_000, description="offers without a label kept per country, spread evenly over its shops"
    )
    reserve_slack: float = Field(
        1.25, ge=1.0, le=10.0, description="depth of the state's reserve over the largest draw: room for withdrawals"
    )
    test_share: Share = Field(0.2, description="share of product groups in the test split")
    validation_share: Share = Field(0.1, description="share of product groups in the validation split")
    near_duplicates: Literal["drop", "keep"] = Field(
        "drop", description="training offers that nearly repeat a test or validation offer: left out or kept"
    )
    near_duplicate_similarity: float = Field(
        0.7, ge=0.3, le=1.0, description="titles at or above this Jaccard similarity of character 4-grams are near"
    )
    suspect_labels: Literal["keep", "down_weight", "drop"] = Field(
        "keep", description="offers whose label another offer of the same product contradicts"
    )
    suspect_weight: Share = Field(0.3, description="training weight of a suspect offer where it is down-weighted")
    head_share: Share = Field(0.5, description="the largest categories that hold this share of offers are the head")
    tail_share: Share = Field(0.1, description="the smallest categories that hold this share of offers are the tail")
    on_unreadable_part: Literal["fail", "skip"] = Field(
        "fail", description="a missing or damaged part fails the census, or is left out and named in the result"
    )

    @model_validator(mode="after")
    def _shares_leave_room(self) -> Self:
        if self.test_share + self.validation_share >= 1.0:
            raise ValueError(
                "test_share and validation_share together must stay below 1: nothing would be left to train"
            )
        if self.head_share + self.tail_share > 1.0:
            raise ValueError("head_share and tail_share together must not exceed 1")
        return self


class EncoderSettings(StageSettings):
    """Which encoder, and how offers become its input."""

    reference: str = Field("package:multilingual-e5-small", description="local directory, hub id or package:NAME")
    max_tokens: int = Field(64, ge=8, le=512, description="longer inputs are cut")
    inputs: tuple[Literal["title", "brand", "shop_category", "description"], ...] = Field(
        ("title",), min_length=1, description="columns of an offer that are read, in this order"
    )
    prompt: str | None = Field(None, description="text in front of an offer's; none given = what the encoder knows")
    prompts: dict[str, str] = Field({}, description="the same per country, for example DE: 'query: '")
    instruction: str = Field(
        "Given the title of a shop's offer, find the product category that it belongs to",
        description="task description for encoders that take an instruction",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto = bf16 where the CPU or GPU has it")
    engine: Literal["auto", "openvino", "torch"] = Field("auto", description="auto = torch on a GPU, else OpenVINO")


class TuningSettings(StageSettings):
    """Fine-tuning the teacher's encoder, where `teacher.fine_tuning` asks for it."""

    top_layers: int = Field(2, ge=1, le=100, description="top: the last so many layers learn")
    hidden_mb: int = Field(
        4_096, ge=0, description="top: what the other layers make of the offers is kept where it takes no more memory"
    )
    lora_rank: int = Field(16, ge=1, le=1_024, description="lora: rank of what is added to each matrix")
    lora_rate_factor: float = Field(2.0, gt=0, le=1_000, description="lora: learning rate, relative")
    full_rate_factor: float = Field(0.2, gt=0, le=1_000, description="full: learning rate, relative")
    folds: int = Field(
        3,
        ge=2,
        le=20,
        description="parts of the training offers; each is answered for by an encoder that was tuned without it",
    )
    epochs: int = Field(5, ge=1, le=100, description="passes over the labelled training offers")
    batch_offers: int = Field(32, ge=1, le=4096, description="offers in one optimizer step")
    learning_rate: float = Field(5e-4, gt=0, le=0.1, description="highest learning rate of the body")
    head_decay: float = Field(0.05, ge=0, le=10, description="L2 penalty of the head before the body moves")
    head_rate_factor: float = Field(10.0, gt=0, le=1_000, description="learning rate of the head, relative")
    warmup_share: Share = Field(0.1, description="share of all steps over which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's, on matrices other than the token table")
    tail_loss: Literal["balanced", "adjusted"] = Field(
        "balanced",
        description="balanced = an offer weighs (offers of its class) to the power of minus tail_strength; adjusted = "
        "logits are raised by tail_strength times the logarithm of the class's share",
    )
    tail_strength: Share = Field(0.5, description="0 = an offer of any class counts alike")
    department_share: Share = Field(
        0.2, description="share of the loss that only asks for the label's department; 0 = all mistakes cost alike"
    )


class TeacherSettings(StageSettings):
    """Fitting the teacher and labelling with it."""

    seed: Seed = 0
    experts: tuple[Literal["encoder", "ngrams"], ...] = Field(
        ("encoder", "ngrams"), min_length=1, max_length=2, description="what the teacher's opinion is the sum of"
    )
    fine_tuning: Literal["none", "top", "lora", "full"] = Field(
        "none", description="what of the encoder learns from the labels: nothing, its last layers, additions, all"
    )
    tuning: TuningSettings = TuningSettings()
    encoder_kernel_width: float = Field(1.0, ge=0.1, le=10, description="of the encoder's kernel, as a distance")
    encoder_regularization: float = Field(0.05, ge=1e-4, le=100, description="ridge penalty of the encoder's expert")
    ngram_regularization: float = Field(0.3, ge=1e-4, le=100, description="ridge penalty of the n-grams' expert")
    name_regularization: float = Field(0.1, ge=1e-4, le=100, description="ridge penalty of what category names say")
    name_landmarks: int = Field(
        1_000,
        ge=10,
        le=50_000,
        description="more names than this are averaged by category and language, or by category",
    )
    class_balance: Share = Field(
        0.5, description="an offer weighs (offers of its class) to the power of minus this: 0 = none, 1 = full balance"
    )
    tail_emphasis: Share = Field(
        0.25, description="an answer's probability is divided by its class's share of the offers to this power"
    )
    exact_offers: int = Field(
        10_000, ge=10, le=50_000, description="up to so many training offers the experts are solved exactly"
    )
    landmarks: int = Field(
        4_000, ge=10, le=50_000, description="beyond, on about so many means of a few offers of a category"
    )
    share_offers: int = Field(
        2_000,
        ge=0,
        description="training offers, so many with and so many without a label, that tell how much likelier a class is "
        "than its labels say; 0 = as they say",
    )
    label_top_k: int = Field(16, ge=1, le=256, description="classes kept per soft label; the rest is one mass")
    transfer_titles: int = Field(
        60_000,
        ge=0,
        le=100_000_000,
        description="titles made up of training offers' words and labelled too, for students; about so many in all; "
        "0 = none",
    )
    most_transfer_titles: int = Field(27, ge=1, le=1_000, description="at most so many of them per training offer")
    transfer_balance: Share = Field(
        0.5, description="an offer's share of them falls with its category's size to this power; 0 = all alike"
    )

    @model_validator(mode="after")
    def _what_is_tuned_is_used(self) -> Self:
        if self.fine_tuning != "none" and "encoder" not in self.experts:
            raise ValueError("fine_tuning needs `encoder` among the experts: nothing else would read what was tuned")
        return self

    @model_serializer(mode="wrap")
    def _without_idle_knobs(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A frozen encoder's teacher does not depend on how it would have been tuned: nor do versions."""
        content: dict[str, Any] = write(self)
        if self.fine_tuning == "none":
            for name in ("fine_tuning", "tuning"):
                content.pop(name, None)
        return content


class RankingSettings(StageSettings):
    """Ranking encoders on the market's own sample."""

    references: tuple[str, ...] = Field((), description="further encoders to rank beside encoder.reference")
    first_layers: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (3,), description="also rank encoder.reference cut to its first so many layers"
    )
    train_offers: int = Field(2_000, ge=2, le=1_000_000, description="labelled training offers that all learn from")
    test_offers: int = Field(1_000, ge=1, le=1_000_000, description="labelled test offers that all are scored on")
    probe_decay: float = Field(1e-3, gt=0, le=1, description="L2 penalty of the linear probe on frozen features")
    timing_offers: int = Field(256, ge=16, le=100_000, description="test offers on which an encoder's speed is taken")
    timing_seconds: float = Field(5.0, gt=0, le=600, description="a slow encoder is timed on what fits into this")
    budget_s: float = Field(
        120.0, ge=0, description="no encoder starts after this, and a slow one stops then; the baselines always run"
    )
    seed: Seed = 0


class StudentSettings(StageSettings):
    """Distilling the MiniLM student."""

    seed: Seed = 0
    layers: Literal[3, 6, 12] = Field(3, description="transformer layers taken from the encoder's body")
    averaging: bool = Field(True, description="the last layer starts as the mean of the tokens, not as the encoder's")
    changed_titles: Share = Field(
        0.015,
        description="share of unseen titles whose pieces the trimmed vocabulary may change; 1 = pieces in use only",
    )
    word_least_offers: int = Field(
        2, ge=0, description="words that so many offers hold become pieces of their own; 0 = the encoder's pieces only"
    )
    most_words: int = Field(50_000, ge=0, le=1_000_000, description="at most so many of them, the most frequent first")
    most_names: int = Field(
        5_000,
        ge=0,
        le=100_000,
        description="category names learned beside the offers; where there are more, one by category and language, or "
        "by category; 0 = none",
    )
    piece_share: Share = Field(0.35, description="training: share of those words that are read as the encoder's pieces")
    piece_sharpness: Share = Field(
        0.15, description="training: power of a segmentation's probability when words are cut; 1 = always the likeliest"
    )
    typo_share: Share = Field(0.05, description="training: share of words that are mistyped")
    dropped_share: Share = Field(0.05, description="training: share of words that are left out")
    bare_share: Share = Field(0.0, description="training: share of titles that are written without accents")
    turned_share: Share = Field(0.1, description="training: share of titles that begin at another word")
    word_epochs: int = Field(8, ge=0, le=100, description="passes that teach the token table alone, before; 0 = none")
    word_gain: float = Field(4.0, ge=0, le=100, description="how strongly what the table learned is written into it")
    epochs: int = Field(3, ge=1, le=100, description="passes over labelled and unlabelled offers")
    least_steps: int = Field(
        2_000, ge=0, le=1_000_000, description="few offers get more passes, until so many steps; not when retraining"
    )
    retrain_epochs: int = Field(2, ge=1, le=100, description="passes when training goes on from an earlier student")
    rehearsed_offers: int = Field(
        4_000, ge=0, description="offers of unchanged partitions that retraining goes over again, rare classes whole"
    )
    changed_passes: int = Field(
        2,
        ge=1,
        le=20,
        description="retraining: passes of an epoch over changed partitions, while their offers are fewer; rare "
        "classes get more",
    )
    batch_offers: int = Field(32, ge=1, le=4096, description="offers in one optimizer step")
    learning_rate: float = Field(6e-4, gt=0, le=0.1, description="highest learning rate of body and head")
    retrain_learning_rate: float = Field(3e-4, gt=0, le=0.1, description="the same from an earlier student")
    embedding_rate_factor: float = Field(4.0, ge=0, le=100, description="learning rate of the token table, relative")
    warmup_share: Share = Field(0.1, description="share of all steps over which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's, on matrices other than the token table")
    temperature: float = Field(1.0, ge=1, le=20, description="softens the target and the student in the loss")
    alignment: float = Field(
        0.0,
        ge=0,
        le=100,
        description="weight, in the loss, of the cosine distance between an offer's state in the student and its "
        "embedding by the teacher's encoder; 0 = none",
    )
    patience: int = Field(
        0,
        ge=0,
        le=100,
        description="training stops after so many epochs without a better macro-F1 on validation offers, and the best "
        "epoch's weights are kept; 0 = all epochs, and the last one's",
    )
    label_noise: float = Field(0.04, ge=0.0001, le=0.5, description="share of shops' labels expected to be wrong")
    label_share: Share = Field(0.5, description="weight of the label beside the teacher's opinion where both agree")
    lowercase: bool = Field(True, description="read texts in lower case: shouting shops cost no vocabulary")
    head_room: Share = Field(0.1, description="least share of unused outputs, for categories to come")
    head_multiple: int = Field(64, ge=1, le=4096, description="the head's width is a multiple of this")
    head_fit_offers: int = Field(8_000, ge=2, description="offers that the head is fitted on before training")
    tail_emphasis: Share = Field(
        0.1, description="an answer's probability is divided by its class's share of the targets to this power"
    )
    read_share: Share = Field(
        0.999,
        description="a text is read as far as this share of the training offers goes: what a shop adds behind a title "
        "shall not outvote it; 1 = to encoder.max_tokens",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto = bf16 where CPU or GPU has it")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto = the GPU where there is one")


class FastSettings(StageSettings):
    """Distilling the fast student. How labels and teacher are weighed is in StudentSettings."""

    regularization: float = Field(0.1, ge=1e-4, le=100, description="ridge penalty")
    name_regularization: float = Field(0.1, ge=1e-4, le=100, description="ridge penalty of what category names say")
    most_names: int = Field(
        5_000,
        ge=10,
        le=100_000,
        description="more names than this are averaged by category and language, or by category",
    )
    class_balance: Share = Field(
        0.5, description="an offer weighs (mass of its likeliest class) to the power of minus this: 0 = none"
    )
    tail_emphasis: Share = Field(0.1, description="a class's score is divided by its share of the offers to this power")
    width: int = Field(128, ge=0, le=4096, description="numbers of a word's vector in the averaging network; 0 = none")
    hidden: int = Field(128, ge=1, le=8192, description="units between a text's vector and the classes")
    dropout: Share = Field(0.1, description="of the vector and of the hidden units, while the network learns")
    passes: int = Field(5, ge=1, le=100, description="the network's passes over offers, names and made-up titles")
    least_steps: int = Field(500, ge=0, le=1_000_000, description="few texts get more passes, until so many steps")
    batch_offers: int = Field(256, ge=1, le=4096, description="texts in one step of the network")
    learning_rate: float = Field(2e-3, gt=0, le=0.1, description="the network's highest learning rate")
    warmup_share: Share = Field(0.1, description="share of its steps over which the learning rate rises")
    seed: Seed = 0
    tolerance: float = Field(0.01, gt=0, lt=1, description="the solver stops when so much of the equations is left")
    iterations: int = Field(100, ge=1, le=10_000, description="the solver's most iterations")
    max_words: int = Field(64, ge=1, le=4096, description="longer texts are cut")
    read_share: Share = Field(
        0.99, description="a text is read as far as this share of the training offers goes; 1 = to max_words"
    )
    least_offers: int = Field(
        1, ge=1, description="a word, pair of words or run of characters gets a row when so many offers have it"
    )
    most_weights: int = Field(
        200_000_000, ge=1_000, description="rows times (classes + width); what is rarer gets no row beyond that"
    )


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


class MarketSettings(StageSettings):
    """Generating the synthetic market and its second day."""

    seed: Seed = Field(0, description="another seed gives other brands, products, shops and titles")
    offers: int = Field(30_000, ge=500, le=20_000_000, description="offers of the first day, all countries together")
    countries: tuple[Literal["DE", "AT", "ES", "IT", "FR", "GB"], ...] = Field(
        ("DE", "AT", "ES", "IT", "FR", "GB"), min_length=1, description="countries that have shops"
    )
    departments: tuple[str, ...] | None = Field(None, description="department ids to use; nothing = all of them")
    shops_per_country: int = Field(12, ge=2, le=5_000, description="shops in each country")
    offers_per_product: float = Field(2.5, ge=1.0, le=100.0, description="mean offers that share one product")
    zipf_exponent: float = Field(0.9, ge=0.0, le=3.0, description="how fast category sizes fall by rank")
    rare_categories: int = Field(8, ge=0, le=100, description="categories with only 1 to 5 offers in all")
    wrong_label_share: Share = Field(0.03, description="labelled offers that stand in a wrong category")
    unlabelled_share: Share = Field(0.35, description="offers without a label")
    nameless_share: Share = Field(0.1, description="titles with brand and model but no word for the product")
    missing_brand_share: Share = Field(0.15, description="titles that leave the brand out")
    typo_share: Share = Field(0.05, description="titles with a typing error")
    broken_row_share: Share = Field(0.001, description="feed rows that break the contract, on top of the offers")
    first_day: date = Field(date(2026, 1, 5), description="when the first day's offers were seen")
    second_day_offers: int = Field(6_000, ge=100, le=20_000_000, description="offers of the second day, everywhere")
    drifted_offers: int = Field(1_500, ge=50, le=5_000_000, description="more offers in the slice that drifts")


class Settings(StageSettings):
    """All stages' settings: the `settings:` part of a market file."""

    market: MarketSettings = MarketSettings()
    feeds: FeedSettings = FeedSettings()
    sampling: SamplingSettings = SamplingSettings()
    encoder: EncoderSettings = EncoderSettings()
    ranking: RankingSettings = RankingSettings()
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    fast: FastSettings = FastSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    engines: EngineSettings = EngineSettings()
    cost: CostSettings = CostSettings()
    release: ReleaseSettings = ReleaseSettings()
    predictions: PredictionSettings = PredictionSettings()
    drift: DriftSettings = DriftSettings()
