"""What `report.json` holds: one frozen model per section, and the rows that tables and figures share.

Every section of a `Report` may be absent: it is then None or empty, and the page says "not done" and why (the
`not_done` entry whose `section` names it). A number that is not a number (nan, infinity) is stored as null, so that
the file is always plain JSON. Rows accept dictionaries or any object with the same attributes (a stage's dataclass);
keys that are not listed here are kept.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sortiment.errors import StorageError

Basis = Literal["measured", "published", "estimated"]
Dimension = Literal["by_country", "by_department", "by_slice", "by_feed"]
DIMENSIONS: tuple[Dimension, ...] = ("by_country", "by_department", "by_slice", "by_feed")


def _plain_number(value: Any) -> Any:
    """A numpy scalar as Python's own; nan and infinity as None."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_plain_number)]
Count = Annotated[int, BeforeValidator(_plain_number)]
Interval = tuple[Number, Number]


class Section(BaseModel):
    """What all parts share: frozen, read from dictionaries or attributes, unknown keys kept."""

    model_config = ConfigDict(frozen=True, extra="allow", from_attributes=True)


class Run(Section):
    """When and how this run was started. `command` repeats it."""

    date: str | None = Field(None, description="ISO 8601, passed in by the caller")
    command: str | None = None
    home: str | None = None
    commit: str | None = None
    repeat: tuple[dict[str, str], ...] = Field((), description="further commands: {command, what}")


class Seconds(Section):
    total: Number = None
    stages: dict[str, Number] = Field(default_factory=dict, description="stage to seconds, in the order they ran")


class FeedRow(Section):
    """One feed of the market."""

    name: str
    rows: Count = Field(0, description="rows read")
    loaded: Count = 0
    quarantined: Count = 0
    countries: tuple[str, ...] = ()


class Market(Section):
    """What was classified. Keys of `by_country`: offers, unlabelled, categories, shops (any may be absent)."""

    name: str
    synthetic: bool
    countries: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    categories: Count = 0
    offers: Count = 0
    unlabelled: Count = 0
    feeds: tuple[FeedRow, ...] = ()
    by_country: dict[str, dict[str, Number]] = Field(default_factory=dict)


class CategoryCount(Section):
    """One category: its labelled offers, and how many of them were sampled."""

    category_id: str
    path: tuple[str, ...] = ()
    department: str | None = None
    slice: str | None = None
    offers: Count
    sampled: Count = 0

    @property
    def name(self) -> str:
        return " › ".join(self.path) or self.category_id


class Coverage(Section):
    """One department, shop or category before and after sampling; `cut_by_shop_cap` counts what only that cap cut."""

    name: str
    offers: Count
    sampled: Count
    cut_by_shop_cap: Count = 0

    @property
    def share(self) -> float:
        return self.sampled / self.offers if self.offers else 0.0


class Sampling(Section):
    """What the sample took. `splits`: train, validation, test to offers."""

    offers: Count = Field(0, description="labelled offers before")
    sampled: Count = 0
    unlabelled_sampled: Count = 0
    per_category: Count | None = Field(None, description="the cap per country and category")
    cut_by_category_cap: Count = 0
    cut_by_shop_cap: Count = 0
    suspects: Count = 0
    splits: dict[str, Count] = Field(default_factory=dict)
    by_department: tuple[Coverage, ...] = ()
    by_shop: tuple[Coverage, ...] = ()


class BrokenRow(Section):
    """One quarantined row, as an example."""

    source_file: str = ""
    line: Count | None = None
    reason: str
    column_name: str | None = None
    value: str | None = None


class Quarantine(Section):
    rows: Count = 0
    read: Count | None = Field(None, description="rows read in all")
    by_reason: dict[str, Count] = Field(default_factory=dict)
    by_file: dict[str, Count] = Field(default_factory=dict)
    examples: tuple[BrokenRow, ...] = ()


class Grid(Section):
    """One metric, overall and along each dimension."""

    overall: Number = None
    by_country: dict[str, Number] = Field(default_factory=dict)
    by_department: dict[str, Number] = Field(default_factory=dict)
    by_slice: dict[str, Number] = Field(default_factory=dict)
    by_feed: dict[str, Number] = Field(default_factory=dict)


