"""Labels that contradict each other: the same product, or the same words, under different categories.

Measured on the drawn offers. A group is a product id, else a GTIN, else equal words of the title. Where a group has
several categories, an offer's label is *suspect* unless more than half of the group share it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sortiment.sampling.near import Mask, ProductKeys
from sortiment.sampling.text_keys import U64

EVIDENCE = ("product_id", "gtin", "title")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelConflicts:
    """One entry per offer: its group, the group's offers and labels, and what is wrong.

    agreeing: offers of the group with the same label, this one included. majority: the category code that most of the
    group have (the smallest code of several). evidence: index into EVIDENCE.
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


def compare_labels(keys: ProductKeys, categories: npt.NDArray[np.uint32]) -> LabelConflicts:
    """Compare labelled offers' categories within their groups."""
    group = np.where(keys.product != 0, keys.product, np.where(keys.gtin != 0, keys.gtin, keys.title))
    evidence = np.where(keys.product != 0, 0, np.where(keys.gtin != 0, 1, 2)).astype(np.int8)
    alone = group == 0
    order = np.lexsort((categories, group))
    ordered, labels = group[order], categories[order]
    new_group = np.append(True, ordered[1:] != ordered[:-1])[: len(order)]
    new_label = new_group | np.append(True, labels[1:] != labels[:-1])[: len(order)]
    group_of, label_of = np.cumsum(new_group) - 1, np.cumsum(new_label) - 1
    agreeing, offers = np.bincount(label_of), np.bincount(group_of)
    label_starts = np.flatnonzero(new_label)
    by_group = group_of[label_starts]
    label_count = np.bincount(by_group)
    best = np.lexsort((labels[label_starts], -agreeing, by_group))
    majority = labels[label_starts][best[np.append(True, by_group[1:] != by_group[:-1])[: len(best)]]]

    def back(values: Counts, default: Counts) -> Counts:
        result = np.empty(len(order), dtype=values.dtype)
        result[order] = values
        return np.where(alone, default, result)

    one = np.ones(len(order), dtype=np.int64)
    many, same = back(label_count[group_of], one), back(agreeing[label_of], one)
    total = back(offers[group_of], one)
    return LabelConflicts(
        group=group,
        evidence=evidence,
        offers=total,
        labels=many,
        agreeing=same,
        majority=back(majority[group_of].astype(np.int64), categories.astype(np.int64)).astype(np.uint32),
        suspect=(many > 1) & (2 * same <= total),
    )
