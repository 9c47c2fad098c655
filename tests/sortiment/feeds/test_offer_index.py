"""The index beside an offer file says of its rows what the file says; rare categories lie together in the file."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.feeds import offer_index
from sortiment.feeds.offer_files import OFFER_SCHEMA, RARITY_STEPS, ROW_GROUP_ROWS, OfferFiles
from sortiment.feeds.offer_index import (
    PATTERNS,
    WITHDRAWN,
    IndexCounts,
    counts_address,
    filter_bytes,
    map_filter,
    may_hold,
    read_counts,
    rows_address,
    write_index,
)

ROWS = 3_000


def make_offers(rows: int, categories: list[str | None]) -> pa.Table:
    generator = np.random.default_rng(3)
    chosen = [categories[place] for place in generator.integers(0, len(categories), rows)]
    shops = [None if place == 0 else f"shop-{place}" for place in generator.integers(0, 5, rows).tolist()]
    columns = {
        "offer_key": pa.array(generator.integers(0, 2**64, rows, dtype=np.uint64)),
        "country": pa.repeat("DE", rows),
        "category_id": pa.array(chosen, pa.string()),
        "department": pa.array([f"of {name}" if name else None for name in chosen], pa.string()),
        "shop_id": pa.array(shops, pa.string()),
        "withdrawn": pa.array(generator.random(rows) < 0.2),
        "source_row": pa.array(np.arange(rows)),
    }
    nothing = {field.name: pa.nulls(rows, field.type) for field in OFFER_SCHEMA if field.name not in columns}
    return pa.table({**columns, **nothing}).select(OFFER_SCHEMA.names).cast(OFFER_SCHEMA)


def open_counts(path: Path) -> IndexCounts:
    with pa.OSFile(counts_address(str(path))) as file:
        return read_counts(file)


def test_a_filter_has_its_room_on_the_disk_before_it_is_mapped(tmp_path: Path) -> None:
    """A full disk is then an error that names it; a mapped page without room would end the process."""
    with (tmp_path / "offers-DE.rows").open("w+b") as stream:
        words = map_filter(stream, 1_000_000)
        assert os.fstat(stream.fileno()).st_blocks * 512 >= words.nbytes
    assert (tmp_path / "offers-DE.rows").stat().st_size == filter_bytes(1_000_000).stop
    assert not words.any()


def test_an_index_says_of_each_row_and_of_all_what_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "offers-DE.parquet"
    pq.write_table(make_offers(ROWS, ["mugs", "pans", None]), path, row_group_size=400)
    contents = []
    for rows_at_once, dense_cells in ((1 << 20, 1 << 20), (500, 0)):
        monkeypatch.setattr(offer_index, "ROWS_AT_ONCE", rows_at_once)
        monkeypatch.setattr(offer_index, "ROWS_PER_READ", rows_at_once)
        monkeypatch.setattr(offer_index, "DENSE_CELLS", dense_cells)
        write_index(path)
        counts = open_counts(path)
        contents.append((Path(rows_address(str(path))).read_bytes(), vars(counts)["pair_offers"].tolist()))
        table = pq.read_table(path)
        raw = Path(rows_address(str(path))).read_bytes()
        keys = np.frombuffer(raw, "<u8", ROWS)
        categories, shops = (np.frombuffer(raw, "<u4", ROWS, offset * ROWS) for offset in (8, 12))
        assert keys.tolist() == table["offer_key"].to_pylist()
        assert [counts.shops[code] for code in shops] == table["shop_id"].to_pylist()
        gone = table["withdrawn"].to_numpy()
        assert (categories == WITHDRAWN).tolist() == gone.tolist()
        living = table.filter(pa.array(~gone))
        assert [counts.categories[code] for code in categories[~gone]] == living["category_id"].to_pylist()
        pairs = zip(counts.pair_category, counts.pair_shop, counts.pair_offers.tolist(), strict=True)
        found = {(counts.categories[category], counts.shops[shop]): offers for category, shop, offers in pairs}
        assert found == Counter(zip(living["category_id"].to_pylist(), living["shop_id"].to_pylist(), strict=True))
        assert dict(zip(counts.categories, counts.departments, strict=True)) == {
            None: None,
            "mugs": "of mugs",
            "pans": "of pans",
        }
        named = dict(zip(counts.shops, counts.rows_of_shop.tolist(), strict=True))
        assert named == Counter(table["shop_id"].to_pylist())
        breaks = [0, *(np.flatnonzero(keys[1:] <= keys[:-1]) + 1).tolist()]
        assert list(counts.runs) == breaks
    assert contents[0] == contents[1]


def test_a_shop_that_no_row_names_has_no_row_and_an_empty_file_an_empty_index(tmp_path: Path) -> None:
    path = tmp_path / "offers-DE.parquet"
    pq.write_table(make_offers(0, ["mugs"]), path)
    write_index(path)
    counts = open_counts(path)
    assert (counts.rows, counts.runs, counts.rows_of_shop.tolist()) == (0, (), [0])
    assert Path(rows_address(str(path))).read_bytes() == b""


def test_categories_that_are_rare_in_a_run_have_row_groups_of_their_own(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    sizes = {"one": 1, "few": RARITY_STEPS[0], "some": RARITY_STEPS[1], "many": 4 * ROW_GROUP_ROWS}
    names = [name for name, size in sizes.items() for _ in range(size)]
    offers = make_offers(len(names), ["x"])
    shuffled = pa.array(generator.permutation(names))
    offers = offers.set_column(
        offers.schema.get_field_index("category_id"), OFFER_SCHEMA.field("category_id"), shuffled
    )
    with OfferFiles(tmp_path) as files:
        files.add(offers)
        files.close()
        files.write_indexes()
    path = tmp_path / "offers-DE.parquet"
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(group, ["offer_key", "category_id"]) for group in range(file.num_row_groups)]
    assert [set(group["category_id"].to_pylist()) for group in groups] == [{name} for name in sizes] + [{"many"}] * 3
    assert all(sorted(keys) == keys for keys in (group["offer_key"].to_pylist() for group in groups))
    shares = [(int(group["offer_key"].to_numpy().min()) >> 62) for group in groups[3:]]
    assert shares == [0, 1, 2, 3]
    assert open_counts(path).rows == len(names)


def test_the_filter_passes_every_key_of_the_file_and_few_others(tmp_path: Path) -> None:
    path = tmp_path / "offers-DE.parquet"
    pq.write_table(make_offers(ROWS, ["mugs", None]), path)
    write_index(path)
    raw = Path(rows_address(str(path))).read_bytes()
    assert len(raw) == filter_bytes(ROWS).stop
    words = np.frombuffer(raw[filter_bytes(ROWS)], "<u8")
    assert may_hold(words, np.frombuffer(raw, "<u8", ROWS)).all()
    others = np.random.default_rng(9).integers(0, 2**64, 100_000, dtype=np.uint64)
    assert may_hold(words, others).mean() < 0.01
    patterns = hashlib.md5(PATTERNS.astype("<u8").tobytes(), usedforsecurity=False)
    assert patterns.hexdigest() == "475f919667f122d28dc562c3f7b5f18a"
