"""Which slices drifted since the champion was released: every signal of every slice, judged together.

A slice is a country and a department. Where a country's new offers carry labels, the labels decide, among the labelled
offers: a model that is as good as it was needs no new training, whatever its input looks like. In a country without
labels an offer belongs to the department that is predicted, and the signals that need no labels decide. (Only there: a
drifted slice's offers are predicted into its neighbors, which then seem to drift too; labels show whose they are.)
A signal counts where it is beyond chance among *all* tests of the run (Bonferroni) and beyond its least effect.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sortiment.drift.chance import Chance, chance_of, critical_value, resample_reference, widen
from sortiment.drift.report import DriftReport, DriftSignal, SliceDrift, write_report
from sortiment.drift.sides import DriftSide, SliceOffers, Slices, View, compare_sides
from sortiment.drift.signals import (
    FREE_SIGNALS,
    LABEL_SIGNALS,
    SignalName,
    add_up,
    lay_out,
    least_effect,
    measure_signals,
)
from sortiment.progress import Progress, silent
from sortiment.settings import DriftSettings

CODE_VERSION = "1"
VIEWS: tuple[View, ...] = ("labels", "predictions")


@dataclass(frozen=True)
class _Measured:
    """A slice that can be judged: its signals' values and what chance does to them. decisive: those that count."""

    slice: str
    judged_by: View
    reference: SliceOffers
    current: SliceOffers
    values: Mapping[SignalName, float]
    chances: Mapping[SignalName, Chance]
    decisive: tuple[SignalName, ...]


def measure_drift(
    reference: DriftSide,
    current: DriftSide,
    settings: DriftSettings,
    out: Path,
    progress: Progress = silent,
    *,
    known_categories: Collection[str] | None = None,
) -> DriftReport:
    """Judge every slice that either side has; write `drift.json`, `drift.parquet` and Evidently pages into `out`.

    reference: the champion's predictions and the offers of the day of its release; current: its predictions and the
    offers of the new feeds alone. known_categories: the champion's classes; without them the signal `new_categories` is
    left out. Judge all countries in one call: the chance of a false alarm is kept over all slices together.
    Raises DriftError where a side is empty or lacks columns, StorageError where the disk is full.
    """
    out.mkdir(parents=True, exist_ok=True)
    with compare_sides(reference, current, known_categories, settings, out) as comparison:
        sides: dict[View, tuple[Slices, Slices]] = {
            view: (comparison.read("reference", view), comparison.read("current", view)) for view in VIEWS
        }
    names = sorted({name for pair in sides.values() for side in pair for name in side})
    measured, unjudged = [], []
    views = _choose_views(sides, settings)
    with progress("judge drift", total=len(names), unit="slices") as step:
        for name in names:
            pair = _choose(sides, name, views.get(_country(name), "labels"), settings)
            if isinstance(pair, SliceDrift):
                unjudged.append(pair)
            else:
                view, before, after = pair
                known = known_categories is not None
                measured.append(_measure(name, view, before, after, settings, known=known))
            step.advance()
    tests = sum(len(found.decisive) for found in measured)
    judged = [_judge(found, settings.significance / max(tests, 1), settings) for found in measured]
    slices = tuple(sorted([*judged, *unjudged], key=lambda found: found.slice))
    report = DriftReport(slices, tests, settings.significance)
    return write_report(report, {found.slice: (found.reference, found.current) for found in measured}, settings, out)


def _choose_views(sides: Mapping[View, tuple[Slices, Slices]], settings: DriftSettings) -> dict[str, View]:
    """By labels in the countries whose new offers have some, by predictions in the others."""
    counts: dict[str, dict[View, int]] = {}
    for view in VIEWS:
        for name, offers in sides[view][1].items():
            country = counts.setdefault(_country(name), dict.fromkeys(VIEWS, 0))
            country[view] += offers.offers
    return {
        country: "labels" if found["labels"] >= settings.min_labelled_share * sum(found.values()) else "predictions"
        for country, found in counts.items()
    }


