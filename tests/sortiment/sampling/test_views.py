"""One test split, weighed as the live market is and with every category alike."""

import numpy as np
import pyarrow as pa

from sortiment.sampling.views import balanced_weights, live_weights

SAMPLE = pa.table({"category_id": ["mugs", "mugs", "mugs", "lids"], "inclusion_probability": [0.01, 0.01, 0.01, 1.0]})


def test_live_weights_bring_back_the_market_s_shares() -> None:
    weights = live_weights(SAMPLE)
    assert np.isclose(weights.mean(), 1.0)
    assert np.isclose(weights[:3].sum() / weights[3], 300.0)


def test_balanced_weights_give_each_category_the_same_total() -> None:
    weights = balanced_weights(SAMPLE)
    assert np.isclose(weights.mean(), 1.0)
    assert np.isclose(weights[:3].sum(), weights[3])


def test_an_empty_sample_has_no_weights() -> None:
    assert len(live_weights(SAMPLE.slice(0, 0))) == len(balanced_weights(SAMPLE.slice(0, 0))) == 0