class IntervalGrid(Section):
    """The interval (low, high) of macro-F1, overall and along each dimension."""

    overall: Interval | None = None
    by_country: dict[str, Interval] = Field(default_factory=dict)
    by_department: dict[str, Interval] = Field(default_factory=dict)
    by_slice: dict[str, Interval] = Field(default_factory=dict)
    by_feed: dict[str, Interval] = Field(default_factory=dict)


class ModelScores(Section):
    """One model's scores on the test split; `offers` counts the test offers behind each."""

    macro_f1: Grid = Grid()
    accuracy: Grid = Grid()
    interval: IntervalGrid = IntervalGrid()
    offers: Grid = Grid()

    @classmethod
    def from_leaves(cls, leaves: Mapping[str, Any]) -> "ModelScores":
        """From one model's part of `scores.json`: leaves `{offers, accuracy, macro_f1, low, high}`."""

        def gather(pick: Any) -> dict[str, Any]:
            grid: dict[str, Any] = {"overall": pick(leaves["overall"])} if leaves.get("overall") else {}
            for dimension in DIMENSIONS:
                grid[dimension] = {key: pick(leaf) for key, leaf in leaves.get(dimension, {}).items()}
            return grid

        return cls.model_validate(
            {
                "macro_f1": gather(lambda leaf: leaf.get("macro_f1")),
                "accuracy": gather(lambda leaf: leaf.get("accuracy")),
                "interval": gather(lambda leaf: (leaf.get("low"), leaf.get("high"))),
                "offers": gather(lambda leaf: leaf.get("offers")),
            }
        )


class Epoch(Section):
    """One point of a training curve."""

    epoch: Annotated[float, BeforeValidator(_plain_number)]
    loss: Number = None
    validation_loss: Number = None
    macro_f1: Number = None


class ReliabilityBin(Section):
    """Offers whose confidence fell into one bin: mean confidence, share that was right."""

    confidence: Number
    accuracy: Number
    offers: Count


class Histogram(Section):
    """`len(edges) == len(counts) + 1`."""

    edges: tuple[float, ...]
    counts: tuple[Count, ...]


class SoftLabels(Section):
    """The teacher's labels: how sure, how many, how many found again instead of paid for again."""

    confidence: Histogram | None = None
    entropy: Histogram | None = None
    labelled: Count | None = None
    reused: Count | None = None


class Confusion(Section):
    """Offers of one category that a model put into another, with titles as examples (untrusted text)."""

    actual: str
    predicted: str
    offers: Count
    share: Number = Field(None, description="of the actual category's test offers")
    country: str | None = None
    examples: tuple[str, ...] = ()


class RankingRow(Section):
    """One encoder (or baseline) on the market's own sample."""

    encoder: str
    kind: str | None = None
    macro_f1: Number = None
    low: Number = None
    high: Number = None
    macro_f1_tail: Number = None
    accuracy: Number = None
    offers_per_s: Number = None
    memory_mb: Number = None
    size_mb: Number = None
    chosen: bool = False
    note: str | None = None


class SpeedRow(Section):
    """One engine. `offers_per_s` is end to end with tokenization, `model_offers_per_s` the model alone."""

    engine: str
    offers_per_s: Number = None
    model_offers_per_s: Number = None
    p50_ms: Number = None
    p99_ms: Number = None
    size_mb: Number = None
    ratio_to_naive: Number = None
    agreement: Number = Field(None, description="share of offers with the same top class as the reference engine")
    macro_f1: Number = None
    source: str = Field("measured", description="measured, published by X, or estimated from Y")
    reason: str | None = Field(None, description="why there is no figure")
    command: str | None = Field(None, description="what would give the figure")


class CostRow(Section):
    """One instance with one engine. `basis` says where its speed comes from."""

    instance: str
    engine: str | None = None
    usd_per_hour: Number = None
    offers_per_s: Number = None
    usd_per_million: Number = None
    usd_per_day: Number = None
    instances_for_peak: Number = None
    basis: Basis
    source: str | None = None


