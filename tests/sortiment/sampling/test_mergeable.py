"""The law: a state that grew day by day, or was merged, draws the same bytes as one that read everything at once."""

import hashlib
import math
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sortiment.feeds.offer_index import write_index
from sortiment.sampling import (
    VERDICTS,
    OfferPart,
    State,
    build_state,
    draw_sample,
    mask_of_seed,
    merge_states,
    read_state,
    take_census,
)
from sortiment.sampling.drawing import plan_draw
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import SCHEMA, Offer, draw_naively, living_offers

CATEGORIES = ("mugs", "pans", "rugs", None)
SHOPS = ("a", "b", "c", None)


def offer_key(number: int) -> int:
    """A uniform key; the offer's shop follows from the number, as a real key's shop does."""
    return int.from_bytes(hashlib.md5(str(number).encode(), usedforsecurity=False).digest()[:8], "big")


def make_offer(number: int, category: str | None, withdrawn: bool, version: int) -> Offer:
    return Offer(
        offer_key(number),
        category,
        SHOPS[number % 7 % len(SHOPS)],
        title=f"thing {number} version {version}",
        department={"rugs": "living"}.get(category or "", "kitchen"),
        withdrawn=withdrawn,
    )


rows = st.builds(
    make_offer,
    number=st.integers(0, 150),
    category=st.sampled_from(CATEGORIES),
    withdrawn=st.sampled_from([False, False, False, True]),
    version=st.integers(0, 2),
)
parts_of_rows = st.lists(st.lists(rows, max_size=90, unique_by=lambda offer: offer.offer_key), min_size=1, max_size=4)
knobs = st.builds(
    SamplingSettings,
    seed=st.integers(0, 5),
    policy=st.sampled_from(["cap", "sqrt", "temperature"]),
    per_category=st.integers(1, 6),
    minimum_per_category=st.integers(1, 4),
    per_shop_share=st.sampled_from([0.1, 0.34, 0.5, 1.0]),
    unlabelled_per_country=st.integers(0, 9),
    reserve_slack=st.just(1.0),
)


def write(folder: Path, name: str, offers: list[Offer], row_group_rows: int = 512) -> OfferPart:
    path = folder / f"{name}.parquet"
    pq.write_table(
        pa.Table.from_pylist([offer.row() for offer in offers], schema=SCHEMA), path, row_group_size=row_group_rows
    )
    write_index(path)
    return OfferPart(str(path))


def bytes_of(state: State, settings: SamplingSettings, folder: Path, before: Path | None = None) -> dict[str, bytes]:
    """Every file of a country's census and samples; empty where no offer is left. before: an earlier census."""
    if not state.offers:
        return {}
    take_census(state, settings, folder / "census", before)
    departments = ("kitchen", "living", "unlabelled", "absent")
    verdicts = before / VERDICTS if before else None
    draw_sample(state, settings, {name: folder / name for name in departments}, before=verdicts)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.*")) if file.is_file()}


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts_of_rows, knobs, st.booleans())
def test_a_state_that_grew_equals_one_that_read_everything_at_once(
    parts: list[list[Offer]], settings: SamplingSettings, by_key: bool
) -> None:
    def order(part: list[Offer]) -> list[Offer]:
        return sorted(part, key=lambda offer: offer.offer_key) if by_key else part

    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        written = [write(folder, f"part-{index}", order(part), 16) for index, part in enumerate(parts)]
        at_once = build_state(written, settings, folder / "once", threads=1)
        state = build_state(written[:1], settings, folder / "day-0")
        bytes_of(state, settings, folder / "before")
        for index, part in enumerate(written[1:], start=1):
            state = build_state([part], settings, folder / f"day-{index}", before=state)
        half = len(written) // 2
        first = build_state(written[:half], settings, folder / "first")
        later = build_state(written[half:], settings, folder / "later")
        merge_states(first, later, settings, folder / "merged")
        merged = read_state(folder / "merged")

        expected = bytes_of(at_once, settings, folder / "a")
        assert bytes_of(state, settings, folder / "b", folder / "before" / "census") == expected
        assert bytes_of(merged, settings, folder / "c", folder / "a" / "census") == expected
        check_against_the_definition(at_once, parts, settings)


def check_against_the_definition(state: State, parts: list[list[Offer]], settings: SamplingSettings) -> None:
    living = living_offers(parts)
    assert state.offers == len(living)
    if not living:
        return
    sizes = Counter(offer.category_id for offer in living if offer.category_id)
    largest = max(sizes.values(), default=1)
    power = {"cap": 0.0, "sqrt": 0.5, "temperature": settings.temperature}[settings.policy]
    targets: dict[str | None, int] = {
        category: max(
            min(settings.minimum_per_category, settings.per_category),
            math.ceil(round(settings.per_category * (size / largest) ** power, 9)),
        )
        for category, size in sizes.items()
    }
    caps: dict[str | None, int] = {
        category: max(1, math.ceil(round(settings.per_shop_share * target, 9))) for category, target in targets.items()
    }
    free = Counter(offer.shop_id for offer in living if offer.category_id is None)
    targets[None] = settings.unlabelled_per_country
    caps[None] = next(
        (
            cap
            for cap in range(1, max(free.values(), default=1))
            if sum(min(cap, count) for count in free.values()) >= settings.unlabelled_per_country
        ),
        max(free.values(), default=1),
    )
    draw = plan_draw(state, settings)
    keys = draw.entries.keys
    assert set(keys.tolist()) == draw_naively(living, mask_of_seed(settings.seed), targets, caps)
    drawn = [offer for offer in living if offer.offer_key in set(keys.tolist())]
    assert len(drawn) == len(keys), "a withdrawn offer was drawn"
    of_shops = Counter((offer.category_id, offer.shop_id) for offer in drawn if offer.shop_id)
    assert all(count <= caps[category] for (category, _), count in of_shops.items())
    assert {offer.category_id for offer in drawn if offer.category_id} == set(sizes)
    total = Counter(offer.category_id for offer in living)
    weighed: Counter[str | None] = Counter()
    for code, probability in zip(draw.categories.tolist(), draw.probability.tolist(), strict=True):
        weighed[state.category_ids[code]] += 1 / probability
    for category, weight in weighed.items():
        assert math.isclose(weight, total[category])
