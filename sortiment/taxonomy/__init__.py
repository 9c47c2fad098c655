"""The market's category tree: read from a file or derived from labels, checked, stored, and asked for labels."""

from sortiment.taxonomy.departments import SHARED, plan_departments
from sortiment.taxonomy.deriving import derive_taxonomy
from sortiment.taxonomy.reading import read_taxonomy
from sortiment.taxonomy.resolving import (
    AMBIGUOUS_CATEGORY,
    UNKNOWN_CATEGORY,
    Label,
    Resolver,
    path_resolver,
    split_path,
    taxonomy_resolver,
)
from sortiment.taxonomy.slugs import SLUG_MAX_CHARS, UNLABELLED, slugify
from sortiment.taxonomy.tree import (
    PATH_SEPARATOR,
    TAXONOMY_FILE,
    UNKNOWN_LANGUAGE,
    Category,
    CategoryPath,
    Taxonomy,
    category_id_of,
    load_taxonomy,
    make_taxonomy,
    write_taxonomy,
)

__all__ = [
    "AMBIGUOUS_CATEGORY",
    "PATH_SEPARATOR",
    "SHARED",
    "SLUG_MAX_CHARS",
    "TAXONOMY_FILE",
    "UNKNOWN_CATEGORY",
    "UNKNOWN_LANGUAGE",
    "UNLABELLED",
    "Category",
    "CategoryPath",
    "Label",
    "Resolver",
    "Taxonomy",
    "category_id_of",
    "derive_taxonomy",
    "load_taxonomy",
    "make_taxonomy",
    "path_resolver",
    "plan_departments",
    "read_taxonomy",
    "slugify",
    "split_path",
    "taxonomy_resolver",
    "write_taxonomy",
]