def _choose(
    sides: Mapping[View, tuple[Slices, Slices]], name: str, view: View, settings: DriftSettings
) -> tuple[View, SliceOffers, SliceOffers] | SliceDrift:
    """The slice's two sides, or why it cannot be judged."""
    before, after = (side.get(name) for side in sides[view])
    usual, new, least = _count(before), _count(after), settings.min_offers
    kind = "with a label" if view == "labels" else "predicted here"
    if view == "predictions" and settings.label_free == "never":
        why = "the new offers of this country have no labels, and signals without labels are switched off"
    elif new < least:
        why = f"{new:,} new offers {kind}; {least} are needed"
    elif usual < least:
        why = f"the reference has {usual:,} offers {kind}; {least} are needed to know what is usual"
    else:
        assert before is not None and after is not None, "a slice with offers is there"
        return view, before, after
    return SliceDrift(name, new, usual, None, (), False, None, f"not judged: {why}")


def _measure(
    name: str, view: View, reference: SliceOffers, current: SliceOffers, settings: DriftSettings, *, known: bool
) -> _Measured:
    layout = lay_out(reference, current, view == "labels")
    before, weight = add_up(reference, layout)
    after, _ = add_up(current, layout)
    weighted = weight @ before
    # Scaled to as many offers as were counted, so that PSI's half offers weigh the same on either side.
    weighted *= len(reference) / weighted[0]
    values = measure_signals(weighted[None, :], after.sum(axis=0)[None, :], layout)
    seed = np.random.SeedSequence([settings.seed, *name.encode()])
    chances = resample_reference(before, weight, len(after), layout, settings.resamples, np.random.default_rng(seed))
    if not known:
        values = {signal: value for signal, value in values.items() if signal != "new_categories"}
    by_labels = LABEL_SIGNALS if view == "labels" else ()
    free = FREE_SIGNALS if settings.label_free == "always" or view == "predictions" else ()
    return _Measured(
        slice=name,
        judged_by=view,
        reference=reference,
        current=current,
        values={signal: float(value[0]) for signal, value in values.items()},
        chances={signal: widen(chances[signal], signal, reference, current, layout) for signal in values},
        decisive=tuple(signal for signal in (*by_labels, *free) if signal in values),
    )


def _judge(found: _Measured, significance: float, settings: DriftSettings) -> SliceDrift:
    signals = tuple(_judge_signals(found, significance, settings))
    reasons = [signal for signal in signals if signal.drifted and signal.decides]
    others = [signal for signal in signals if signal.drifted and not signal.decides]
    by = "its labels" if found.judged_by == "labels" else "its predictions, since new offers have no labels"
    offers = f"{found.current.offers:,} new offers"
    if reasons:
        why = f"drifted, judged by {by}: " + "; ".join(signal.sentence() for signal in reasons) + f" ({offers})"
    elif others:
        shifted = ", ".join(signal.name for signal in others)
        why = f"no drift, judged by {by}: {shifted} shifted, but the model is as good as it was ({offers})"
    else:
        why = f"no drift, judged by {by}: nothing is beyond chance and worth a new training ({offers})"
    score = max((signal.value / signal.threshold for signal in signals if signal.decides), default=None)
    return SliceDrift(
        slice=found.slice,
        offers=found.current.offers,
        reference_offers=found.reference.offers,
        judged_by=found.judged_by,
        signals=signals,
        drifted=bool(reasons),
        score=None if score is None else round(max(score, 0.0), 6),
        why=why,
    )


def _judge_signals(found: _Measured, significance: float, settings: DriftSettings) -> Iterator[DriftSignal]:
    for name, value in found.values.items():
        chance, least = found.chances[name], least_effect(name, settings)
        critical, shown = critical_value(name, chance, significance), value
        if name == "category_mix":
            # PSI is never negative: what chance gives is taken off, or every small slice would seem to have shifted.
            shown, critical = value - chance.mean, critical - chance.mean
        elif name == "title_length":
            shown = abs(value)
        threshold = max(critical, least)
        yield DriftSignal(
            name=name,
            value=round(shown, 6),
            threshold=round(threshold, 6),
            p_value=float(f"{chance_of(name, value, chance):.3g}"),
            drifted=shown > threshold,
            decides=name in found.decisive,
        )


def _country(name: str) -> str:
    return name.partition("|")[0]


def _count(offers: SliceOffers | None) -> int:
    return 0 if offers is None else len(offers)
