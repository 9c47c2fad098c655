"""Parts whose small departments share a partition: the same rows, the same order, another `department`.

A part is loaded without a look at other files, so it cannot know how many departments the market has. Where that is
more than the settings allow, each part that holds a small one is written once more, under a version of its own.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.artifacts import ArtifactStore, Recipe
from sortiment.cleaning import map_distinct
from sortiment.feeds.offer_files import open_writer
from sortiment.feeds.offer_index import write_index
from sortiment.feeds.parts import PART_ASSET, OfferPart, open_part, read_part_table
from sortiment.feeds.report import LABELS_FILE, REPORT_FILE
from sortiment.settings import FeedSettings
from sortiment.taxonomy import plan_departments, slugify

GROUPING_VERSION = "3"


def group_departments(
    parts: Sequence[OfferPart], earlier: Mapping[str, str], store: ArtifactStore, settings: FeedSettings
) -> list[OfferPart]:
    """The parts with their final departments. Those of a market with few departments are returned as they are.

    earlier: the plan of the last load (`departments_of`).
    """
    offers: Counter[str] = Counter()
    slugs: list[set[str]] = []
    for part in parts:
        labels = read_part_table(part, part.labels_file, ["department", "offers"])
        rows = labels.group_by("department").aggregate([("offers", "sum")]).to_pylist()
        own = {row["department"]: row["offers_sum"] for row in rows}
        offers.update(own)
        slugs.append(set(own))
    plan = plan_departments(offers, earlier, settings)
    return [
        _group_part(part, {slug: plan[slug] for slug in sorted(own) if plan[slug] != slug}, store)
        for part, own in zip(parts, slugs, strict=True)
    ]


def departments_of(parts: Sequence[OfferPart]) -> dict[str, str]:
    """The plan that the parts were grouped by: slug of a label's top level to the department's key."""
    by_name: dict[str, str] = {}
    for part in parts:
        labels = read_part_table(part, part.labels_file, ["path", "department"])
        named = pa.table({"name": pc.list_element(labels["path"], 0), "department": labels["department"]})
        rows = named.group_by(["name", "department"], use_threads=False).aggregate([]).to_pylist()
        by_name |= {row["name"]: row["department"] for row in rows}
    return dict(sorted((slugify(name), department) for name, department in by_name.items()))


def _group_part(part: OfferPart, moved: Mapping[str, str], store: ArtifactStore) -> OfferPart:
    """The part with departments replaced. moved: slug to key of those that share; none = the part as it is."""
    if not moved:
        return part

    def write(out: Path) -> dict[str, Any]:
        for source in part.paths.values():
            _rewrite_offers(source, out / source.name, moved)
        labels = read_part_table(part, part.labels_file)
        pq.write_table(_replace_department(labels, moved), out / LABELS_FILE, compression="zstd")
        for kept in (part.quarantine_file, part.artifact.file(REPORT_FILE)):
            shutil.copyfile(kept, out / kept.name)
        return part.report.to_json()

    recipe = Recipe({"part": part.version}, {"departments": dict(moved)}, GROUPING_VERSION, ("pyarrow",))
    return open_part(store.build(PART_ASSET, recipe, write), part.feed, part.file_sha256, part.report)


def _rewrite_offers(source: Path, target: Path, moved: Mapping[str, str]) -> None:
    with pq.ParquetFile(source) as file, open_writer(target) as writer:
        for group in range(file.metadata.num_row_groups):
            writer.write_table(_replace_department(file.read_row_group(group), moved))
    write_index(target)


def _replace_department(table: pa.Table, moved: Mapping[str, str]) -> pa.Table:
    place = table.schema.get_field_index("department")
    column = table["department"].combine_chunks()
    named = map_distinct(column, lambda slug: moved.get(slug, slug), pa.string())
    return table.set_column(place, table.schema.field(place), named)
