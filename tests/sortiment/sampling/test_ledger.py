"""A key is found in every part that holds it, whichever way the part is searched."""

import tracemalloc

import numpy as np
import pytest

from sortiment.progress import silent
from sortiment.sampling import ledger as ledger_module
from sortiment.sampling.counting import bury, count_parts
from sortiment.sampling.ledger import find_keys, find_repeats, make_ledger, want_keys
from sortiment.sampling.order import Keys
from sortiment.sampling.parts import Addresses, OfferPart
from sortiment.sampling.row_files import ROWS_OF_A_RUN, PartRows, RowReader
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


class CountingReader(RowReader):
    """Knows how many keys were read."""

    read = 0

    def keys(self, part: PartRows, start: int, stop: int) -> Keys:
        self.read += stop - start
        return super().keys(part, start, stop)


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_that_are_repeated_are_found_a_slice_of_the_key_space_at_a_time(
    write_part: WritePart, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    monkeypatch.setattr(ledger_module, "KEYS_AT_ONCE", 500)
    generator = np.random.default_rng(5)
    first, second = generator.choice(generator.integers(0, 2**64, ROWS, dtype=np.uint64), (2, ROWS_OF_A_RUN))
    keys = [np.unique(first), np.unique(second)]
    parts = []
    for mine in keys if ordered else map(generator.permutation, keys):
        filling = np.arange(ROWS_OF_A_RUN - len(mine), dtype=np.uint64) + np.uint64(len(parts) << 20)
        together = np.concatenate([filling, mine])
        parts.append(write_part([Offer(key) for key in (np.sort(together) if ordered else together).tolist()]))
    state = count_parts(parts, empty_state(SamplingSettings()), Addresses(), 1, silent)
    reader = CountingReader(state.category_ids, state.shop_ids, Addresses())
    held = np.concatenate([reader.keys(part, 0, part.rows) for part in state.ledger.parts])
    rows = {int(key): row for row, key in enumerate(held)}
    reader.read = 0
    found = np.concatenate(list(find_repeats(state.ledger, state.ledger.parts, reader, threads=2)))
    assert np.sort(found).tolist() == [row for row, key in enumerate(held.tolist()) if rows[key] != row]
    assert len(found) > 1_000
    assert reader.read == (0 if ordered else 17 * len(held))


def test_rows_that_are_buried_a_few_at_a_time_are_the_same_as_buried_at_once(write_part: WritePart) -> None:
    generator = np.random.default_rng(4)
    keys = generator.integers(0, 2**63, (2, ROWS)).tolist()
    parts = [
        write_part([Offer(key, f"category-{key % 5}", f"shop-{key % 7}", withdrawn=key % 11 == 0) for key in mine])
        for mine in keys
    ]
    state = count_parts(parts, empty_state(SamplingSettings()), Addresses(), 1, silent)
    reader = RowReader(state.category_ids, state.shop_ids, Addresses())
    dead = generator.permutation(2 * ROWS)[:ROWS]
    at_once, counts = bury(state.ledger, state.counts, [dead], reader)
    assert at_once.dead_count == ROWS
    gone = set(dead.tolist())
    living = [key for row, key in enumerate([*keys[0], *keys[1]]) if row not in gone]
    assert counts.offers.sum() == sum(key % 11 != 0 for key in living)
    assert counts.by_category(6)[1:].tolist() == [
        sum(key % 11 != 0 and f"category-{key % 5}" == name for key in living) for name in state.category_ids[1:]
    ]
    early, rest = dead[: ROWS // 2], dead[ROWS // 3 :]  # some come twice
    once, fewer = bury(state.ledger, state.counts, [early], reader)
    for ledger, left in (
        bury(state.ledger, state.counts, np.array_split(dead, 9), reader),
        bury(once, fewer, [rest[:7], rest[7:]], reader),
    ):
        assert (ledger.dead == at_once.dead).all()
        assert (left.pairs == counts.pairs).all() and (left.offers == counts.offers).all()
    assert bury(state.ledger, state.counts, [dead[:0]], reader) == (state.ledger, state.counts)


def test_living_rows_are_counted_in_less_memory_than_there_are_rows() -> None:
    ledger = make_ledger(
        [PartRows(OfferPart(name), 0, rows, ()) for name, rows in (("a", 3_000_003), ("b", 5), ("c", 0))]
    )
    ledger = ledger.with_dead(np.array([0, 3_000_002, 3_000_008]))
    tracemalloc.start()
    assert [ledger.living_in(part) for part in ledger.parts] == [3_000_001, 4, 0]
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
