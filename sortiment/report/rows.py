"""The rows of a report, which its tables and its figures share: one frozen model per kind.

A row is made from a dictionary or from any object with the same attributes (a stage's dataclass); keys that are not
listed here are kept. A number that is not a number (nan, infinity) becomes None: JSON has no other word for it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

OVERALL = "overall"
ACTIONS = {"promote": "promoted", "refuse": "refused", "rollback": "rolled back"}
Basis = Literal["measured", "published", "estimated"]


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


class FeedRow(Section):
    """One feed of the market."""

    name: str
    rows: Count = Field(0, description="rows read")
    loaded: Count = 0
    quarantined: Count = 0
    countries: tuple[str, ...] = ()


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
    """One department, shop or category before and after sampling; `cut_by_shop_cap`: what it would have more without
    that cap, of a shop in the mean."""

    name: str
    offers: Count
    sampled: Count
    cut_by_shop_cap: Count = 0

    @property
    def share(self) -> float:
        return self.sampled / self.offers if self.offers else 0.0


class BrokenRow(Section):
    """One quarantined row, as an example."""

    source_file: str = ""
    line: Count | None = None
    reason: str
    column_name: str | None = None
    value: str | None = None


class LeftOutRow(Section):
    """A feed file that cannot be read. kept: what it held before stands in for it."""

    source_file: str
    feed: str = ""
    problem: str = ""
    kept: bool = False


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


class Confusion(Section):
    """Offers of one category that a model put into another, with titles as examples (untrusted text)."""

    actual: str
    predicted: str
    offers: Count
    share: Number = Field(None, description="of the actual category's test offers")
    distance: Number = Field(None, description="in the tree: 1 = another department")
    cost_share: Number = Field(None, description="of what all mistakes cost: living offers times distance")
    country: str | None = None
    examples: tuple[str, ...] = ()


class MeasureRow(Section):
    """One model on some test offers; agreement and kl (nats) are with the teacher, None for itself."""

    offers: Count = 0
    hierarchical_f1: Number = None
    top5_accuracy: Number = None
    ece: Number = None
    agreement: Number = None
    kl: Number = None


class BehaviourRow(Section):
    """One model under one kind of change of the title: share of answers that flip (of sure answers to no title)."""

    model: str
    kind: str
    offers: Count = Field(0, description="titles that the change changed")
    flip_rate: Number = None
    limit: Number = None

    @property
    def passed(self) -> bool:
        return self.flip_rate is None or self.limit is None or self.flip_rate <= self.limit


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


class Gate(Section):
    """One condition of a release: the challenger's figure, what it was compared with, the worst that passes."""

    name: str
    passed: bool
    value: Number = None
    against: Number = None
    limit: Number = None
    why: str | None = None

    @classmethod
    def from_log(cls, gate: Mapping[str, Any]) -> "Gate":
        """From a gate of the release log, which names the slice that it judged."""
        where = "" if gate["slice"] == OVERALL else f" in {gate['slice']}"
        return cls(
            name=f"{gate['gate'].replace('_', ' ')}{where}",
            passed=gate["passed"],
            value=gate["challenger"],
            against=gate["champion"],
            limit=gate["limit"],
            why=gate["why"],
        )


class ReleaseRow(Section):
    """One entry of the release log, oldest first. `action`: promoted, refused, rolled back."""

    action: str
    version: str
    number: Count | None = None
    decided_at: str | None = None
    reason: str | None = None
    macro_f1: Number = Field(None, description="of the candidate on the whole test split")
    gates: tuple[Gate, ...] = ()

    @property
    def failed_gates(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.passed)

    @classmethod
    def from_event(cls, event: Mapping[str, Any] | Any) -> "ReleaseRow":
        """From an event of the release log (`sortiment.release`), as a dataclass or as its JSON."""
        content = event if isinstance(event, Mapping) else vars(event)
        gates = (content["decision"] or {}).get("gates", ())
        overall = {gate["gate"]: gate["challenger"] for gate in gates if gate["slice"] == OVERALL}
        return cls(
            action=ACTIONS.get(content["action"], content["action"]),
            version=content["model_version"],
            number=content["number"],
            decided_at=content["at"],
            reason=content["reason"],
            macro_f1=overall.get("macro_f1", overall.get("share_of_teacher")),
            gates=tuple(Gate.from_log(gate) for gate in gates),
        )


RowType = TypeVar("RowType", bound=Section)


def read_rows(model: type[RowType], rows: Iterable[RowType | Mapping[str, Any] | Any]) -> list[RowType]:
    """Rows as `model`, from its own instances, dictionaries, or objects with the same attributes."""
    return [row if isinstance(row, model) else model.model_validate(row) for row in rows]
