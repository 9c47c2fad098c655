"""Days of updates, changed labels and withdrawals over a market large enough for horizons to cut, refills included."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.sampling import (
    VERDICTS,
    OfferPart,
    State,
    build_state,
    draw_sample,
    keep_state,
    merge_states,
    payload,
    read_state,
    take_census,
)
from sortiment.sampling.payload import SCHEMA, entries_at_once, open_texts
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer, copy_part
from tests.sortiment.sampling.test_mergeable import write

SETTINGS = SamplingSettings(per_category=20, unlabelled_per_country=40, per_shop_share=0.34, seed=7)
CATEGORIES = ("mugs", "pans", "rugs", "cups", "lids", None)
DEPARTMENTS = ("kitchen", "living", "unlabelled")
OFFERS = 24_000


def make_market() -> list[Offer]:
    generator = np.random.default_rng(5)
    category = generator.choice(len(CATEGORIES), OFFERS, p=[0.6, 0.25, 0.1, 0.002, 0.008, 0.04])
    shop = generator.choice(6, OFFERS, p=[0.7, 0.15, 0.1, 0.03, 0.01, 0.01])
    return [
        Offer(
            int.from_bytes(hashlib.md5(str(number).encode(), usedforsecurity=False).digest()[:8], "big"),
            CATEGORIES[category[number]],
            None if shop[number] == 5 else f"shop-{shop[number]}",
            title=f"{CATEGORIES[category[number]] or 'thing'} number {number}",
            department="living" if CATEGORIES[category[number]] == "rugs" else "kitchen",
        )
        for number in range(OFFERS)
    ]


def make_days() -> list[list[Offer]]:
    """The market, a day of changes, then days that withdraw most of what the largest shop has, and add some."""
    market, generator = make_market(), np.random.default_rng(6)
    first, extra = market[: OFFERS - 2_000], market[OFFERS - 2_000 :]
    changed = [
        replace(offer, category_id="pans" if offer.category_id == "mugs" else offer.category_id, title="changed")
        for offer in first
        if generator.random() < 0.03
    ]
    gone = [replace(offer, withdrawn=True) for offer in first if generator.random() < 0.75]
    return [first, changed, [*gone, *extra[:1_000]], extra[1_000:]]


def files_of(state: State, folder: Path, before: Path | None = None) -> dict[str, bytes]:
    take_census(state, SETTINGS, folder / "census", before)
    draw_sample(state, SETTINGS, {name: folder / name for name in DEPARTMENTS}, before=folder / "census" / VERDICTS)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.*")) if file.is_file()}


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[OfferPart]:
    folder = tmp_path_factory.mktemp("days")
    return [write(folder, f"day-{index}", day) for index, day in enumerate(make_days())]


@pytest.fixture(scope="module")
def at_once(days: list[OfferPart], tmp_path_factory: pytest.TempPathFactory) -> tuple[State, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("once")
    state = build_state(days, SETTINGS, folder / "state")
    return state, files_of(state, folder / "files")


def test_days_of_withdrawals_refill_a_category_and_draw_the_same_bytes(
    days: list[OfferPart], at_once: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    state = build_state(days[:1], SETTINGS, tmp_path / "day-0")
    last = None
    for index, part in enumerate(days[1:], start=1):
        files_of(state, tmp_path / f"files-{index}", last)
        last = tmp_path / f"files-{index}" / "census"
        build_state([part], SETTINGS, tmp_path / f"day-{index}", before=state)
        state = read_state(tmp_path / f"day-{index}")
    assert state.refills > 0
    assert files_of(state, tmp_path / "files", last) == at_once[1]


def test_a_quiet_day_refills_nothing_and_opens_no_old_part(days: list[OfferPart], tmp_path: Path) -> None:
    first = copy_part(days[0], tmp_path / "first.parquet")
    state = build_state([first], SETTINGS, tmp_path / "day-0")
    Path(first.uri).unlink()
    grown = build_state([days[1]], SETTINGS, tmp_path / "day-1", before=state)
    assert grown.refills == 0
    assert files_of(grown, tmp_path / "a") == files_of(
        build_state(days[:2], SETTINGS, tmp_path / "once"), tmp_path / "b"
    )


def test_states_of_two_machines_merge_to_the_same_bytes(
    days: list[OfferPart], at_once: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    first = build_state(days[:2], SETTINGS, tmp_path / "first")
    later = build_state(days[2:], SETTINGS, tmp_path / "later")
    merge_states(first, later, SETTINGS, tmp_path / "merged")
    merged = read_state(tmp_path / "merged")
    assert files_of(merged, tmp_path / "files") == at_once[1]
    again = build_state([], SETTINGS, tmp_path / "again", before=merged)
    assert files_of(again, tmp_path / "again-files") == at_once[1]


@pytest.mark.parametrize("row_group_rows", [700, 100_000])
def test_one_file_or_a_hundred_in_any_order_and_one_or_two_threads_give_the_same_bytes(
    tmp_path: Path, row_group_rows: int
) -> None:
    market = make_market()[:6_000]
    one = [write(tmp_path, "all", market, row_group_rows)]
    pieces = [market[start : start + 60] for start in range(0, len(market), 60)]
    many = [write(tmp_path, f"piece-{index}", piece) for index, piece in enumerate(pieces)][::-1]
    first = build_state(one, SETTINGS, tmp_path / "one", threads=1)
    second = build_state(many, SETTINGS, tmp_path / "many", threads=2)
    assert files_of(first, tmp_path / "a") == files_of(second, tmp_path / "b")


def test_a_slice_drawn_alone_is_the_same_as_drawn_with_all(
    at_once: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    state, files = at_once
    draw_sample(state, SETTINGS, {"living": tmp_path / "living"})
    assert (tmp_path / "living" / "sample.parquet").read_bytes() == files["living/sample.parquet"]


def test_texts_that_are_too_long_to_be_held_at_once_give_the_same_bytes(
    at_once: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    state, files = at_once
    for text_bytes in (1, 2_000):
        folder = tmp_path / str(text_bytes)
        draw_sample(state, SETTINGS, {name: folder / name for name in DEPARTMENTS}, text_bytes=text_bytes)
        for name in DEPARTMENTS:
            assert (folder / name / "sample.parquet").read_bytes() == files[f"{name}/sample.parquet"]
    texts = open_texts(state.segments, state.reserve)
    assert texts.table["title"].type == texts.table["description"].type == pa.large_string()
    assert texts.at(slice(0, 3)).schema == SCHEMA
    assert entries_at_once(state.segments, state.reserve) >= len(state.reserve)
    assert entries_at_once(state.segments, state.reserve, text_bytes=1) == 1


def test_row_groups_of_long_texts_are_small_and_give_the_same_bytes(
    days: list[OfferPart], at_once: tuple[State, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "BYTES_PER_GROUP", 5_000)
    state = build_state(days, SETTINGS, tmp_path / "state")
    for segment in state.segments:
        metadata = pq.read_metadata(segment.folder / segment.file)
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
        assert max(sizes) < 10_000 < sum(sizes)
    assert files_of(state, tmp_path / "files") == at_once[1]


def test_the_store_advances_from_the_last_state_and_rebuilds_when_a_part_goes(
    days: list[OfferPart], at_once: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    store = ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")
    keep_state(store, "DE", days[:2], SETTINGS)
    keep_state(store, "DE", days[:3], SETTINGS)
    grown = keep_state(store, "DE", days, SETTINGS)
    assert store.current("sample_state", "DE").summary["new_parts"] == 1
    assert files_of(grown, tmp_path / "a") == at_once[1]
    assert keep_state(store, "DE", days, SETTINGS).counts.offers.sum() == grown.offers
    without = keep_state(store, "DE", [days[0], *days[2:]], SETTINGS)
    assert store.current("sample_state", "DE").summary["new_parts"] == 3
    fresh = build_state([days[0], *days[2:]], SETTINGS, tmp_path / "fresh")
    assert files_of(without, tmp_path / "b") == files_of(fresh, tmp_path / "c")


def test_texts_are_written_anew_when_segments_hold_mostly_what_is_gone(tmp_path: Path) -> None:
    market = make_market()[:3_000]
    settings = SETTINGS.model_copy(update={"per_category": 2_000})
    parts = [
        write(tmp_path, f"day-{day}", [replace(offer, title=f"{offer.title} day {day}") for offer in market])
        for day in range(36)
    ]
    state = build_state(parts[:1], settings, tmp_path / "state-0")
    for day in range(1, 36):
        build_state([parts[day]], settings, tmp_path / f"state-{day}", before=state)
        state = read_state(tmp_path / f"state-{day}")
    assert len(state.segments) < 36
    assert sum(segment.rows for segment in state.segments) < 36 * len(market)
    draw_sample(state, settings, {"living": tmp_path / "grown"})
    draw_sample(build_state(parts[-1:], settings, tmp_path / "last"), settings, {"living": tmp_path / "last-files"})
    grown, last = (tmp_path / name / "sample.parquet" for name in ("grown", "last-files"))
    assert grown.read_bytes() == last.read_bytes()


def test_ledgers_forget_dead_rows_when_most_are_dead(tmp_path: Path) -> None:
    market = make_market()
    days = [[replace(offer, title=f"{offer.title} day {day}") for offer in market] for day in range(4)]
    days[3] = [replace(offer, withdrawn=number % 3 > 0) for number, offer in enumerate(days[3])]
    parts = [write(tmp_path, f"full-{day}", offers) for day, offers in enumerate(days)]
    state = build_state(parts[:1], SETTINGS, tmp_path / "day-0")
    rows = []
    for day in range(1, 4):
        build_state([parts[day]], SETTINGS, tmp_path / f"day-{day}", before=state)
        state = read_state(tmp_path / f"day-{day}")
        rows.append(state.rows)
    assert rows[1] == OFFERS
    assert state.rows < 3 * OFFERS
    at_once = build_state(parts, SETTINGS, tmp_path / "once")
    assert at_once.rows == OFFERS > at_once.offers == state.offers
    assert files_of(state, tmp_path / "a") == files_of(at_once, tmp_path / "b")
    more = write(tmp_path, "more", [replace(offer, category_id="lids") for offer in market[:500]])
    grown = build_state([more], SETTINGS, tmp_path / "grown", before=read_state(tmp_path / "once"))
    again = build_state([*parts, more], SETTINGS, tmp_path / "again")
    assert files_of(grown, tmp_path / "c") == files_of(again, tmp_path / "d")


def test_withdrawals_survive_forgetting_and_still_remove_offers_of_an_earlier_state(tmp_path: Path) -> None:
    market = make_market()
    gone = [replace(offer, withdrawn=True) for offer in market[:8_000]]
    first = [write(tmp_path, "market", market)]
    later = [write(tmp_path, "again", market), write(tmp_path, "anew", market), write(tmp_path, "gone", gone)]
    states = (
        build_state(first, SETTINGS, tmp_path / "first"),
        build_state(later, SETTINGS, tmp_path / "later"),
    )
    assert states[1].rows == OFFERS
    merged = merge_states(*states, SETTINGS, tmp_path / "merged")
    alone = build_state([*first, later[-1]], SETTINGS, tmp_path / "alone")
    assert files_of(merged, tmp_path / "a") == files_of(alone, tmp_path / "b")
