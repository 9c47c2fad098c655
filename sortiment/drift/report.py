"""What a drift measurement says: value types, JSON, a table, and pages for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.blobs import write_atomically
from sortiment.drift.sides import SliceOffers, View
from sortiment.drift.signals import SignalName
from sortiment.errors import DriftError
from sortiment.settings import DriftSettings

REPORT_FILE = "drift.json"
TABLE_FILE = "drift.parquet"
WORDS: dict[SignalName, str] = {
    "accuracy": "accuracy fell by {:.3f}",
    "macro_f1": "macro-F1 fell by {:.3f}",
    "new_categories": "the share of labels that the model does not know rose by {:.1%}",
    "category_mix": "the mix of predicted categories shifted (PSI {:.2f} above chance)",
    "confidence": "mean confidence fell by {:.3f}",
    "novelty": "the share of unknown words rose by {:.1%}",
    "title_length": "title length shifted by {:.1f} standard deviations",
}
TABLE_SCHEMA = pa.schema(
    [
        *(("slice", pa.string()), ("country", pa.string()), ("department", pa.string())),
        *(("offers", pa.int64()), ("reference_offers", pa.int64()), ("judged_by", pa.string())),
        *(("slice_drifted", pa.bool_()), ("why", pa.string())),
        *(("signal", pa.string()), ("value", pa.float64()), ("threshold", pa.float64()), ("p_value", pa.float64())),
        *(("drifted", pa.bool_()), ("decides", pa.bool_())),
    ]
)


@dataclass(frozen=True)
class DriftSignal:
    """One test. value beyond threshold (chance among all tests of the run, and the least effect) = drifted.

    p_value: of this test alone. decides: whether the slice's verdict rests on it.
    """

    name: SignalName
    value: float
    threshold: float
    p_value: float
    drifted: bool
    decides: bool

    def sentence(self) -> str:
        return f"{WORDS[self.name].format(self.value)}, p = {self.p_value:.1g}"


@dataclass(frozen=True)
class SliceDrift:
    """The verdict on one slice (`country|department`).

    judged_by: `labels`, `predictions`, or None = not judged, and `why` says so. score: the largest value / threshold of
    the signals that decide (1 and more = drifted).
    """

    slice: str
    offers: int
    reference_offers: int
    judged_by: View | None
    signals: tuple[DriftSignal, ...]
    drifted: bool
    score: float | None
    why: str

    @property
    def judged(self) -> bool:
        return self.judged_by is not None


@dataclass(frozen=True)
class DriftReport:
    """Every slice, ordered by name. tests: how many signals decided in all; significance: over all of them.

    pages: slice to the name of its Evidently page.
    """

    slices: tuple[SliceDrift, ...]
    tests: int
    significance: float
    pages: Mapping[str, str] = field(default_factory=dict)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The slices to sample and label anew."""
        return tuple(found.slice for found in self.slices if found.drifted)

    @property
    def judged(self) -> int:
        return sum(found.judged for found in self.slices)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "drifted": list(self.drifted), "judged": self.judged}


def write_report(
    report: DriftReport,
    offers: Mapping[str, tuple[SliceOffers, SliceOffers]],
    settings: DriftSettings,
    out: Path,
) -> DriftReport:
    """Write the JSON, the table, and pages for the slices that drifted most; returns the report with its pages."""
    worst = sorted((found for found in report.slices if found.drifted), key=lambda found: -(found.score or 0.0))
    pages = {}
    for number, found in enumerate(worst[: settings.max_pages], start=1):
        from sortiment.drift.pages import write_page

        name = "evidently.html" if number == 1 else f"evidently-{number}.html"
        write_page(found.slice, *offers[found.slice], settings, out / name)
        pages[found.slice] = name
    report = replace(report, pages=pages)
    content = json.dumps(report.as_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(out / REPORT_FILE, content.encode())
    pq.write_table(_table(report), out / TABLE_FILE, compression="zstd")
    return report


def read_report(folder: Path) -> DriftReport:
    """The report in a drift_report folder. Raises DriftError where there is none."""
    file = folder / REPORT_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        slices = tuple(
            SliceDrift(**{**found, "signals": tuple(DriftSignal(**signal) for signal in found["signals"])})
            for found in content["slices"]
        )
        return DriftReport(slices, content["tests"], content["significance"], content["pages"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DriftError(
            "there is no drift report to read", value=f"{file}: {error}", fix="materialize drift_report again"
        ) from error


def _table(report: DriftReport) -> pa.Table:
    """One row per slice and signal; a slice that was not judged has one row without a signal."""
    rows = []
    for found in report.slices:
        country, _, department = found.slice.partition("|")
        row = {
            "slice": found.slice,
            "country": country,
            "department": department,
            "offers": found.offers,
            "reference_offers": found.reference_offers,
            "judged_by": found.judged_by,
            "slice_drifted": found.drifted,
            "why": found.why,
        }
        signals = [asdict(signal) for signal in found.signals]
        rows += [row | {**signal, "signal": signal["name"]} for signal in signals] or [row]
    return pa.Table.from_pylist(rows, TABLE_SCHEMA)
