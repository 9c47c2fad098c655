"""What scores are asked by: where the offer is sold and stands, how large its shop is, how long its title.

Shops are head, torso and tail as categories are: the large ones hold half of the living offers together, the small ones
a tenth. The test offers' weights tell how many living offers each shop has, up to a factor that all share.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

LARGE_SHARE, SMALL_SHARE = 0.5, 0.1
NO_SHOP = "no shop named"
SHOP_SIZES = ("1 large shops", "2 middle shops", "3 small shops")
TITLE_WORDS = ((2, "1 to 2 words"), (4, "3 to 4 words"), (7, "5 to 7 words"), (12, "8 to 12 words"))
LONGEST = "more than 12 words"
OWN_COLUMNS = ("country", "department", "slice", "feed")
DIMENSIONS = (*OWN_COLUMNS, "shop_size", "title_length")


def group_answers(answers: pa.Table) -> dict[str, list[Any]]:
    """Dimension to each offer's key, of a table of answers."""
    groups: dict[str, list[Any]] = {name: answers[name].to_pylist() for name in OWN_COLUMNS}
    weights = answers["weight"].to_numpy() if answers.num_rows else np.zeros(0)
    groups["shop_size"] = size_shops(answers["shop_id"].to_pylist(), weights)
    groups["title_length"] = [length_of(title) for title in answers["title"].to_pylist()]
    return groups


def size_shops(shops: list[str | None], weights: npt.NDArray[np.float64]) -> list[str]:
    """Each offer's shop as one of SHOP_SIZES, or NO_SHOP. weights: the living offers that each offer stands for."""
    living: dict[str, float] = {}
    for shop, weight in zip(shops, weights.tolist(), strict=True):
        if shop is not None:
            living[shop] = living.get(shop, 0.0) + weight
    total, larger, sizes = sum(living.values()), 0.0, {}
    for shop in sorted(living, key=lambda name: (-living[name], name)):
        share = larger / total
        sizes[shop] = SHOP_SIZES[0 if share < LARGE_SHARE else 2 if share >= 1 - SMALL_SHARE else 1]
        larger += living[shop]
    return [NO_SHOP if shop is None else sizes[shop] for shop in shops]


def length_of(title: str) -> str:
    """A title's length in words, as one of a few groups."""
    words = len(title.split())
    return next((name for most, name in TITLE_WORDS if words <= most), LONGEST)
