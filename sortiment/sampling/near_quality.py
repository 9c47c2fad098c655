"""How well a key finds products: recall and precision over pairs of offers, against products that are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class KeyQuality:
    """recall: pairs of one product that share the key. precision: pairs that share the key and are one product."""

    recall: float
    precision: float
    groups: int
    largest_group: int


def measure_groups(keys: npt.NDArray[Any], products: npt.NDArray[Any]) -> KeyQuality:
    """Compare the groups that a key makes with known products; one entry per offer in both."""
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    _, product, product_sizes = np.unique(products, return_inverse=True, return_counts=True)
    both = np.unique(np.stack([group, product]), axis=1, return_counts=True)[1]
    together, same_key, same_product = _pairs(both), _pairs(sizes), _pairs(product_sizes)
    return KeyQuality(
        recall=together / max(1, same_product),
        precision=together / max(1, same_key),
        groups=len(sizes),
        largest_group=int(sizes.max(initial=0)),
    )


def _pairs(sizes: npt.NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
