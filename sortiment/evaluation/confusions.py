"""The mistakes that cost most: which category is taken for which, at what cost, with titles to look at.

A mistake costs the living offers that it stands for times how far the answer is off in the tree: 1 minus the share of
their paths that both have (1 = another department, a sister category of depth 3 costs a third).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXAMPLES = 3


@dataclass(frozen=True)
class Confusion:
    """Offers of category `actual_id` that were put into `predicted_id`.

    share: of the actual category's test offers. distance: in the tree, between 0 and 1. cost_share: of what all
    mistakes cost together.
    """

    actual_id: str
    predicted_id: str
    offers: int
    share: float
    distance: float
    cost_share: float
    examples: tuple[str, ...]


def find_worst_confusions(
    true_ids: Sequence[str],
    predicted_ids: Sequence[str],
    titles: Sequence[str],
    limit: int = 20,
    *,
    weights: Sequence[float] | None = None,
    paths: Mapping[str, Sequence[str]] | None = None,
) -> list[Confusion]:
    """The confusions that cost most, dearest first; the first titles of each, in the order given.

    weights: the living offers that each offer stands for; None counts each once. paths: category id to names, root
    first; categories without one are as far from each other as can be.
    """
    paths, each = paths or {}, weights if weights is not None else [1.0] * len(true_ids)
    sizes: dict[str, int] = {}
    pairs: dict[tuple[str, str], list[str]] = {}
    living: dict[tuple[str, str], float] = {}
    for actual, predicted, title, weight in zip(true_ids, predicted_ids, titles, each, strict=True):
        sizes[actual] = sizes.get(actual, 0) + 1
        if actual != predicted:
            pairs.setdefault((actual, predicted), []).append(title)
            living[actual, predicted] = living.get((actual, predicted), 0.0) + weight
    distance = {pair: tree_distance(*pair, paths) for pair in pairs}
    cost = {pair: living[pair] * distance[pair] for pair in pairs}
    total = sum(cost.values()) or 1.0
    ranked = sorted(pairs.items(), key=lambda item: (-cost[item[0]], -len(item[1]), item[0]))
    return [
        Confusion(
            pair[0],
            pair[1],
            len(seen),
            len(seen) / sizes[pair[0]],
            distance[pair],
            cost[pair] / total,
            tuple(seen[:EXAMPLES]),
        )
        for pair, seen in ranked[:limit]
    ]


def tree_distance(one: str, other: str, paths: Mapping[str, Sequence[str]]) -> float:
    """1 minus twice the common part of both paths over their lengths together: 0 = the same category."""
    if one == other:
        return 0.0
    left, right = paths.get(one, (one,)), paths.get(other, (other,))
    common = 0
    for first, second in zip(left, right, strict=False):
        if first != second:
            break
        common += 1
    return 1.0 - 2.0 * common / (len(left) + len(right))
