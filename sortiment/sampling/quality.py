"""Labels that contradict each other: the same product, or the same words, under different categories.

Measured on the drawn offers. A group is a product id, else a GTIN, else equal words of the title. Where a group has
several categories, an offer's label is *suspect* unless more than half of the group share it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.membership import maybe_crowded
from sortiment.sampling.reserve import Mask, Reserve
from sortiment.sampling.text_keys import U64

EVIDENCE = ("product_id", "gtin", "title")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelConflicts:
    """One entry per offer: its group, the group's offers and labels, and what is wrong.

    agreeing: offers of the group with the same label, this one included. majority: the category code that most of the
    group have (of several the first by its id). evidence: index into EVIDENCE.
    """

    group: U64
    evidence: npt.NDArray[np.int8]
    offers: Counts
    labels: Counts
    agreeing: Counts
    majority: npt.NDArray[np.uint32]
    suspect: Mask

    @property
    def conflicting(self) -> Mask:
        """Offers in a group with more than one label."""
        return self.labels > 1


def compare_labels(offers: Reserve, alphabetical: npt.NDArray[np.int64]) -> LabelConflicts:
    """Compare labelled offers' categories within their groups.

    alphabetical: the place of each category code by its id, which settles ties however codes were given.
    """
    categories = offers.categories
    group = np.where(offers.product != 0, offers.product, np.where(offers.gtin != 0, offers.gtin, offers.title))
    evidence = np.where(offers.product != 0, 0, np.where(offers.gtin != 0, 1, 2)).astype(np.int8)
    compared = LabelConflicts(
        group=group,
        evidence=evidence,
        offers=np.ones(len(group), dtype=np.int64),
        labels=np.ones(len(group), dtype=np.int64),
        agreeing=np.ones(len(group), dtype=np.int64),
        majority=categories.copy(),
        suspect=np.zeros(len(group), dtype=np.bool_),
    )
    together = np.flatnonzero((group != 0) & maybe_crowded(group, 1))
    rows = together[np.lexsort((alphabetical[categories[together]], group[together]))]
    if len(rows):
        _compare(compared, rows, categories[rows], alphabetical)
    return compared


def _compare(
    compared: LabelConflicts,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.uint32],
    alphabetical: npt.NDArray[np.int64],
) -> None:
    """Fill in the rows given, which are ordered by group and label."""
    groups = compared.group[rows]
    new_group = np.append(True, groups[1:] != groups[:-1])
    new_label = new_group | np.append(True, labels[1:] != labels[:-1])
    group_of, label_of = np.cumsum(new_group) - 1, np.cumsum(new_label) - 1
    agreeing, offers = np.bincount(label_of), np.bincount(group_of)
    firsts = np.flatnonzero(new_label)
    by_group = group_of[firsts]
    most = np.lexsort((alphabetical[labels[firsts]], -agreeing, by_group))
    majority = labels[firsts][most[np.append(True, by_group[1:] != by_group[:-1])]]
    compared.offers[rows] = offers[group_of]
    compared.labels[rows] = np.bincount(by_group)[group_of]
    compared.agreeing[rows] = agreeing[label_of]
    compared.majority[rows] = majority[group_of]
    compared.suspect[rows] = (compared.labels[rows] > 1) & (2 * agreeing[label_of] <= offers[group_of])
