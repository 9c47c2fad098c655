"""What the categories' names say: short texts for each class, taught to the experts before any offer is.

A class's texts are the last name of its path, and the last two together, in each language of the taxonomy. Where they
would be too many, those of one class and language count as one, then those of one class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sortiment.teacher.ridge import Floats, Ints

if TYPE_CHECKING:
    from sortiment.taxonomy import Taxonomy

CategoryNames = Mapping[str, Sequence[tuple[str, ...]]]  # category id to its paths, root first, one per language


@dataclass(frozen=True)
class NameTexts:
    """texts: of all names. groups: of each text, ascending from 0; the texts of a group count as one name. classes:
    of each group."""

    texts: list[str]
    groups: Ints
    classes: Ints

    @property
    def weights(self) -> Floats:
        """Of each group: the names of a class share the weight of one."""
        weights: Floats = (1.0 / np.bincount(self.classes)[self.classes]).astype(np.float32)
        return weights

    def gathered(self, rows: Any) -> Any:
        """The mean row of each group. rows: dense or sparse [texts, columns]."""
        from scipy.sparse import csr_matrix

        share = (1.0 / np.bincount(self.groups)[self.groups]).astype(np.float32)
        members = csr_matrix((share, (self.groups, np.arange(len(self.groups)))), shape=(len(self.classes), len(share)))
        return members @ rows

    def with_vectors(self, vectors: Floats) -> "NameFeatures":
        """vectors: of each text, [texts, hidden]."""
        return NameFeatures(self.gathered(vectors), self.classes, self.weights)


@dataclass(frozen=True)
class NameFeatures:
    """vectors: of each group, float32 [groups, hidden]; the rest as NameTexts has it."""

    vectors: Floats
    classes: Ints
    weights: Floats


def names_of(taxonomy: "Taxonomy") -> dict[str, list[tuple[str, ...]]]:
    """Each category's paths, the same path of two languages once."""
    return {
        category_id: list(dict.fromkeys(category.paths.values())) for category_id, category in taxonomy.by_id.items()
    }


def write_names(names: CategoryNames, classes: Sequence[str], limit: int) -> NameTexts | None:
    """The names of the classes that have some; None where none has. limit: at most so many groups where it can be."""
    rows: list[tuple[int, int, str]] = []  # class, language, text
    for index, category in enumerate(classes):
        for language, path in enumerate(names.get(category, ())):
            rows += [(index, language, text) for text in dict.fromkeys((path[-1], " ".join(path[-2:])))]
    if not rows:
        return None
    keys: list[Any] = list(range(len(rows)))
    if len(set(keys)) > limit:
        keys = [row[:2] for row in rows]
    if len(set(keys)) > limit:
        keys = [row[:1] for row in rows]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    groups = np.array([order[key] for key in keys], np.int64)
    owners = np.zeros(len(order), np.int64)
    owners[groups] = [row[0] for row in rows]
    return NameTexts([row[2] for row in rows], groups, owners)
