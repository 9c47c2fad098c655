"""Models: encoders, the teacher that labels, the students that learn from it."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from sortiment.settings.base import Seed, Share, StageSettings


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
        4_000,
        ge=10,
        le=50_000,
        description="beyond, on about so many means of a few offers of a category; on two of each category or more",
    )
    kernel_mb: int = Field(
        6_000, ge=1, description="so many landmarks or category names that their equations take more memory are refused"
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
        """A frozen encoder's teacher does not depend on how it would have been tuned, and none on a limit that nobody
        set: nor do versions."""
        content: dict[str, Any] = write(self)
        if self.fine_tuning == "none":
            for name in ("fine_tuning", "tuning"):
                content.pop(name, None)
        if self.kernel_mb == type(self).model_fields["kernel_mb"].default:
            content.pop("kernel_mb", None)
        return content


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
        8_000, ge=0, description="offers of unchanged partitions that retraining goes over again, rare classes whole"
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
        2.0,
        ge=0,
        le=100,
        description="weight, in the loss, of the cosine distance between a text's state in the student and its "
        "embedding by encoder.reference, as it is before any fine-tuning, less their mean; falls to 0 while the "
        "student learns; 0 = none, as when retraining",
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
    alignment: float = Field(3.0, ge=0, le=100, description="as student.alignment, of the averaging network")
    dropout: Share = Field(0.1, description="of the vector and of the hidden units, while the network learns")
    passes: int = Field(5, ge=1, le=100, description="the network's passes over offers, names and made-up titles")
    least_steps: int = Field(500, ge=0, le=1_000_000, description="few texts get more passes, until so many steps")
    batch_offers: int = Field(256, ge=1, le=4096, description="texts in one step of the network")
    learning_rate: float = Field(1e-2, gt=0, le=0.1, description="the network's highest learning rate")
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
