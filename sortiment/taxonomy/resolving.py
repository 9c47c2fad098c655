"""From what a shop wrote in its label column to a category of the tree.

A resolver answers one distinct label once. With a taxonomy file a label may be a category's id, its path in any
language, or the name of its last level where only one category bears it; case and white space do not count. Without
one every path is its own category.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from sortiment.cleaning import clean_text
from sortiment.taxonomy.slugs import slugify
from sortiment.taxonomy.tree import PATH_SEPARATOR, Category, CategoryPath, Taxonomy, category_id_of

UNKNOWN_CATEGORY = "unknown_category"
AMBIGUOUS_CATEGORY = "ambiguous_category"


@dataclass(frozen=True)
class Label:
    """What a label stands for. Without a category, `problem` says why, or is None where there was no label at all."""

    path: CategoryPath
    category_id: str | None = None
    department: str | None = None
    problem: str | None = None


NO_LABEL = Label(())
Resolver = Callable[[str], Label]


def path_resolver(separator: str) -> Resolver:
    """Resolves a label to the category that its path alone defines: the tree is derived from the labels."""

    def resolve(label: str) -> Label:
        path = split_path(label, separator)
        return Label(path, category_id_of(path), slugify(path[0])) if path else NO_LABEL

    return resolve


def taxonomy_resolver(taxonomy: Taxonomy, separator: str) -> Resolver:
    """Resolves a label within a taxonomy; the answer's path is the category's own, in the first language."""
    ids = {_fold(category.category_id): category for category in taxonomy.categories}
    paths: dict[CategoryPath, Category | None] = {}
    leaves: dict[str, Category | None] = {}
    for category in taxonomy.categories:
        for path in category.paths.values():
            folded = tuple(_fold(name) for name in path)
            paths[folded] = category if paths.get(folded, category) is category else None
            leaves[folded[-1]] = category if leaves.get(folded[-1], category) is category else None

    def resolve(label: str) -> Label:
        path = split_path(label, separator)
        if not path:
            return NO_LABEL
        folded = tuple(_fold(name) for name in path)
        found = ids.get(_fold(clean_text(label))) or paths.get(folded)
        if found is None and len(path) == 1 and folded not in paths:
            found = leaves.get(folded[0])
        if found is not None:
            return Label(found.path, found.category_id, found.department)
        seen = folded in paths or (len(path) == 1 and folded[0] in leaves)
        return Label(path, problem=AMBIGUOUS_CATEGORY if seen else UNKNOWN_CATEGORY)

    return resolve


def split_path(label: str, separator: str) -> CategoryPath:
    """The label's levels, each cleaned, empty ones dropped. Levels that came apart already are joined by U+001F.

    Blanks of the separator stand for any white space, also for the start and the end of the label: "A > > B" has an
    empty level, and "> A" begins with one.
    """
    if PATH_SEPARATOR in label:
        levels: Sequence[str] = label.split(PATH_SEPARATOR)
    else:
        levels = _between_levels(separator).split(f" {_unescape_separator(label, separator)} ")
    cleaned = (clean_text(level) for level in levels)
    return tuple(level for level in cleaned if level)


@cache
def _between_levels(separator: str) -> re.Pattern[str]:
    mark = separator.strip()
    if not mark:
        return re.compile(re.escape(separator))
    before = r"\s" if separator[0].isspace() else ""
    after = r"(?=\s)" if separator[-1].isspace() else ""  # one blank may end one separator and begin the next
    return re.compile(before + re.escape(mark) + after)


def _unescape_separator(label: str, separator: str) -> str:
    """'A &gt; B' is split at ' > '."""
    for entity, character in (("&gt;", ">"), ("&lt;", "<"), ("&amp;", "&")):
        if character in separator:
            label = label.replace(entity, character)
    return label


def _fold(name: str) -> str:
    return clean_text(name).casefold()
