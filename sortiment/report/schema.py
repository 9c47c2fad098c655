"""What `report.json` holds: one frozen model per section; `rows` has the rows inside them.

Every section of a `Report` may be absent: it is then None or empty, and the page says "not done" and why (the
`not_done` entry whose `section` names it).
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from sortiment.errors import StorageError
from sortiment.misfits import list_misfits, told
from sortiment.report.rows import (
    Basis,
    BehaviourRow,
    BrokenRow,
    CategoryCount,
    Confusion,
    CostRow,
    Count,
    Coverage,
    DriftDecision,
    DriftSignal,
    Epoch,
    FeedRow,
    Histogram,
    Interval,
    LeftOutRow,
    MeasureRow,
    Number,
    RankingRow,
    ReleaseRow,
    ReliabilityBin,
    Section,
    SpeedRow,
)

Dimension = Literal["by_country", "by_department", "by_slice", "by_feed", "by_shop_size", "by_title_length"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
MISFITS_SHOWN = 10


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
    empty_columns: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="feed to mapped columns that no row of it fills"
    )


class Sampling(Section):
    """What the sample took. `splits`: train, validation, test to offers."""

    offers: Count = Field(0, description="labelled offers before")
    sampled: Count = 0
    unlabelled_sampled: Count = 0
    per_category: Count | None = Field(None, description="the cap per country and category")
    cut_by_category_cap: Count = 0
    cut_by_shop_cap: Count = 0
    suspects: Count = 0
    tested_abroad: Count = Field(0, description="training offers not learned: they repeat another country's test offer")
    splits: dict[str, Count] = Field(default_factory=dict)
    skipped: tuple[str, ...] = Field((), description="parts that cannot be read and are left out, each with why")
    by_department: tuple[Coverage, ...] = ()
    by_shop: tuple[Coverage, ...] = ()


class Quarantine(Section):
    rows: Count = 0
    read: Count | None = Field(None, description="rows read in all")
    by_reason: dict[str, Count] = Field(default_factory=dict)
    by_file: dict[str, Count] = Field(default_factory=dict)
    examples: tuple[BrokenRow, ...] = ()
    left_out: tuple[LeftOutRow, ...] = ()


class Grid(Section):
    """One metric, overall and along each dimension."""

    overall: Number = None
    by_country: dict[str, Number] = Field(default_factory=dict)
    by_department: dict[str, Number] = Field(default_factory=dict)
    by_slice: dict[str, Number] = Field(default_factory=dict)
    by_feed: dict[str, Number] = Field(default_factory=dict)
    by_shop_size: dict[str, Number] = Field(default_factory=dict)
    by_title_length: dict[str, Number] = Field(default_factory=dict)


class IntervalGrid(Section):
    """The interval (low, high) of macro-F1, overall and along each dimension."""

    overall: Interval | None = None
    by_country: dict[str, Interval] = Field(default_factory=dict)
    by_department: dict[str, Interval] = Field(default_factory=dict)
    by_slice: dict[str, Interval] = Field(default_factory=dict)
    by_feed: dict[str, Interval] = Field(default_factory=dict)
    by_shop_size: dict[str, Interval] = Field(default_factory=dict)
    by_title_length: dict[str, Interval] = Field(default_factory=dict)


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


class ModelMeasures(Section):
    """One model beyond right and wrong, on the latest answers (`sortiment.evaluation.measures`)."""

    overall: MeasureRow
    by_country: dict[str, MeasureRow] = Field(default_factory=dict)


class SoftLabels(Section):
    """The teacher's labels: how sure, how many, how many found again instead of paid for again."""

    confidence: Histogram | None = None
    entropy: Histogram | None = None
    labelled: Count | None = None
    reused: Count | None = None


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


class Drift(Section):
    """A second feed with drift in one partition: what was seen, decided and won back. Scores are macro-F1."""

    partition: str | None = None
    scenario: str | None = None
    why: str | None = Field(None, description="the verdict on the partition in words")
    before: Number = Field(
        None, description="champion on the second day's test offers as they were without the drift, where it was made"
    )
    drifted: Number = Field(None, description="champion on the same offers with the drift")
    after: Number = Field(None, description="the student that was live in the end, on the same offers")
    recovered_share: Number = Field(None, description="(after - drifted) / (before - drifted)")
    partitions_relabelled: tuple[str, ...] = ()
    signals: tuple[DriftSignal, ...] = ()
    decisions: tuple[DriftDecision, ...] = ()


class Champion(Section):
    version: str
    number: Count | None = None
    promoted_at: str | None = None


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
    reliability_by_country: dict[str, dict[str, tuple[ReliabilityBin, ...]]] = Field(
        default_factory=dict, description="country to model to bins"
    )
    measures: dict[str, ModelMeasures] = Field(default_factory=dict)
    behaviour: tuple[BehaviourRow, ...] = ()
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


def parse_report(content: Mapping[str, Any]) -> Report:
    """A report from parsed JSON. Raises StorageError that names every key that cannot be read."""
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        raise StorageError(
            "the report cannot be read",
            fix="correct what made it, or run the demo again",
            **told(list_misfits(error, Report)[:MISFITS_SHOWN]),
        ) from error
