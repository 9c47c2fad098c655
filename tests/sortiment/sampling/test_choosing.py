"""The smallest ranks are a few ranges of keys, and only those rows are looked at."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from sortiment.sampling import build_state, draw_sample, mask_of_seed
from sortiment.sampling.choosing import near_keys
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.test_days import make_market
from tests.sortiment.sampling.test_mergeable import write

Limits = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1))


@given(Limits, st.integers(0, 9), st.integers(0, 2**64 - 1))
def test_every_key_within_the_limit_is_in_a_range_and_hardly_more(limit: int, seed: int, other: int) -> None:
    ranges = near_keys(limit, seed)
    for rank in {0, limit, limit // 2, min(other, limit)}:
        key = rank ^ mask_of_seed(seed)
        assert any(low <= key <= high for low, high in ranges)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(ranges))
    assert sum(high - low + 1 for low, high in ranges) <= (limit + 1) * 17 / 16 + 1


def test_long_runs_of_ascending_keys_give_the_same_bytes_as_no_order(tmp_path: Path) -> None:
    settings = SamplingSettings(per_category=8, unlabelled_per_country=10, seed=7)
    market = make_market()
    ordered = sorted(market, key=lambda offer: offer.offer_key)
    common = [offer for offer in ordered if offer.category_id in ("mugs", "pans")]
    shuffled = [common[place] for place in np.random.default_rng(3).permutation(len(common))]
    states = [
        build_state([write(tmp_path, name, offers)], settings, tmp_path / f"state-{name}")
        for name, offers in (("ordered", common), ("shuffled", shuffled))
    ]
    assert [len(state.ledger.parts[0].runs) for state in states] == [1, 0]
    for name, state in zip(("ordered", "shuffled"), states, strict=True):
        draw_sample(state, settings, {"kitchen": tmp_path / f"drawn-{name}"})
    first, second = (tmp_path / f"drawn-{name}" / "sample.parquet" for name in ("ordered", "shuffled"))
    assert first.read_bytes() == second.read_bytes()
    assert pq.read_metadata(first).num_rows > 10
