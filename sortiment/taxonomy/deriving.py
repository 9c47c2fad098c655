"""A tree from nothing but the offers' labels: every distinct path is a category."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.errors import TaxonomyError
from sortiment.taxonomy.tree import UNKNOWN_LANGUAGE, CategoryPath, Taxonomy, make_taxonomy


class LabelledPart(Protocol):
    """What a part of offers must have: a Parquet file with its distinct labels (`category_id`, `path`)."""

    @property
    def labels_file(self) -> Path: ...


def derive_taxonomy(parts: Iterable[LabelledPart]) -> Taxonomy:
    """One category per distinct label path of the parts, whatever their order. Raises TaxonomyError without labels."""
    paths: dict[str, CategoryPath] = {}
    for part in parts:
        table = pq.read_table(part.labels_file, columns=["category_id", "path"])
        new = pa.array([category_id not in paths for category_id in table["category_id"].to_pylist()], pa.bool_())
        paths |= {row["category_id"]: tuple(row["path"]) for row in table.filter(new).to_pylist()}
    if not paths:
        raise TaxonomyError(
            "no offer has a label, so there is no tree to derive",
            allowed="a `category` column that is mapped in a feed spec and filled, or a taxonomy file",
            fix="map `category` in a feed spec; where it is mapped, is the column empty, or the key misspelt?",
        )
    entries = ((category_id, {UNKNOWN_LANGUAGE: path}) for category_id, path in sorted(paths.items()))
    return make_taxonomy(entries, (UNKNOWN_LANGUAGE,), "label paths")
