"""What one country tests on is not learned from another."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.errors import SamplingError
from sortiment.sampling import OfferPart, build_state, draw_sample, find_repeats_abroad
from sortiment.sampling.splits import SPLITS, side_of
from sortiment.sampling.text_keys import key_offers, key_titles
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer, WritePart

SETTINGS = SamplingSettings()
Row = tuple[str, str | None, str, int | None, int | None]


def write_sample(folder: Path, country: str, rows: list[Row]) -> Path:
    """rows: title, category id, split, product and GTIN key."""
    folder.mkdir(parents=True)
    names = ("title", "category_id", "split", "product_key", "gtin_key")
    types = (pa.string(), pa.string(), pa.string(), pa.uint64(), pa.uint64())
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    table = pa.table({"country": [country] * len(rows)} | dict(zip(names, columns, strict=True)))
    pq.write_table(table, folder / "sample.parquet")
    return folder


def draw(part: OfferPart, folder: Path) -> Path:
    draw_sample(build_state([part], SETTINGS, folder / "state"), SETTINGS, {"kitchen": folder / "kitchen"})
    return folder / "kitchen"


def side(title: str, product_id: str | None = None, gtin: str | None = None) -> str:
    """The split that an offer's group falls to."""
    columns = (pa.array([value], pa.string()) for value in (title, product_id, gtin))
    return SPLITS[side_of(key_offers(*columns).group, SETTINGS)[0]]


def mugs(country: str, first: int) -> list[Offer]:
    return [
        Offer(first + number, title=f"{country} mug {number:09d} of its kind", country=country) for number in range(40)
    ]


def rows_of(sample: Path, title: str) -> tuple[list[int], list[str]]:
    """Where a title is, and its split."""
    table = pq.read_table(sample / "sample.parquet")
    rows = [row for row, found in enumerate(table["title"].to_pylist()) if found == title]
    return rows, [table["split"][row].as_py() for row in rows]


@pytest.mark.parametrize("title_abroad", ["blue jug 0.5 l", "krug blau, halber liter"])
def test_an_offer_that_was_lent_to_training_in_one_country_and_is_tested_in_another_is_not_learned(
    title_abroad: str, write_part: WritePart, tmp_path: Path
) -> None:
    gtin = next(f"{number:013d}" for number in range(10**12, 10**12 + 999) if side("", gtin=f"{number:013d}") == "test")
    tested = Offer(1, "jugs", title="blue jug 0.5 l", gtin=gtin)
    others = [Offer(100 + number, "jugs", title=f"jug {number:09d} alone") for number in range(40)]
    lent = Offer(2, "jugs", title=title_abroad, gtin=gtin, country="AT")
    samples = {
        "DE|kitchen": draw(write_part([tested, *others, *mugs("DE", 1_000)]), tmp_path / "DE"),
        "AT|kitchen": draw(write_part([lent, *mugs("AT", 2_000)]), tmp_path / "AT"),
    }
    assert rows_of(samples["DE|kitchen"], "blue jug 0.5 l")[1] == ["test"]
    (row,), splits = rows_of(samples["AT|kitchen"], title_abroad)
    assert splits == ["train"]
    found = find_repeats_abroad(samples)
    assert np.flatnonzero(found.left_out["AT|kitchen"]).tolist() == [row]
    assert (found.count, found.kept) == (1, 0)


def test_a_title_whose_product_only_one_country_names_is_not_learned_where_the_other_tests_on_it(
    write_part: WritePart, tmp_path: Path
) -> None:
    title = next(name for number in range(999) if side(name := f"cast iron pan {number:07d} with lid") == "test")
    product = next(str(number) for number in range(999) if side(title, str(number)) == "train")
    named = Offer(1, "pans", title=title, product_id=product)
    others = [Offer(100 + number, "pans", title=f"pan {number:09d} alone", country="AT") for number in range(40)]
    samples = {
        "DE|kitchen": draw(write_part([named, *mugs("DE", 1_000)]), tmp_path / "DE"),
        "AT|kitchen": draw(write_part([Offer(2, "pans", title=title, country="AT"), *others]), tmp_path / "AT"),
    }
    assert rows_of(samples["DE|kitchen"], title)[1] == ["train"]
    assert rows_of(samples["AT|kitchen"], title)[1] == ["test"]
    found = find_repeats_abroad(samples)
    assert found.left_out["DE|kitchen"][rows_of(samples["DE|kitchen"], title)[0]].all()
    assert (found.count, found.kept) == (1, 0)


def test_a_repeat_within_a_country_is_the_splitter_s_and_missing_keys_are_no_match(tmp_path: Path) -> None:
    german: list[Row] = [
        ("mug", "mugs", "test", None, None),
        ("mug", "mugs", "train", None, None),
        ("", "mugs", "train", 5, None),
        ("?", None, "train", None, 7),
        ("Grüne KANNE!", None, "train", None, None),
    ]
    british: list[Row] = [
        ("", "mugs", "test", None, None),
        ("green pot", "mugs", "validation", 5, 8),
        ("other", "mugs", "test", 7, 5),
        ("grüne kanne", "mugs", "test", None, None),
        ("pot", "mugs", "train", None, None),
    ]
    samples = {
        "GB|kitchen": write_sample(tmp_path / "GB", "GB", british),
        "DE|kitchen": write_sample(tmp_path / "DE", "DE", german) / "sample.parquet",
    }
    found = find_repeats_abroad(samples)
    assert list(found.left_out) == ["DE|kitchen", "GB|kitchen"]
    assert found.left_out["DE|kitchen"].tolist() == [False, False, True, False, True]
    assert not found.left_out["GB|kitchen"].any()


def test_a_category_whose_every_training_offer_repeats_a_test_abroad_keeps_them_and_they_are_counted(
    tmp_path: Path,
) -> None:
    german: list[Row] = [("red lid", "lids", "train", None, None), ("blue lid", "lids", "test", None, None)]
    british: list[Row] = [("blue lid", "lids", "train", None, None), ("red lid", "lids", "test", None, None)]
    samples = {
        "DE|kitchen": write_sample(tmp_path / "DE", "DE", german),
        "GB|kitchen": write_sample(tmp_path / "GB", "GB", british),
    }
    found = find_repeats_abroad(samples)
    assert (found.count, found.kept) == (0, 2)
    taught: list[Row] = [("green lid", "lids", "train", None, None)]
    found = find_repeats_abroad(samples | {"AT|kitchen": write_sample(tmp_path / "AT", "AT", taught)})
    assert (found.count, found.kept) == (2, 0)


def test_a_sample_of_an_earlier_version_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "DE", "DE", [("mug", "mugs", "train", None, None)])
    file = folder / "sample.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["gtin_key"]), file)
    with pytest.raises(SamplingError, match=r"sample of DE\|kitchen lacks columns.*gtin_key.*materialize"):
        find_repeats_abroad({"DE|kitchen": folder})
    assert find_repeats_abroad({}).left_out == {}


def test_a_title_s_key_alone_is_the_one_that_the_split_goes_by() -> None:
    titles = pa.array([f"Kanne {number} für Tee" for number in range(5_000)] + ["", "?!", None])
    nothing = pa.nulls(len(titles), pa.string())
    np.testing.assert_array_equal(key_titles(titles), key_offers(titles, nothing, nothing).title)