class CostChoice(Section):
    """The instance that was chosen, and why."""

    instance: str
    engine: str | None = None
    usd_per_million: Number = None
    usd_per_day: Number = None
    instances: Number = None
    basis: Basis | None = None
    why: str | None = None


class Cost(Section):
    rows: tuple[CostRow, ...] = ()
    choice: CostChoice | None = None
    region: str | None = None
    prices_as_of: str | None = None


class DriftSignal(Section):
    """One test on the drifted partition: `value` beyond `threshold` counts as drifted."""

    name: str
    value: Number = None
    threshold: Number = None
    drifted: bool = False


class DriftDecision(Section):
    """One partition (country|department): its drift score, and what was decided."""

    partition: str
    score: Number = None
    threshold: Number = None
    drifted: bool = False
    offers: Count | None = None
    action: str | None = Field(None, description="re-labelled, left alone, not judged")
    why: str | None = None


class Drift(Section):
    """A second feed with drift in one partition: what was seen, decided and won back. Scores are macro-F1."""

    partition: str | None = None
    scenario: str | None = None
    before: Number = None
    drifted: Number = None
    after: Number = None
    recovered_share: Number = Field(None, description="(after - drifted) / (before - drifted)")
    partitions_relabelled: tuple[str, ...] = ()
    signals: tuple[DriftSignal, ...] = ()
    decisions: tuple[DriftDecision, ...] = ()


class Champion(Section):
    version: str
    number: Count | None = None
    promoted_at: str | None = None


class Gate(Section):
    """One condition of a release."""

    name: str
    passed: bool
    value: Number = None
    limit: Number = None
    why: str | None = None


class ReleaseRow(Section):
    """One entry of the release log, oldest first. `action`: promoted, refused, rolled back."""

    action: str
    version: str
    number: Count | None = None
    decided_at: str | None = None
    reason: str | None = None
    macro_f1: Number = None
    gates: tuple[Gate, ...] = ()


class NotDone(Section):
    """What this run did not do, why, and the command that would. `section` names the report key it explains."""

    what: str
    why: str
    command: str | None = None
    section: str | None = None


class Report(Section):
    """The whole report. `scores` and `scores_truth` are by model: teacher, student, int8, and any others."""

    market: Market
    run: Run = Run()
    seconds: Seconds = Seconds()
    imbalance: tuple[CategoryCount, ...] = ()
    sampling: Sampling | None = None
    quarantine: Quarantine | None = None
    scores: dict[str, ModelScores] = Field(default_factory=dict)
    scores_truth: dict[str, ModelScores] = Field(default_factory=dict)
    training: dict[str, tuple[Epoch, ...]] = Field(default_factory=dict)
    reliability: dict[str, tuple[ReliabilityBin, ...]] = Field(default_factory=dict)
    soft_labels: SoftLabels | None = None
    confusions: tuple[Confusion, ...] = ()
    ranking: tuple[RankingRow, ...] = ()
    speed: tuple[SpeedRow, ...] = ()
    cost: Cost | None = None
    drift: Drift | None = None
    champion: Champion | None = None
    releases: tuple[ReleaseRow, ...] = ()
    not_done: tuple[NotDone, ...] = ()
    machine: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, Any] = Field(default_factory=dict)


RowType = TypeVar("RowType", bound=Section)


def read_rows(model: type[RowType], rows: Iterable[RowType | Mapping[str, Any] | Any]) -> list[RowType]:
    """Rows as `model`, from its own instances, dictionaries, or objects with the same attributes."""
    return [row if isinstance(row, model) else model.model_validate(row) for row in rows]


def parse_report(content: Mapping[str, Any]) -> Report:
    """A report from parsed JSON. Raises StorageError that names every key that cannot be read."""
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        raise StorageError(
            "the report cannot be read",
            value="; ".join(_problems(error.errors())),
            allowed="the sections in sortiment/report/schema.py",
            fix="correct what made it, or run the demo again",
        ) from error


def _problems(errors: Sequence[Any]) -> list[str]:
    return [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in errors[:10]]
