"""What each offer should be taught: the shop's label and the teacher's opinion, weighed against each other.

For an unlabelled offer the target is the teacher's distribution. A labelled offer has two witnesses. A noise model
says how a label comes about: right with probability 1 - noise, else some other category. Its posterior

    odds(label is right | teacher) = p_teacher(label) (1 - noise) / ((1 - p_teacher(label)) noise) x trust

lets a sure teacher overrule a wrong label. But where a category or a vocabulary is new to the teacher, it is the
teacher that is wrong, on many offers of one category at once, while wrong labels are few by definition. So `trust`,
one number of at least 1 for each category of a partition, is raised until the labels overruled there are no more than
`noise_budget` of that category's labels. A class that the teacher does not know is never judged by it.

The target mixes the posterior with the teacher's own distribution, which knows what is similar to what, in proportion
to how far the two agree.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.student.corpus import NO_CLASS, Corpus, Floats, Ints

SUSPECT_NOISE = 0.5
BISECTIONS = 40
LARGEST_LOG_TRUST = 40.0


@dataclass(frozen=True)
class Targets:
    """One row per offer, aligned with the corpus.

    index, probability: (offers, k + 1), classes and their target; -1 and 0 as padding. rest: the mass of all other
    classes. label_kept: the posterior that the shop's label is right; NaN where there is no label.
    """

    index: Ints
    probability: Floats
    rest: Floats
    label_kept: Floats

    def of(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """index, probability and rest of some offers."""
        return self.index[rows].astype(np.int64), self.probability[rows], self.rest[rows]


def weigh_targets(corpus: Corpus, label_noise: float, label_share: float) -> Targets:
    """Targets for every offer of the corpus.

    label_noise: share of wrong labels to expect. label_share: weight of the posterior beside the teacher's own
    distribution where both agree; 1 leaves only the posterior.
    """
    labelled = np.flatnonzero(corpus.labels != NO_CLASS)
    index = np.concatenate([corpus.top_index, np.full((len(corpus), 1), NO_CLASS, np.int32)], 1)
    probability = np.concatenate([corpus.top_probability, np.zeros((len(corpus), 1), np.float32)], 1)
    rest = corpus.rest.copy()
    kept = np.full(len(corpus), np.nan, np.float32)
    if labelled.size:
        label = corpus.labels[labelled]
        slot = _label_slots(index, labelled, label)
        teacher_index, teacher = index[labelled], probability[labelled]
        outside = slot == index.shape[1] - 1
        teacher_index[outside, -1] = label[outside]
        share_of_rest = rest[labelled] / np.maximum(corpus.known.sum() - corpus.top_index.shape[1], 1)
        taught = corpus.known[label]
        teacher[outside & taught, -1] = share_of_rest[outside & taught]
        teacher_rest = rest[labelled] - teacher[:, -1] * outside
        rows = np.arange(labelled.size)
        believed = np.clip(teacher[rows, slot].astype(np.float64), 1e-12, 1 - 1e-12)
        noise = np.where(corpus.suspect[labelled], max(SUSPECT_NOISE, label_noise), label_noise)
        groups = corpus.partition[labelled].astype(np.int64) * len(corpus.classes) + label
        posterior = _posterior(believed, noise, groups, judged=taught, free=corpus.suspect[labelled])
        others = ((1 - posterior) / (1 - believed)).astype(np.float32)
        belief = teacher * others[:, None]
        belief[rows, slot] = posterior
        agreement = np.minimum(belief, teacher).sum(1) + np.minimum(others, 1.0) * np.maximum(teacher_rest, 0.0)
        from_teacher = ((1 - label_share) * agreement)[:, None]
        index[labelled] = teacher_index
        probability[labelled] = from_teacher * teacher + (1 - from_teacher) * belief
        rest[labelled] = np.maximum(teacher_rest, 0.0) * (from_teacher[:, 0] + (1 - from_teacher[:, 0]) * others)
        kept[labelled] = posterior
    total = np.maximum(probability.sum(1) + rest, 1e-9)
    return Targets(index, (probability / total[:, None]).astype(np.float32), (rest / total).astype(np.float32), kept)


def _label_slots(index: Ints, labelled: npt.NDArray[np.int64], label: Ints) -> npt.NDArray[np.int64]:
    """Where each label stands among the teacher's top classes; the last, empty slot where it does not."""
    hit = index[labelled] == label[:, None]
    slots: npt.NDArray[np.int64] = np.where(hit.any(1), hit.argmax(1), index.shape[1] - 1)
    return slots


def _posterior(
    believed: npt.NDArray[np.float64],
    noise: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    judged: npt.NDArray[np.bool_],
    free: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """P(label is right), its expected share of overruled labels bounded by the noise in every group.

    judged: offers whose label the teacher knows; other labels stand. free: offers outside the bound.
    """
    noise = np.clip(noise, 1e-6, 0.5)
    log_odds = np.log(believed) - np.log1p(-believed) + np.log1p(-noise) - np.log(noise)
    _, member = np.unique(groups, return_inverse=True)
    bounded = judged & ~free
    size = np.bincount(member, weights=bounded)
    budget = np.bincount(member, weights=bounded * noise) + 1e-9
    low, high = np.zeros(size.size), np.full(size.size, LARGEST_LOG_TRUST)

    def overruled(log_trust: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        wrong = bounded * _sigmoid(-(log_odds + log_trust[member]))
        return np.bincount(member, wrong).astype(np.float64)

    enough = overruled(low) <= budget
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fits = overruled(middle) <= budget
        high, low = np.where(fits, middle, high), np.where(fits, low, middle)
    trust = np.where(enough, 0.0, high)
    posterior = _sigmoid(log_odds + np.where(free, 0.0, trust[member]))
    return np.where(judged, posterior, 1 - noise * free)


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = 0.5 * (1.0 + np.tanh(values / 2))
    return result
