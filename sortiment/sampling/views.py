"""Two ways to look at one test split: as the live market is, and with every category counting the same."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Weights = npt.NDArray[np.float64]


def live_weights(sample: pa.Table) -> Weights:
    """For each offer how many living ones it stands for, scaled to a mean of 1: 1 / inclusion_probability."""
    weights: Weights = 1.0 / sample["inclusion_probability"].to_numpy()
    return weights / weights.mean() if len(weights) else weights


def balanced_weights(sample: pa.Table) -> Weights:
    """The same total weight for every category, scaled to a mean of 1."""
    codes = np.unique(np.array(sample["category_id"].to_pylist(), dtype=str), return_inverse=True)[1]
    sizes = np.bincount(codes) if len(codes) else np.empty(0)
    weights: Weights = 1.0 / sizes[codes] if len(codes) else np.empty(0)
    return weights / weights.mean() if len(weights) else weights
