"""What is measured of a slice. Every signal is a function of sums over offers, so that a resample is one product.

| signal | value | needs labels |
|---|---|---|
| accuracy | fall of the share of labels that the model gives | yes |
| macro_f1 | fall of the macro-F1 over the labels that are frequent enough on both sides | yes |
| new_categories | rise of the share of labels that the model does not know | yes |
| category_mix | population stability index (PSI) of the predicted categories, less what chance gives | |
| confidence | fall of the mean confidence | |
| novelty | rise of the share of a title's words that the reference does not know | |
| title_length | shift of the mean title length, in standard deviations of the reference | |
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sortiment.drift.sides import Floats, SliceOffers, Texts
from sortiment.settings import DriftSettings

SignalName = Literal["accuracy", "macro_f1", "new_categories", "category_mix", "confidence", "novelty", "title_length"]
LABEL_SIGNALS: tuple[SignalName, ...] = ("accuracy", "macro_f1", "new_categories")
FREE_SIGNALS: tuple[SignalName, ...] = ("category_mix", "confidence", "novelty", "title_length")
MAX_CATEGORIES = 30
LEAST_PER_LABEL = 8  # the F1 of a label with fewer offers says nothing, and its chance cannot be resampled
PLAIN = ("offers", "hits", "new", "confidence", "words", "novel", "length", "length_squared")


def least_effect(name: SignalName, settings: DriftSettings) -> float:
    """The value below which a signal is no drift, however certain it is."""
    return {
        "accuracy": settings.min_accuracy_drop,
        "macro_f1": settings.min_macro_f1_drop,
        "new_categories": settings.min_new_category_share,
        "category_mix": settings.min_category_psi,
        "confidence": settings.min_confidence_drop,
        "novelty": settings.min_novelty_rise,
        "title_length": settings.min_length_shift,
    }[name]


@dataclass(frozen=True)
class Layout:
    """Which columns the sums of a slice have: PLAIN, a share per predicted category (the rarest as one), and, with
    labels, per labelled category: labelled, predicted, both."""

    mixed: Texts
    labelled: Texts
    labels: bool

    @property
    def mix(self) -> slice:
        return slice(len(PLAIN), len(PLAIN) + len(self.mixed) + 1)

    def counts(self, which: int) -> slice:
        start = self.mix.stop + which * len(self.labelled)
        return slice(start, start + len(self.labelled))


def lay_out(reference: SliceOffers, current: SliceOffers, labels: bool) -> Layout:
    """Columns for one slice: predictions that are frequent on either side, labels that are so on both."""
    mixed = _frequent(np.concatenate([reference.predicted, current.predicted]))
    shared: Texts = np.zeros(0, dtype=object)
    if labels:
        before, after = (_frequent(side.label, LEAST_PER_LABEL) for side in (reference, current))
        shared = np.intersect1d(before, after)
    return Layout(mixed, shared, labels)


def add_up(offers: SliceOffers, layout: Layout) -> tuple[Floats, Floats]:
    """Sums per title, [titles, columns], and each title's weight: offers with one title are no two witnesses."""
    hit = offers.hit
    plain = [
        np.ones(len(offers)),
        hit,
        offers.new,
        offers.confidence,
        offers.words,
        offers.novel,
        offers.length,
        offers.length**2,
    ]
    columns = [np.column_stack(plain), _one_hot(offers.predicted, layout.mixed, rest=True)]
    if len(layout.labelled):
        labelled = _one_hot(offers.label, layout.labelled)
        columns += [labelled, _one_hot(offers.predicted, layout.labelled), labelled * hit[:, None]]
    rows = np.concatenate(columns, axis=1)
    _, title = np.unique(offers.title_key, return_inverse=True)
    sums = np.zeros((int(title.max()) + 1, rows.shape[1]))
    np.add.at(sums, title, rows)
    weight = np.zeros(len(sums))
    np.add.at(weight, title, offers.weight)
    return sums, weight / sums[:, 0]


def measure_signals(reference: Floats, current: Floats, layout: Layout) -> dict[SignalName, Floats]:
    """The value of each signal for each pair of rows of sums, both [pairs, columns]."""
    before, after = _shares(reference), _shares(current)
    deviation = np.sqrt(np.maximum(before["length_squared"] - before["length"] ** 2, 1e-12))
    values: dict[SignalName, Floats] = {
        "category_mix": _stability(reference[:, layout.mix], current[:, layout.mix]),
        "confidence": before["confidence"] - after["confidence"],
        "novelty": after["novelty"] - before["novelty"],
        "title_length": (after["length"] - before["length"]) / deviation,
    }
    if layout.labels:
        values["accuracy"] = before["hits"] - after["hits"]
        values["new_categories"] = after["new"] - before["new"]
    if len(layout.labelled) > 1:
        values["macro_f1"] = _macro_f1(reference, layout) - _macro_f1(current, layout)
    return values


def _shares(sums: Floats) -> dict[str, Floats]:
    column = {name: sums[:, place] for place, name in enumerate(PLAIN)}
    offers = np.maximum(column["offers"], 1e-12)
    shares = {name: column[name] / offers for name in ("hits", "new", "confidence", "length", "length_squared")}
    return shares | {"novelty": column["novel"] / np.maximum(column["words"], 1e-12)}


def _stability(reference: Floats, current: Floats) -> Floats:
    """PSI of two rows of counts, half an offer added to every category so that empty ones stay finite."""
    before, after = ((counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True) for counts in (reference, current))
    stability: Floats = ((after - before) * np.log(after / before)).sum(axis=1)
    return stability


def _macro_f1(sums: Floats, layout: Layout) -> Floats:
    labelled, predicted, both = (sums[:, layout.counts(which)] for which in range(3))
    present = labelled > 0
    f1 = np.divide(2 * both, labelled + predicted, out=np.zeros_like(both), where=present)
    mean: Floats = f1.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return mean


def _frequent(categories: Texts, least: int = 1) -> Texts:
    """The most frequent categories, sorted by name."""
    names, counts = np.unique(categories.astype(str), return_counts=True)
    order = [place for place in np.lexsort((names, -counts))[:MAX_CATEGORIES] if counts[place] >= least]
    return np.sort(names[order]).astype(object)


def _one_hot(values: Texts, categories: Texts, rest: bool = False) -> Floats:
    """[values, categories], and one more column for all other values where `rest`."""
    hot: Floats = np.equal(values[:, None], categories[None, :]).astype(np.float64)
    if rest:
        hot = np.concatenate([hot, 1.0 - hot.sum(axis=1, keepdims=True)], axis=1)
    return hot
