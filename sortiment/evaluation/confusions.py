"""The mistakes that cost most: which category is taken for which, how often, with titles to look at."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

EXAMPLES = 3


@dataclass(frozen=True)
class Confusion:
    """Offers of category `actual_id` that were put into `predicted_id`. share: of the actual category's offers."""

    actual_id: str
    predicted_id: str
    offers: int
    share: float
    examples: tuple[str, ...]


def find_worst_confusions(
    true_ids: Sequence[str], predicted_ids: Sequence[str], titles: Sequence[str], limit: int = 20
) -> list[Confusion]:
    """The most frequent confusions, most offers first; the first titles of each, in the order given."""
    sizes = Counter(true_ids)
    pairs: dict[tuple[str, str], list[str]] = {}
    for actual, predicted, title in zip(true_ids, predicted_ids, titles, strict=True):
        if actual != predicted:
            pairs.setdefault((actual, predicted), []).append(title)
    ranked = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        Confusion(actual, predicted, len(seen), len(seen) / sizes[actual], tuple(seen[:EXAMPLES]))
        for (actual, predicted), seen in ranked[:limit]
    ]
