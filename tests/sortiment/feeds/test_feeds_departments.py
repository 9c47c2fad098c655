"""A market of thousands of top levels has few departments, and each keeps the one it was given."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.artifacts import ArtifactStore
from sortiment.feeds import (
    FeedSpec,
    OfferPart,
    departments_of,
    describe_market,
    group_departments,
    keep_places,
    load_parts,
)
from sortiment.feeds.offer_index import counts_address, read_counts
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from sortiment.taxonomy import SHARED, derive_taxonomy, plan_departments

SETTINGS = FeedSettings(max_departments=3, shared_departments=2)
MakeSpec = Callable[..., FeedSpec]
SPEC: dict[str, Any] = {"columns": {"title": "t", "category": "c"}}


def flat_feed(sizes: dict[str, int]) -> str:
    return "t;c\n" + "".join(f"{name} {number};{name}\n" for name, count in sizes.items() for number in range(count))


def load_grouped(spec: FeedSpec, store: ArtifactStore, earlier: dict[str, str]) -> list[OfferPart]:
    return group_departments(load_parts([spec], None, store, SETTINGS, silent), earlier, store, SETTINGS)


def test_the_largest_departments_are_on_their_own_and_the_others_share_a_few() -> None:
    plan = plan_departments({f"d{number}": number for number in range(20)}, {}, SETTINGS)
    assert {slug for slug, key in plan.items() if slug == key} == {"d17", "d18", "d19"}
    assert {key for slug, key in plan.items() if slug != key} == {f"{SHARED}00", f"{SHARED}01"}
    assert plan_departments({"a": 1, "b": 2}, {}, SETTINGS) == {"a": "a", "b": "b"}


def test_a_department_keeps_its_key_whatever_comes_later() -> None:
    first = plan_departments({"a": 9, "b": 8, "c": 7, "small": 1}, {}, SETTINGS)
    later = plan_departments({"huge": 999, "small": 500, "a": 9, "b": 8, "c": 7}, first, SETTINGS)
    assert {slug: later[slug] for slug in first} == first
    assert later["huge"].startswith(SHARED)


def test_grouped_parts_hold_the_same_rows_in_other_departments(make_spec: MakeSpec, store: ArtifactStore) -> None:
    sizes = {f"Regal {number}": number for number in range(1, 9)}
    spec = make_spec("o.csv", flat_feed(sizes), **SPEC)
    (raw,) = load_parts([spec], None, store, SETTINGS, silent)
    (grouped,) = load_grouped(spec, store, {})
    assert grouped.version != raw.version
    before, after = (pq.read_table(part.paths["GB"]) for part in (raw, grouped))
    assert after.drop_columns(["department"]).equals(before.drop_columns(["department"]))
    assert after.schema.equals(before.schema)
    with pa.OSFile(counts_address(str(grouped.paths["GB"]))) as file:
        counts = read_counts(file)
    named = dict(zip(counts.categories, counts.departments, strict=True))
    assert named == {None: None} | dict(
        zip(after["category_id"].to_pylist(), after["department"].to_pylist(), strict=True)
    )
    found = describe_market([grouped])
    assert {"regal-8", "regal-7", "regal-6"} < set(found.partitions["GB"])
    assert len(found.partitions["GB"]) == 5
    assert sum(department.offers for department in found.departments) == sum(sizes.values())


def test_a_part_is_grouped_the_same_way_when_others_come(make_spec: MakeSpec, store: ArtifactStore) -> None:
    first = load_grouped(make_spec("day/1.csv", flat_feed({f"R {n}": n for n in range(1, 9)}), **SPEC), store, {})
    spec = make_spec("day/2.csv", flat_feed({f"S {n}": 50 for n in range(9)}), **SPEC)
    both = load_grouped(spec.model_copy(update={"path": "day/*.csv"}), store, departments_of(first))
    assert both[0].version == first[0].version
    assert len(describe_market(both).departments) == 5


def test_a_grouped_part_keeps_its_place(make_spec: MakeSpec, store: ArtifactStore) -> None:
    first = load_grouped(make_spec("day/2.csv", flat_feed({f"R {n}": n for n in range(1, 9)}), **SPEC), store, {})
    spec = make_spec("day/1.csv", flat_feed({"S": 1}), **SPEC).model_copy(update={"path": "day/*.csv"})
    loaded = load_parts([spec], None, store, SETTINGS, silent)
    both = group_departments(
        keep_places(loaded, [(part.feed, part.file_sha256) for part in first]), departments_of(first), store, SETTINGS
    )
    assert [part.source_file for part in both] == ["day/2.csv", "day/1.csv"]
    assert both[0].version == first[0].version


def test_the_tree_has_the_departments_of_the_offers(make_spec: MakeSpec, store: ArtifactStore) -> None:
    parts = load_grouped(make_spec("o.csv", flat_feed({f"R {n}": n for n in range(1, 9)}), **SPEC), store, {})
    tree = derive_taxonomy(parts).in_departments(departments_of(parts))
    labels = {row["category_id"]: row["department"] for row in pq.read_table(parts[0].labels_file).to_pylist()}
    assert {each.category_id: each.department for each in tree.categories} == labels
    assert tree.department_names["r-8"] == "R 8"
    assert any(" and " in name or "," in name for key, name in tree.department_names.items() if key.startswith(SHARED))


def test_a_market_with_few_departments_is_left_as_it_is(make_spec: MakeSpec, store: ArtifactStore) -> None:
    spec = make_spec("o.csv", flat_feed({"Küche": 2, "Garten": 1}), **SPEC)
    parts = load_parts([spec], None, store, SETTINGS, silent)
    assert group_departments(parts, {}, store, SETTINGS) == parts


def test_a_departments_labels_cost_no_look_of_their_own(make_spec: MakeSpec, store: ArtifactStore) -> None:
    """Each load reads the labels of all parts there are: what is done in Python is done once per top level."""
    sizes = {f"{top} > {leaf}": 1 for top in ("R", "Ré", "S") for leaf in range(200)}
    parts = load_parts([make_spec("o.csv", flat_feed(sizes), **SPEC)], None, store, SETTINGS, silent)
    calls: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, _: calls.update([frame.f_code.co_name] if event == "call" else []))
    try:
        plan = departments_of(parts)
    finally:
        sys.setprofile(None)
    assert plan == {"r": "r", "re": "re", "s": "s"}
    assert calls["slugify"] == 3
