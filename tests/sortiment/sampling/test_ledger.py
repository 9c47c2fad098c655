"""A key is found in every part that holds it, whichever way the part is searched."""

import numpy as np
import pytest

from sortiment.progress import silent
from sortiment.sampling.counting import count_parts
from sortiment.sampling.ledger import find_keys, want_keys
from sortiment.sampling.parts import Addresses
from sortiment.sampling.row_files import RowReader
from sortiment.sampling.state import empty_state
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer, WritePart

ROWS = 4_000


@pytest.mark.parametrize("wanted_share", [0.0, 0.001, 0.3, 1.0])
@pytest.mark.parametrize("runs", [1, 3, ROWS])
def test_a_key_is_found_where_it_is_and_only_there(write_part: WritePart, wanted_share: float, runs: int) -> None:
    generator = np.random.default_rng(3)
    keys = generator.integers(0, 2**63, (2, ROWS), dtype=np.uint64) * np.uint64(2)
    parts = []
    for mine in keys:
        ordered = np.concatenate([np.sort(run) for run in np.array_split(mine, runs)])
        parts.append(write_part([Offer(key, shop_id=f"shop-{key % 7}") for key in ordered.tolist()]))
    state = count_parts(parts, empty_state(SamplingSettings()), Addresses(), 1, silent)
    reader = RowReader(state.category_ids, state.shop_ids, Addresses())
    held, shops = (
        np.concatenate([read(part, 0, part.rows) for part in state.ledger.parts])
        for read in (reader.keys, reader.shops)
    )
    expected = np.flatnonzero(generator.random(len(held)) < wanted_share)
    new = held[: ROWS // 2] + np.uint64(1)
    asked = want_keys(
        np.concatenate([held[expected], new, held[expected]]),
        np.concatenate([shops[expected], shops[: len(new)], shops[expected]]),
    )
    found = find_keys(state.ledger, asked, state.ledger.parts, reader, threads=2)
    assert np.sort(found).tolist() == expected.tolist()
    dead = state.ledger.with_dead(expected[::2])
    found = find_keys(dead, asked, dead.parts, reader, threads=1)
    assert np.sort(found).tolist() == expected[1::2].tolist()
