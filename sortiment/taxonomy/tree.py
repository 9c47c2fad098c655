"""The category tree of a market: what it holds, what would contradict itself, how it is stored.

A category is named by its paths, one per language, root first; its id is the taxonomy file's own, or the hash of its
path. `taxonomy.parquet` has one row per category: docs/contracts.md.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.artifacts import content_version
from sortiment.errors import TaxonomyError
from sortiment.taxonomy.departments import name_department
from sortiment.taxonomy.slugs import slugify

TAXONOMY_FILE = "taxonomy.parquet"
UNKNOWN_LANGUAGE = "und"  # ISO 639-2 "undetermined": a tree derived from labels does not say its language
PATH_SEPARATOR = "\x1f"  # U+001F cannot occur in a cleaned name
ID_DIGITS = 12

SCHEMA = pa.schema(
    [
        ("category_id", pa.string()),
        ("path", pa.list_(pa.string())),
        ("paths", pa.map_(pa.string(), pa.list_(pa.string()))),
        ("department", pa.string()),
        ("depth", pa.int32()),
    ]
)

CategoryPath = tuple[str, ...]


@dataclass(frozen=True)
class Category:
    """One category. `paths` holds at least one language; `path` is the one in the market's first."""

    category_id: str
    paths: Mapping[str, CategoryPath]
    path: CategoryPath
    department: str

    @property
    def name(self) -> str:
        return self.path[-1]


@dataclass(frozen=True)
class Taxonomy:
    """All categories, ordered by id."""

    languages: tuple[str, ...]
    categories: tuple[Category, ...]

    @cached_property
    def by_id(self) -> dict[str, Category]:
        return {category.category_id: category for category in self.categories}

    @cached_property
    def department_names(self) -> dict[str, str]:
        """A department's key to its name, sorted by key: its top level's, or the first of those that share it."""
        names: dict[str, dict[str, None]] = {}
        for category in self.categories:
            names.setdefault(category.department, {})[category.path[0]] = None
        return {key: name_department(key, list(found)) for key, found in sorted(names.items())}

    @property
    def top_levels(self) -> set[str]:
        """The slug of each top level."""
        return {slugify(category.path[0]) for category in self.categories}

    @property
    def plan(self) -> dict[str, str]:
        """The department of each top level, by its slug."""
        return {slugify(category.path[0]): category.department for category in self.categories}

    def in_departments(self, plan: Mapping[str, str]) -> "Taxonomy":
        """The same tree with each category in the department that the plan gives its top level's slug."""
        moved = (replace(each, department=plan[slugify(each.path[0])]) for each in self.categories)
        return Taxonomy(self.languages, tuple(moved))

    @cached_property
    def version(self) -> str:
        """Hash of the content: the same tree from another kind of file is the same tree."""
        return content_version(
            {
                "languages": self.languages,
                "categories": [[category.category_id, dict(category.paths)] for category in self.categories],
            }
        )


def category_id_of(path: Sequence[str]) -> str:
    """Id of a category that has no other: first 12 hex digits of the sha256 of its names joined by U+001F."""
    return hashlib.sha256(PATH_SEPARATOR.join(path).encode()).hexdigest()[:ID_DIGITS]


def make_taxonomy(
    entries: Iterable[tuple[str, Mapping[str, CategoryPath]]], languages: Sequence[str], source: str
) -> Taxonomy:
    """A checked tree from (id, paths by language). `source` names the file in errors.

    Raises TaxonomyError where the tree is empty, an id occurs twice, a level is empty, or a category has no path in
    any of the languages. Two ids may share a path (translations do): a label that says only that path then fits none.
    """
    categories: dict[str, Category] = {}
    for category_id, paths in entries:
        category = _make_category(category_id, paths, languages, source)
        if category_id in categories:
            raise TaxonomyError(
                f"{source}: the category id {category_id} occurs twice",
                value=[" > ".join(categories[category_id].path), " > ".join(category.path)],
                allowed="one category per id",
                fix="give one of them another id, or delete it",
            )
        categories[category_id] = category
    if not categories:
        raise TaxonomyError(f"{source}: there is no category in it", allowed="at least one category")
    return Taxonomy(tuple(languages), tuple(categories[key] for key in sorted(categories)))


def write_taxonomy(taxonomy: Taxonomy, out: Path) -> dict[str, Any]:
    """Write `taxonomy.parquet` into the folder; one row per category, ordered by id. Returns the summary."""
    rows = [
        {
            "category_id": category.category_id,
            "path": list(category.path),
            "paths": [(language, list(path)) for language, path in category.paths.items()],
            "department": category.department,
            "depth": len(category.path),
        }
        for category in taxonomy.categories
    ]
    table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({"languages": ",".join(taxonomy.languages)})
    pq.write_table(table, out / TAXONOMY_FILE, compression="zstd")
    return {
        "categories": len(rows),
        "departments": len(taxonomy.department_names),
        "languages": list(taxonomy.languages),
        "depth": max(len(category.path) for category in taxonomy.categories),
    }


def load_taxonomy(folder: Path) -> Taxonomy:
    """The tree that `write_taxonomy` wrote."""
    table = pq.read_table(folder / TAXONOMY_FILE)
    languages = tuple((table.schema.metadata or {}).get(b"languages", b"").decode().split(","))
    categories = tuple(
        Category(
            category_id=row["category_id"],
            paths={language: tuple(path) for language, path in row["paths"]},
            path=tuple(row["path"]),
            department=row["department"],
        )
        for row in table.to_pylist()
    )
    return Taxonomy(languages, categories)


def _make_category(
    category_id: str, paths: Mapping[str, CategoryPath], languages: Sequence[str], source: str
) -> Category:
    ordered = {language: paths[language] for language in languages if language in paths}
    if not category_id:
        raise TaxonomyError(f"{source}: a category has an empty id", value=dict(paths), allowed="any text")
    if not ordered:
        raise TaxonomyError(
            f"{source}: the category {category_id} has no path in the languages asked for",
            value=sorted(paths),
            allowed=", ".join(languages),
            fix="add a path in one of them, or ask for other languages",
        )
    for language, path in ordered.items():
        problem = _path_problem(path)
        if problem:
            raise TaxonomyError(
                f"{source}: the category {category_id} has {problem} ({language})",
                value=" > ".join(path),
                allowed="names root first, none empty",
                fix="correct the path",
            )
    first = next(iter(ordered.values()))
    return Category(category_id, ordered, first, slugify(first[0]))


def _path_problem(path: CategoryPath) -> str | None:
    if not path:
        return "an empty path"
    if not all(path):
        return f"an empty level, number {path.index('') + 1}"
    return None
