"""Batches: every text once, as narrow as its longest, in few shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortiment.engines.tokens import needed_buckets, plan_batches, round_up_lengths

LENGTHS = st.lists(st.integers(0, 24), max_size=60)


@given(LENGTHS, st.integers(1, 9), st.sampled_from([1, 4, 7]), st.sampled_from([(), (8, 16, 24)]), st.booleans())
def test_every_text_is_in_one_batch_with_its_own_tokens(
    lengths: list[int], batch_offers: int, multiple: int, buckets: tuple[int, ...], sort: bool
) -> None:
    tokens = [list(range(2, 2 + length)) for length in lengths]
    batches = list(
        plan_batches(
            tokens,
            batch_offers=batch_offers,
            token_multiple=multiple,
            max_tokens=24,
            pad_id=1,
            buckets=buckets,
            sort=sort,
        )
    )
    rows = [row for batch in batches for row in batch.rows.tolist()]
    assert sorted(rows) == list(range(len(tokens)))
    assert sort or rows == list(range(len(tokens)))
    for batch in batches:
        assert 1 <= len(batch.rows) <= batch_offers
        assert batch.ids.shape == batch.mask.shape
        assert batch.ids.shape[1] <= 24
        for row, ids, mask in zip(batch.rows, batch.ids, batch.mask, strict=True):
            assert ids[mask == 1].tolist() == tokens[row]
            assert (ids[mask == 0] == 1).all()


@given(LENGTHS)
def test_a_bucketed_batch_never_mixes_two_buckets(lengths: list[int]) -> None:
    tokens = [[5] * length for length in lengths]
    for batch in plan_batches(tokens, batch_offers=8, token_multiple=4, max_tokens=24, pad_id=1, buckets=(8, 16, 24)):
        routed = {next(size for size in (8, 16, 24) if size >= lengths[row]) for row in batch.rows}
        assert routed == {batch.ids.shape[1]}


def test_widths_are_multiples_but_never_wider_than_allowed() -> None:
    widths = round_up_lengths(np.array([0, 1, 4, 5, 22, 24]), 8, 22)
    assert widths.tolist() == [8, 8, 8, 8, 22, 22]


@pytest.mark.parametrize(
    ("given_buckets", "max_tokens", "needed"),
    [((16, 32, 64), 64, (16, 32, 64)), ((16, 32, 64), 24, (16, 24)), ((), 64, (64,)), ((128,), 64, (64,))],
)
def test_the_longest_bucket_is_exactly_the_longest_input(
    given_buckets: tuple[int, ...], max_tokens: int, needed: tuple[int, ...]
) -> None:
    assert needed_buckets(given_buckets, max_tokens) == needed
