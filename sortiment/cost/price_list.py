"""Prices, instances and published speeds: data files beside this module, each row with its source.

The prices are those of a public catalog at the stated time, not current quotes. A market may give its own file with the
same columns, for negotiated or spot prices.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from sortiment.errors import SettingsError

FOLDER = Path(__file__).resolve().parent
PRICES, INSTANCES, PUBLISHED = FOLDER / "prices.csv", FOLDER / "instances.csv", FOLDER / "published.csv"


@dataclass(frozen=True)
class Price:
    """What one instance costs for an hour in one region, on demand."""

    instance: str
    region: str
    usd_per_hour: float
    source: str
    as_of: str


@dataclass(frozen=True)
class Instance:
    """One instance type. `kind`: cpu, gpu or neuron. `physical_cores` counts cores, not hyperthreads."""

    instance: str
    kind: str
    architecture: str
    physical_cores: int
    memory_gb: int
    hardware: str


@dataclass(frozen=True)
class PublishedSpeed:
    """What the vendor measured: another model, `tokens` per input, inputs per second."""

    instance: str
    engine: str
    model: str
    layers: int
    hidden: int
    intermediate: int
    tokens: int
    offers_per_s: float
    source: str


@dataclass(frozen=True)
class PriceList:
    """Everything that is known without measuring."""

    prices: tuple[Price, ...]
    instances: tuple[Instance, ...]
    published: tuple[PublishedSpeed, ...]

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(sorted({price.region for price in self.prices}))

    def price(self, instance: str, region: str) -> Price | None:
        """The price of an instance in a region, or None where the list has none."""
        return next((each for each in self.prices if (each.instance, each.region) == (instance, region)), None)


def load_price_list(prices: Path = PRICES) -> PriceList:
    """The price list. `prices`: another file with the columns instance, region, usd_per_hour, source, as_of.

    Raises SettingsError that names file and line where a row cannot be read.
    """
    return PriceList(
        prices=tuple(
            Price(row["instance"], row["region"], _positive(row["usd_per_hour"], where), row["source"], row["as_of"])
            for where, row in _read_rows(prices, ("instance", "region", "usd_per_hour", "source", "as_of"))
        ),
        instances=tuple(
            Instance(
                row["instance"],
                row["kind"],
                row["architecture"],
                int(row["physical_cores"]),
                int(row["memory_gb"]),
                row["hardware"],
            )
            for _, row in _read_rows(INSTANCES, ("instance", "kind", "architecture", "physical_cores"))
        ),
        published=tuple(
            PublishedSpeed(
                row["instance"],
                row["engine"],
                row["model"],
                int(row["layers"]),
                int(row["hidden"]),
                int(row["intermediate"]),
                int(row["tokens"]),
                float(row["offers_per_s"]),
                row["source"],
            )
            for _, row in _read_rows(PUBLISHED, ("instance", "engine", "model", "offers_per_s"))
        ),
    )


def _read_rows(file: Path, columns: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """File and line, and the cells, of each row. The columns must be there, and filled."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise SettingsError(
                    f"{file.name} lacks the column {missing[0]}",
                    value=reader.fieldnames,
                    allowed=", ".join(columns),
                    fix=f"correct {file}",
                )
            rows = []
            for row in reader:
                where = f"{file.name}, line {reader.line_num}"
                empty = [name for name in columns if not (row.get(name) or "").strip()]
                if empty:
                    raise SettingsError(
                        f"{where}: a value is missing",
                        value=f"{empty[0]}: {row.get(empty[0])!r}",
                        allowed=f"a value for each of {', '.join(columns)}",
                        fix=f"correct {file}",
                    )
                rows.append((where, row))
            return rows
    except OSError as error:
        raise SettingsError("the price list cannot be read", value=str(error), fix="correct cost.prices") from error


def _positive(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise SettingsError(
            f"{where}: the price is not a number above 0",
            value=f"usd_per_hour: {text!r}",
            allowed="US dollars for an hour, such as 0.227",
            fix="correct the price list",
        )
    return number
