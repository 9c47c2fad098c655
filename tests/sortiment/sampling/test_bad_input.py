"""What cannot be used is named; what can be used is used."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.errors import SamplingError
from sortiment.feeds.offer_index import counts_address, rows_address
from sortiment.sampling import OfferPart, UnreadablePart, build_state, draw_sample, keep_state, take_census
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer, WritePart, copy_part

SETTINGS = SamplingSettings()
SKIP = SETTINGS.model_copy(update={"on_unreadable_part": "skip"})


def key(number: int) -> int:
    return int(np.random.default_rng(number).integers(0, 2**63))


@pytest.fixture
def good(write_part: WritePart) -> OfferPart:
    return write_part([Offer(key(number)) for number in range(50)])


@pytest.fixture
def damaged(write_part: WritePart) -> OfferPart:
    """Its last pages are fine and its footer is, but the first column's bytes are not."""
    part = write_part([Offer(key(number)) for number in range(1_000, 1_050)])
    content = bytearray(Path(part.uri).read_bytes())
    content[4:400] = b"\x00" * 396
    Path(part.uri).write_bytes(content)
    return part


@pytest.fixture
def cut(write_part: WritePart) -> OfferPart:
    part = write_part([Offer(key(number)) for number in range(2_000, 2_050)])
    Path(part.uri).write_bytes(Path(part.uri).read_bytes()[:-300])
    return part


@pytest.mark.parametrize("kind", ["damaged", "cut", "missing"])
def test_an_unreadable_part_in_a_folder_of_good_ones_is_named(
    kind: str, good: OfferPart, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bad = OfferPart(str(tmp_path / "absent.parquet")) if kind == "missing" else request.getfixturevalue(kind)
    with pytest.raises(UnreadablePart) as caught:
        build_state([good, bad], SETTINGS, tmp_path / "state")
    assert bad.uri in str(caught.value)
    assert "skip" in str(caught.value.fix)


@pytest.mark.parametrize("kind", ["damaged", "cut"])
def test_the_rest_is_unaffected_when_the_setting_allows_it(
    kind: str, good: OfferPart, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bad = request.getfixturevalue(kind)
    state = build_state([bad, good], SKIP, tmp_path / "state")
    assert state.offers == 50
    assert [bad.uri in reason for reason in state.skipped] == [True]
    report = take_census(state, SKIP, tmp_path / "census")
    assert report.skipped == state.skipped


def test_a_part_that_can_be_read_again_is_in_the_next_state(
    good: OfferPart, write_part: WritePart, tmp_path: Path
) -> None:
    store = ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")
    late = write_part([Offer(key(number)) for number in range(1_000, 1_050)])
    away = Path(late.uri).rename(tmp_path / "away.parquet")
    without = keep_state(store, "DE", [good, late], SKIP)
    version = store.current("sample_state", "DE").version
    assert (without.offers, len(without.skipped)) == (50, 1)
    assert store.current("sample_state", "DE").summary["parts"] == [good.identity]
    away.rename(late.uri)
    whole = keep_state(store, "DE", [good, late], SKIP)
    assert (whole.offers, whole.skipped) == (100, ())
    assert store.current("sample_state", "DE").summary["new_parts"] == 1
    again = keep_state(store, "DE", [good], SETTINGS)
    assert again.offers == 50 and store.current("sample_state", "DE").version == version


def test_a_skipped_part_is_named_each_time_as_long_as_it_cannot_be_read(
    good: OfferPart, cut: OfferPart, write_part: WritePart, tmp_path: Path
) -> None:
    store = ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")
    later = write_part([Offer(key(number)) for number in range(3_000, 3_050)])
    for parts in ([good, cut], [good, cut], [good, cut, later]):
        state = keep_state(store, "DE", parts, SKIP)
        assert [cut.uri in reason for reason in state.skipped] == [True]
        assert state.offers == 50 * (len(parts) - 1)
    with pytest.raises(SamplingError, match="no offer part can be read"):
        keep_state(store, "AT", [cut], SKIP)


def test_only_unreadable_parts_are_an_error_even_then(cut: OfferPart, tmp_path: Path) -> None:
    with pytest.raises(SamplingError, match="no offer part can be read") as caught:
        build_state([cut], SKIP, tmp_path / "state")
    assert str(caught.value.fix).startswith("materialize feed_files again: it compares the part's files")


@pytest.mark.parametrize("columns", [["product_id", "title"], ["brand"]])
def test_a_part_without_a_column_is_named_with_the_column(columns: list[str], good: OfferPart, tmp_path: Path) -> None:
    narrow = copy_part(good, tmp_path / "narrow.parquet")
    pq.write_table(pq.read_table(good.uri).drop_columns(columns), narrow.uri)
    with pytest.raises(UnreadablePart, match="missing: " + ", ".join(columns)):
        build_state([narrow], SETTINGS, tmp_path / "state")


def test_a_part_with_keys_of_another_type_is_refused(good: OfferPart, tmp_path: Path) -> None:
    table = pq.read_table(good.uri)
    keys = table["offer_key"].cast(pa.int64())
    signed = copy_part(good, tmp_path / "signed.parquet")
    pq.write_table(table.set_column(0, "offer_key", keys), signed.uri)
    with pytest.raises(UnreadablePart, match="uint64"):
        build_state([signed], SETTINGS, tmp_path / "state")


def test_a_part_from_before_indexes_is_named_and_says_to_load_it_again(good: OfferPart, tmp_path: Path) -> None:
    Path(counts_address(good.uri)).unlink()
    with pytest.raises(UnreadablePart, match=r"counts\.arrow") as caught:
        build_state([good], SETTINGS, tmp_path / "state")
    assert "loads its feed file again" in str(caught.value.fix)


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"\x00" * 5_000])
def test_a_damaged_index_is_named(content: bytes, good: OfferPart, tmp_path: Path) -> None:
    for address in (counts_address, rows_address):
        part = copy_part(good, tmp_path / f"{address.__name__}.parquet")
        Path(address(part.uri)).write_bytes(content)
        with pytest.raises(UnreadablePart, match=part.uri):
            build_state([part], SETTINGS, tmp_path / "state")


