"""From the experts' scores to calibrated probabilities: three or so numbers, fitted on validation offers.

    p(class | offer)  ~  (max(sum over experts of share * score, 0) + floor) ^ sharpness  /  (class's share) ^ emphasis

A ridge score on class indicators already estimates a probability, only too timidly: sharpness corrects that, and the
floor is what a class keeps that no expert has a word for (a wrong label, a conflicting one). Fitted by log loss, with
the emphasis given: least squares are timid about small classes, and dividing by a small power of a class's share of the
training offers gives them back what that costs (logit adjustment, Menon et al. 2021). A
softmax of the same scores is far worse calibrated (docs/experiments.md): scores of offers unlike any training offer
are all small, and only their ratios say something.

What an expert adds from the categories' names has a share of its own, so names that say nothing (codes, numbers) get
none: they are left out altogether unless the log loss is better by more than their numbers could gain by chance. Each
expert's are asked about, too: the encoder's may help where the n-grams' do not, as with names in other languages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sortiment.teacher.ridge import Floats, Ints

MIN_OFFERS = 50
START_SHARPNESS, START_FLOOR = 2.0, 0.02
START_STEP = 0.7
MAX_EVALUATIONS = 160
NUMBERS_AT_MOST = 4_000_000
LIMIT = 6.0  # of the logarithms that are fitted
NAMES = "names of "


@dataclass(frozen=True)
class Link:
    """shares: each expert's, sum 1. sharpness: 1 = the scores as they are. floor: above 0."""

    shares: dict[str, float]
    sharpness: float
    floor: float

    def log_probabilities(self, scores: Mapping[str, Floats], lift: Floats | None = None) -> Floats:
        """float32 [n, classes], from each expert's scores of that shape. lift: as `lift_classes` gives it."""
        blended: Floats | None = None
        for name, share in self.shares.items():
            part = scores[name] * np.float32(share)
            blended = part if blended is None else blended + part
        assert blended is not None
        np.maximum(blended, 0.0, out=blended)
        blended += np.float32(self.floor)
        np.log(blended, out=blended)
        blended *= np.float32(self.sharpness)
        if lift is not None:
            blended += lift
        return log_softmax(blended)


def lift_classes(labels: Ints, classes: int, emphasis: float) -> Floats:
    """What each class's logarithm is raised by: minus `emphasis` times the logarithm of its share of the labels."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    lift: Floats = (-emphasis * np.log(counts / max(len(labels), 1))).astype(np.float32)
    return lift


def fit_link(scores: Mapping[str, Floats], labels: Ints, lift: Floats | None = None) -> Link:
    """The link under which the labels of offers that the experts did not see are most likely. Deterministic."""
    from scipy.optimize import minimize

    names = list(scores)
    rows = rows_to_fit(len(labels), next(iter(scores.values())).shape[1])
    seen, truth = {name: scores[name][rows] for name in names}, labels[rows]

    def loss(numbers: npt.NDArray[np.float64]) -> float:
        return log_loss(_link(names, numbers), seen, truth, lift) + 1e-3 * float(np.square(numbers).mean())

    start = np.zeros(len(names) + 1)
    simplex = np.vstack([start, START_STEP * np.eye(len(start))])
    options = {"maxfev": MAX_EVALUATIONS, "xatol": 0.01, "fatol": 1e-4, "initial_simplex": simplex}
    return _link(names, minimize(loss, start, method="Nelder-Mead", options=options).x)


def fit_link_with_names(
    scores: Mapping[str, Floats], added: Mapping[str, Floats], labels: Ints, lift: Floats | None = None
) -> tuple[Link, dict[str, float]]:
    """The link, and how strongly each expert takes what the names add to it, if anything: of all experts' names, each
    one's and none, the choice with the best Akaike criterion, by which a number that is fitted gains one by chance.

    added: of each expert that knows names, of its scores' shape. The link is for scores + strength * added.
    """
    rows = rows_to_fit(len(labels), next(iter(scores.values())).shape[1])
    every = {**scores, **{NAMES + name: extra for name, extra in added.items()}}
    seen = {name: part[rows] for name, part in every.items()}

    def misfit(link: Link, names: Sequence[str]) -> float:
        return len(rows) * log_loss(link, seen, labels[rows], lift) + len(names)

    chosen: tuple[str, ...] = ()
    link = fit_link(scores, labels, lift)
    least = misfit(link, chosen)
    for names in (some for count in range(len(added), 0, -1) for some in combinations(added, count)):
        named = fit_link({name: every[name] for name in (*scores, *(NAMES + one for one in names))}, labels, lift)
        if misfit(named, names) < least:
            link, chosen, least = named, names, misfit(named, names)
    own = sum(link.shares[name] for name in scores)
    shares = {name: link.shares[name] / own for name in scores}
    strengths = {name: link.shares[NAMES + name] / link.shares[name] for name in chosen}
    return Link(shares, link.sharpness, link.floor / own), strengths


def rows_to_fit(offers: int, classes: int) -> Ints:
    """Evenly spread offers, as many as are worth their time."""
    limit = max(500, NUMBERS_AT_MOST // classes)
    rows: Ints = np.unique(np.linspace(0, offers - 1, min(limit, offers)).astype(np.int64))
    return rows


def log_loss(link: Link, scores: Mapping[str, Floats], labels: Ints, lift: Floats | None) -> float:
    """Mean of minus the log probability of each offer's label."""
    chosen = link.log_probabilities(scores, lift)[np.arange(len(labels)), labels]
    return -float(chosen.mean(dtype=np.float64))


def _link(names: list[str], numbers: npt.NDArray[np.float64]) -> Link:
    """Free numbers to a link; all zeros = equal shares and the starting values."""
    free = np.clip(numbers, -LIMIT, LIMIT)
    weights = np.exp(np.r_[free[:-2], 0.0])
    shares = {name: float(share) for name, share in zip(names, weights / weights.sum(), strict=True)}
    return Link(shares, START_SHARPNESS * float(np.exp(free[-2])), START_FLOOR * float(np.exp(free[-1])))


def log_softmax(logits: Floats) -> Floats:
    """Of each row."""
    shifted = logits - logits.max(1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(1, keepdims=True, dtype=np.float64)).astype(np.float32)
    result: Floats = shifted - log_sum
    return result
