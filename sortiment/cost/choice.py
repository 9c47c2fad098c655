"""The instance that classifies the day's offers within the deadline for the least money.

    instances for the day  = offers per day / (deadline x offers per second x utilization), rounded up
    instances for the peak = offers of the peak minute / 60 / (offers per second x utilization), rounded up
    USD per million        = USD per hour / (offers per second x utilization x 3600) x 1,000,000
    USD per day            = instances for the day x deadline hours x USD per hour
    USD per day, peak      = instances for the peak x 24 x USD per hour: a fleet that never falls behind

A row's basis says what its speed rests on; a choice that rests on an estimate says so.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sortiment.cost.price_list import PriceList
from sortiment.cost.speeds import THIS_MACHINE, Basis, Speed, gather_speeds
from sortiment.errors import SettingsError
from sortiment.settings import CostSettings


@dataclass(frozen=True)
class CostRow:
    """One engine on one instance. Prices are None where the list has none, or where the speed is another model's."""

    instance: str
    engine: str
    model: str
    this_student: bool
    from_measurement: bool
    basis: Basis
    source: str
    offers_per_s: float
    usd_per_hour: float | None
    price_source: str | None
    instances_for_day: int
    instances_for_peak: int
    usd_per_million: float | None
    usd_per_day: float | None
    usd_per_day_for_peak: float | None
    meets_deadline: bool


@dataclass(frozen=True)
class UnknownSpeed:
    """An instance of the price list whose speed with this student nobody measured, and how to."""

    instance: str
    hardware: str
    why: str


@dataclass(frozen=True)
class InstanceChoice:
    """All rows, cheapest first, those without a price last. `chosen` is None where no priced row meets the deadline."""

    region: str
    rows: tuple[CostRow, ...]
    unknown: tuple[UnknownSpeed, ...]
    chosen: CostRow | None
    why: str
    prices_as_of: str

    @property
    def rests_on_estimate(self) -> bool:
        return self.chosen is not None and self.chosen.basis != "measured"

    def to_json(self) -> dict[str, Any]:
        """As `report.json` holds it under `cost`."""
        chosen = self.chosen
        return {
            "region": self.region,
            "prices_as_of": self.prices_as_of,
            "rows": [asdict(row) for row in self.rows],
            "unknown": [asdict(row) for row in self.unknown],
            "choice": None if chosen is None else {
                "instance": chosen.instance,
                "engine": chosen.engine,
                "instances": chosen.instances_for_day,
                "instances_for_peak": chosen.instances_for_peak,
                "usd_per_million": chosen.usd_per_million,
                "usd_per_day": chosen.usd_per_day,
                "basis": chosen.basis,
                "why": self.why,
            },
            "why": self.why,
        }  # fmt: skip


def choose_instance(speed_rows: Sequence[Any], settings: CostSettings, prices: PriceList) -> InstanceChoice:
    """Price every (instance, engine) whose speed is known and choose the cheapest per day that meets the deadline.

    speed_rows: of `sortiment.engines.benchmark_engines`, as dataclasses or dictionaries; rows without a speed and the
    naive baseline are left out. Raises SettingsError for a region that the price list does not have.
    """
    if settings.region not in prices.regions:
        raise SettingsError(
            "the price list has no such region",
            value=settings.region,
            allowed=", ".join(prices.regions),
            fix="correct cost.region, or give a price list that has it",
        )
    speeds = gather_speeds(speed_rows, prices)
    rows = sorted((_price(speed, settings, prices) for speed in speeds), key=_order)
    affordable = [row for row in rows if row.usd_per_day is not None and row.meets_deadline]
    chosen = affordable[0] if affordable else None
    return InstanceChoice(
        region=settings.region,
        rows=tuple(rows),
        unknown=_find_unknown(rows, prices),
        chosen=chosen,
        why=_explain(chosen, settings, rows),
        prices_as_of=", ".join(sorted({each.as_of for each in prices.prices if each.region == settings.region})),
    )


def _price(speed: Speed, settings: CostSettings, prices: PriceList) -> CostRow:
    usable = speed.offers_per_s * settings.utilization
    for_day = math.ceil(settings.offers_per_day / (settings.deadline_hours * 3600 * usable))
    for_peak = math.ceil(settings.peak_offers_per_minute / 60 / usable)
    per_hour, source = _find_price(speed, settings, prices)
    comparable = per_hour if speed.this_student else None
    return CostRow(
        instance=speed.instance,
        engine=speed.engine,
        model=speed.model,
        this_student=speed.this_student,
        from_measurement=speed.from_measurement,
        basis=speed.basis,
        source=speed.source,
        offers_per_s=speed.offers_per_s,
        usd_per_hour=per_hour,
        price_source=source,
        instances_for_day=for_day,
        instances_for_peak=for_peak,
        usd_per_million=None if comparable is None else comparable / (usable * 3600) * 1e6,
        usd_per_day=None if comparable is None else for_day * settings.deadline_hours * comparable,
        usd_per_day_for_peak=None if comparable is None else for_peak * 24 * comparable,
        meets_deadline=speed.this_student and for_day <= settings.max_instances,
    )


def _find_price(speed: Speed, settings: CostSettings, prices: PriceList) -> tuple[float | None, str | None]:
    if speed.instance == THIS_MACHINE:
        given = settings.this_machine_usd_per_hour
        return given, "cost.this_machine_usd_per_hour" if given is not None else None
    price = prices.price(speed.instance, settings.region)
    return (price.usd_per_hour, f"{price.source}, {price.as_of}") if price else (None, None)


def _order(row: CostRow) -> tuple[bool, bool, float, float, str, str, str]:
    """Priced rows by USD per day, then this student's without a price, then other models' by speed."""
    cost = row.usd_per_day
    return (cost is None, not row.this_student, cost or 0.0, -row.offers_per_s, row.instance, row.engine, row.model)


def _find_unknown(rows: Sequence[CostRow], prices: PriceList) -> tuple[UnknownSpeed, ...]:
    known = {row.instance for row in rows if row.this_student}
    return tuple(
        UnknownSpeed(
            each.instance, each.hardware, "not measured: run `make bench` on it; no estimate from another architecture"
        )
        for each in prices.instances
        if each.instance not in known
    )


def _explain(chosen: CostRow | None, settings: CostSettings, rows: Sequence[CostRow]) -> str:
    work = f"{settings.offers_per_day:,} offers within {settings.deadline_hours:g} hours"
    if chosen is None:
        if not any(row.this_student for row in rows):
            return f"nothing is chosen for {work}: no engine was timed"
        return (
            f"nothing is chosen for {work}: no priced instance does it with at most {settings.max_instances} instances"
        )
    text = (
        f"{chosen.instances_for_day} x {chosen.instance} with {chosen.engine} is the cheapest that classifies {work}: "
        f"USD {chosen.usd_per_day:,.2f} a day, {chosen.instances_for_peak} for the peak minute"
    )
    if chosen.basis != "measured":
        text += f". Its speed is {chosen.basis}, not measured: time it there before you buy ({chosen.source})"
    if not chosen.from_measurement:
        safer = next((row for row in rows if row.from_measurement and row.usd_per_day and row.meets_deadline), None)
        if safer is not None:
            text += (
                f". The cheapest whose speed comes from timing this student: {safer.instances_for_day} x "
                f"{safer.instance} with {safer.engine}, USD {safer.usd_per_day:,.2f} a day"
            )
    return text