def test_an_index_of_other_rows_is_noticed(good: OfferPart, write_part: WritePart, tmp_path: Path) -> None:
    other = write_part([Offer(key(number + 100)) for number in range(50)])
    part = copy_part(good, tmp_path / "mixed.parquet")
    for address in (counts_address, rows_address):
        Path(address(part.uri)).write_bytes(Path(address(other.uri)).read_bytes())
    with pytest.raises(UnreadablePart, match="changed since it was counted"):
        build_state([part], SETTINGS, tmp_path / "state")


def test_a_country_without_parts_says_what_to_do(tmp_path: Path) -> None:
    store = ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")
    with pytest.raises(SamplingError, match="AT has no offers yet"):
        keep_state(store, "AT", [], SETTINGS)


def test_a_country_whose_offers_were_all_withdrawn_says_so(write_part: WritePart, tmp_path: Path) -> None:
    state = build_state([write_part([Offer(1)]), write_part([Offer(1, withdrawn=True)])], SETTINGS, tmp_path / "state")
    with pytest.raises(SamplingError, match="no offer to draw from"):
        take_census(state, SETTINGS, tmp_path / "census")


def test_an_empty_part_among_others_is_fine(good: OfferPart, write_part: WritePart, tmp_path: Path) -> None:
    state = build_state([write_part([]), good, write_part([])], SETTINGS, tmp_path / "state")
    assert state.offers == 50


def test_a_draw_with_settings_that_the_state_was_not_kept_for_is_refused(good: OfferPart, tmp_path: Path) -> None:
    state = build_state([good], SETTINGS, tmp_path / "state")
    with pytest.raises(SamplingError, match="kept for other settings"):
        take_census(state, SETTINGS.model_copy(update={"seed": 1}), tmp_path / "census")


def test_categories_with_one_row_and_a_country_with_one_offer_end_in_training(
    write_part: WritePart, tmp_path: Path
) -> None:
    offers = [
        Offer(key(number), f"category-{number}", title=f"thing {number:09d} of its kind") for number in range(300)
    ]
    state = build_state([write_part(offers)], SETTINGS, tmp_path / "state")
    report = draw_sample(state, SETTINGS, {"kitchen": tmp_path / "out"}).slices["kitchen"]
    assert report.splits["train"] == 300 - report.left_out
    assert report.untrained == ()
    single = build_state([write_part([Offer(5)])], SETTINGS, tmp_path / "single")
    assert draw_sample(single, SETTINGS, {"kitchen": tmp_path / "one"}).slices["kitchen"].splits["train"] == 1


def test_a_department_without_offers_gets_an_empty_sample_with_all_columns(good: OfferPart, tmp_path: Path) -> None:
    state = build_state([good], SETTINGS, tmp_path / "state")
    report = draw_sample(state, SETTINGS, {"garden": tmp_path / "garden", "unlabelled": tmp_path / "unlabelled"})
    for department in ("garden", "unlabelled"):
        table = pq.read_table(tmp_path / department / "sample.parquet")
        assert table.num_rows == report.slices[department].rows == 0
        assert {"split", "slice", "inclusion_probability", "suspect", "training_weight"} <= set(table.column_names)


def test_a_labelled_offer_without_a_department_is_an_error_that_names_the_category(
    write_part: WritePart, tmp_path: Path
) -> None:
    part = write_part([Offer(1, "mugs", department=None)])
    with pytest.raises(SamplingError, match="mugs"):
        build_state([part], SETTINGS, tmp_path / "state")
