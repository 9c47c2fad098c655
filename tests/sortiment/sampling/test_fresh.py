"""New offers beside a draw over all days: the union, its probabilities, its law."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from sortiment.errors import SamplingError
from sortiment.sampling import build_fresh_state, build_state, draw_sample, mask_of_seed
from sortiment.sampling.drawing import Draw, plan_draw
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer, WritePart, draw_naively, living_offers
from tests.sortiment.sampling.test_mergeable import knobs, offer_key, parts_of_rows, write

OLD = [Offer(offer_key(number), shop_id=None, title=f"old mug {number} x{number * 37}") for number in range(400)]
NEW = [Offer(offer_key(number), shop_id=None, title=f"new mug {number} y{number * 53}") for number in range(400, 440)]
SETTINGS = SamplingSettings(per_category=20, minimum_per_category=1, fresh_per_category=30, near_duplicates="keep")


def plan(folder: Path, old: list[list[Offer]], new: list[list[Offer]], settings: SamplingSettings) -> Draw:
    before = [write(folder, f"old-{at}", offers) for at, offers in enumerate(old)]
    after = [write(folder, f"new-{at}", offers) for at, offers in enumerate(new)]
    state = build_state([*before, *after], settings, folder / "state")
    fresh = build_fresh_state(after, settings, folder / "fresh")
    return plan_draw(state, settings, fresh=fresh)


def test_a_slice_that_drifted_has_as_many_new_offers_as_are_asked_for(tmp_path: Path) -> None:
    keys = set(plan(tmp_path, [OLD], [NEW], SETTINGS).entries.keys.tolist())
    new = {offer.offer_key for offer in NEW}
    assert len(keys & new) == 30
    assert keys - new == keys & draw_naively(OLD + NEW, mask_of_seed(0), {"mugs": 20}, {"mugs": 10**9}) - new


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts=parts_of_rows, settings=knobs)
def test_it_is_the_union_of_both_draws_and_its_weights_add_up_to_the_living_offers(
    parts: list[list[Offer]], settings: SamplingSettings
) -> None:
    settings = settings.model_copy(update={"fresh_per_category": 4, "policy": "cap", "near_duplicates": "keep"})
    *old, new = [[], *parts]
    living, recent = living_offers([*old, new]), [offer for offer in living_offers([new]) if offer.category_id]
    if not living or not new:
        return
    with TemporaryDirectory() as folder:
        found = plan(Path(folder), old, [new], settings)
    mask = mask_of_seed(settings.seed)
    targets: dict[str | None, int] = dict.fromkeys(["mugs", "pans", "rugs"], 4)
    caps: dict[str | None, int] = dict.fromkeys(targets, max(1, -(-4 * round(settings.per_shop_share * 1e9) // 10**9)))
    with TemporaryDirectory() as folder:
        plain = _plain(Path(folder), [*old, new], settings)
    assert set(found.entries.keys.tolist()) == set(plain.entries.keys.tolist()) | draw_naively(
        recent, mask, targets, caps
    )
    assert len(set(found.entries.keys.tolist())) == len(found.entries)
    weights: Counter[int] = Counter()
    for category, probability in zip(found.categories.tolist(), found.probability.tolist(), strict=True):
        assert 0 < probability <= 1 + 1e-12
        weights[category] += 1 / probability
    for category, total in weights.items():
        assert total == pytest.approx(int(found.offers[category]))


def _plain(folder: Path, parts: list[list[Offer]], settings: SamplingSettings) -> Draw:
    written = [write(folder, f"part-{at}", offers) for at, offers in enumerate(parts)]
    return plan_draw(build_state(written, settings, folder / "state"), settings)


def test_new_offers_keep_their_texts_and_their_side(tmp_path: Path, write_part: WritePart) -> None:
    old, new = write_part(OLD), write_part(NEW)
    state = build_state([old, new], SETTINGS, tmp_path / "state")
    fresh = build_fresh_state([new], SETTINGS, tmp_path / "fresh")
    draw_sample(state, SETTINGS, {"kitchen": tmp_path / "with"}, fresh=fresh)
    draw_sample(state, SETTINGS.model_copy(update={"fresh_per_category": 0}), {"kitchen": tmp_path / "plain"})
    sample, plain = (pq.read_table(tmp_path / name / "sample.parquet").to_pylist() for name in ("with", "plain"))
    titles = {offer.offer_key: offer.title for offer in OLD + NEW}
    assert all(row["title"] == titles[row["offer_key"]] for row in sample)
    sides = {row["offer_key"]: row["split"] for row in sample}
    assert all(sides[row["offer_key"]] == row["split"] for row in plain)
    assert {row["split"] for row in sample if row["title"].startswith("new")} == {"train", "validation", "test"}


def test_a_state_of_new_offers_that_was_kept_for_other_settings_is_refused(
    tmp_path: Path, write_part: WritePart
) -> None:
    old, new = write_part(OLD), write_part(NEW)
    state = build_state([old, new], SETTINGS, tmp_path / "state")
    fresh = build_fresh_state([new], SETTINGS, tmp_path / "fresh")
    with pytest.raises(SamplingError, match="kept for other settings"):
        plan_draw(state, SETTINGS.model_copy(update={"fresh_per_category": 31}), fresh=fresh)
