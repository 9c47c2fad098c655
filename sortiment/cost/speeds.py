"""Speeds of this student on instances, each with its basis: measured, published or estimated.

Measured here stays a row of this machine. From it, CPU instances of the same architecture are estimated by their number
of cores. For Inferentia2 the vendor publishes other models; the student's speed is estimated from them by arithmetic.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

from sortiment.cost.price_list import Instance, PriceList, PublishedSpeed

Basis = Literal["measured", "published", "estimated"]
THIS_MACHINE = "this machine"


@dataclass(frozen=True)
class Speed:
    """Offers per second of one engine on one instance. `this_student`: False where the figure is another model's.

    from_measurement: the student itself was timed, here or on fewer cores of the same kind.
    source: where the figure comes from, with the formula where it is an estimate.
    """

    instance: str
    engine: str
    model: str
    this_student: bool
    from_measurement: bool
    offers_per_s: float
    basis: Basis
    source: str


def gather_speeds(speed_rows: Sequence[Any], prices: PriceList) -> list[Speed]:
    """Measured rows, then published ones, then estimates, in the order of the price list.

    speed_rows: of `sortiment.engines.benchmark_engines`, as dataclasses or dictionaries.
    """
    facts = [_read_facts(row) for row in speed_rows]
    timed = [row for row in facts if row["offers_per_s"] and not row.get("baseline")]
    measured = [
        Speed(THIS_MACHINE, row["engine"], "student", True, True, row["offers_per_s"], "measured",
              f"measured here on {row['machine']}, {row['date']}")
        for row in timed
    ]  # fmt: skip
    published = [
        Speed(row.instance, row.engine, f"{row.model}, {row.tokens} tokens", False, False, row.offers_per_s,
              "published", f"published by {row.source}")
        for row in prices.published
    ]  # fmt: skip
    on_cores = [
        estimate_on_cores(row, instance)
        for instance in prices.instances
        for row in timed
        if instance.kind == "cpu" and instance.architecture == row.get("architecture")
    ]
    on_neuron = [
        estimate_on_neuron(timed[0], instance, prices.published)
        for instance in prices.instances
        if timed and instance.kind == "neuron" and prices.published
    ]
    return [*measured, *published, *on_cores, *on_neuron]


def estimate_on_cores(row: Mapping[str, Any], instance: Instance) -> Speed:
    """Measured speed times the instance's cores over this machine's: equal speed per core is assumed."""
    rate = row["offers_per_s"] * instance.physical_cores / row["cores"]
    formula = f"{row['offers_per_s']:,.0f}/s x {instance.physical_cores} cores / {row['cores']} cores"
    return Speed(
        instance.instance, row["engine"], "student", True, True, rate, "estimated",
        f"estimated from the measurement here on {row['machine']}: {formula}, equal speed per core assumed",
    )  # fmt: skip


def estimate_on_neuron(row: Mapping[str, Any], instance: Instance, published: Sequence[PublishedSpeed]) -> Speed:
    """The published model that is nearest in width, scaled by arithmetic and by what narrower layers cost.

    Arithmetic per input: layers x tokens x (8 h^2 + 4 h f + 4 tokens h). Chips do narrow layers less efficiently: the
    exponent of the width is fitted to the published models' arithmetic per second. Tokens are those after padding to
    Neuron's length buckets. The host's cores must tokenize as fast as the chip computes.
    """
    work = count_operations(row["layers"], row["hidden"], row["intermediate"], row["bucket_tokens"])
    known = {each.model: each for each in published}
    nearest = min(known.values(), key=lambda each: (abs(each.hidden - row["hidden"]), -each.layers))
    exponent = fit_width_exponent(published)
    done = count_operations(nearest.layers, nearest.hidden, nearest.intermediate, nearest.tokens)
    chip = nearest.offers_per_s * done / work * (row["hidden"] / nearest.hidden) ** exponent
    host = row["tokenizer_offers_per_s"] / row["cores"] * instance.physical_cores
    formula = (
        f"{nearest.model} on {nearest.instance} ({nearest.offers_per_s:,.0f}/s, published by {nearest.source}), "
        f"x {done / work:.1f} for less arithmetic, x ({row['hidden']} / {nearest.hidden})^{exponent:.2f} for narrower "
        f"layers: {chip:,.0f}/s; its host tokenizes {host:,.0f}/s at the speed per core here; the lower of the two"
    )
    return Speed(
        instance.instance, "neuron-bf16", "student", True, False, min(chip, host), "estimated",
        f"estimated from {formula}. An upper bound: nothing ran on Neuron, calls and transfers are not counted",
    )  # fmt: skip


def count_operations(layers: int, hidden: int, intermediate: int, tokens: float) -> float:
    """Multiplications and additions of an encoder for one input."""
    return layers * tokens * (8 * hidden**2 + 4 * hidden * intermediate + 4 * tokens * hidden)


def fit_width_exponent(published: Sequence[PublishedSpeed]) -> float:
    """Slope of log(operations per second) over log(hidden width), by least squares; 0 where all widths are equal."""
    points = [
        (
            math.log(each.hidden),
            math.log(each.offers_per_s * count_operations(each.layers, each.hidden, each.intermediate, each.tokens)),
        )
        for each in published
    ]
    middle_x, middle_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread > 0 else 0.0


def _read_facts(row: Any) -> dict[str, Any]:
    return asdict(row) if is_dataclass(row) and not isinstance(row, type) else dict(row)
