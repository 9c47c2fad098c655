"""A market's category tree from whatever file its owner has.

    JSON     {"languages": ["en", "de"], "categories": [{"id": "1", "paths": {"en": ["Toys", "Trains"], "de": [...]}}]}
    CSV/TSV  columns `id` (optional) and one of: `path`, `path_de`, ... (levels joined by " > ") ·
             `level_1`, `level_2`, ..., `level_1_de`, ... · `name`, `name_de`, ... with `parent`, an id
    text     one `ID : A > B > C`, `12 - A > B` or `A > B` per line, # for comments
    folder   one text, CSV or JSON file per language (`de.txt`, `categories.de.txt`) or a folder of that name with one
             `categories.*` in it

Raises TaxonomyError naming file and line.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sortiment.cleaning import clean_text
from sortiment.errors import TaxonomyError
from sortiment.taxonomy.tree import UNKNOWN_LANGUAGE, CategoryPath, Taxonomy, category_id_of, make_taxonomy

SEPARATOR = re.compile(r"\s>(?=\s)")  # " > ", so that "A > > B" shows its empty level
LANGUAGE = re.compile(r"[a-z]{2,3}")
TEXT_ID = re.compile(r"(?P<id>\S+)\s+:\s+(?P<path>.+)|(?P<number>\d+)\s+-\s+(?P<numbered_path>.+)")
COLUMN = re.compile(r"(?P<kind>path|name|level_?(?P<level>\d+))(?:_(?P<language>[a-z]{2,3}))?")
ID_COLUMNS = ("id", "category_id", "gid")
PARENT_COLUMNS = ("parent", "parent_id")
FIRST_LANGUAGE = "en"  # where nobody says which language leads: partition keys in English are read everywhere

Entry = tuple[str, dict[str, CategoryPath]]
Node = tuple[str | None, dict[str, str]]  # parent id, name by language


def read_taxonomy(path: Path, languages: Sequence[str] = ()) -> Taxonomy:
    """The tree in a file or folder. `languages`, first one first, picks and orders; default: all, English first."""
    if not path.exists():
        raise TaxonomyError(
            "the taxonomy is not there", value=str(path), allowed="a JSON, CSV, TSV or text file, or a folder of them"
        )
    declared: Sequence[str] = ()
    if path.is_dir():
        entries: list[Entry] = _read_folder(path)
    elif path.suffix == ".json":
        entries, declared = _read_json(path)
    else:
        entries = list(_read_file(path, UNKNOWN_LANGUAGE))
    found = sorted(
        {language for _, paths in entries for language in paths}, key=lambda key: (key != FIRST_LANGUAGE, key)
    )
    missing = [language for language in languages if language not in found and found != [UNKNOWN_LANGUAGE]]
    if missing:
        raise TaxonomyError(
            f"{path.name}: no category has a path in {missing[0]}", value=missing, allowed=", ".join(found)
        )
    if found == [UNKNOWN_LANGUAGE]:
        languages = found
    return make_taxonomy(entries, languages or declared or found, path.name)


def _read_folder(folder: Path) -> list[Entry]:
    merged: dict[str, dict[str, CategoryPath]] = {}
    for language, file in sorted(_language_files(folder).items()):
        seen: set[str] = set()
        for category_id, paths in _read_file(file, language):
            if category_id in seen:
                raise TaxonomyError(
                    f"{file.name} ({language}): the category id {category_id} occurs twice", value=paths
                )
            seen.add(category_id)
            merged.setdefault(category_id, {}).update(paths)
    return list(merged.items())


def _language_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        inner = sorted(entry.glob("categories.*")) if entry.is_dir() else [entry]
        language = entry.name if entry.is_dir() else entry.stem.rpartition(".")[2]
        if len(inner) == 1 and LANGUAGE.fullmatch(language):
            files[language] = inner[0]
    if not files:
        raise TaxonomyError(
            "the taxonomy folder holds no language",
            value=str(folder),
            allowed="de.txt, categories.de.txt, de/categories.txt and the like",
        )
    return files


def _read_file(path: Path, language: str) -> Iterator[Entry]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{path.name} is not UTF-8", value=str(error), fix="save it as UTF-8") from error
    if path.suffix == ".json":
        yield from _read_json(path)[0]
    elif path.suffix in (".csv", ".tsv"):
        yield from _read_table(path, text, language)
    else:
        yield from _read_text(path, text, language)


def _read_text(path: Path, text: str, language: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        match = TEXT_ID.fullmatch(bare)
        names = (match["path"] or match["numbered_path"]) if match else bare
        levels = _levels(names, f"{path.name} line {number}")
        yield (match["id"] or match["number"]) if match else category_id_of(levels), {language: levels}


def _read_json(path: Path) -> tuple[list[Entry], Sequence[str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TaxonomyError(f"{path.name} is not JSON", value=str(error), fix="correct it at that line") from error
    shape = '{"languages": [...], "categories": [{"id": "...", "paths": {"en": ["A", "B"]}}]}'
    if not isinstance(content, dict) or not isinstance(content.get("categories"), list):
        raise TaxonomyError(f"{path.name} has another shape", value=str(content)[:100], allowed=shape)
    entries: list[Entry] = []
    nodes: dict[str, Node] = {}
    for number, item in enumerate(content["categories"], start=1):
        where = f"{path.name}, category number {number}"
        if not isinstance(item, dict) or not ("paths" in item or "names" in item):
            raise TaxonomyError(f"{where} has another shape", value=item, allowed=shape)
        if "names" in item:
            _add_node(nodes, str(item.get("id", "")), (item.get("parent"), dict(item["names"])), where)
            continue
        paths = {str(language): _levels(levels, where) for language, levels in dict(item["paths"]).items()}
        if not paths:
            raise TaxonomyError(f"{where} has no path", value=item, allowed=shape)
        entries.append((str(item["id"]) if "id" in item else category_id_of(next(iter(paths.values()))), paths))
    entries.extend(_walk_nodes(nodes, path.name))
    return entries, [str(language) for language in content.get("languages", [])]


def _read_table(path: Path, text: str, language: str) -> Iterator[Entry]:
    lines = list(io.StringIO(text))  # `splitlines` would also split at U+2028
    header_line = lines[0] if lines else ""
    delimiter = max("\t;,|", key=header_line.count)
    reader = csv.reader(lines, delimiter=delimiter)
    header = [name.strip().lower() for name in next(reader, [])]
    id_index = next((header.index(name) for name in ID_COLUMNS if name in header), None)
    parent_index = next((header.index(name) for name in PARENT_COLUMNS if name in header), None)
    columns = [(index, match) for index, name in enumerate(header) if (match := COLUMN.fullmatch(name))]
    if not columns or (parent_index is not None and id_index is None):
        raise TaxonomyError(
            f"{path.name} line 1: no column holds the categories",
            value=header,
            allowed="id and path, path_de, ...; level_1, level_2, ...; or id, name, name_de, ..., parent",
        )
    nodes: dict[str, Node] = {}
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path.name} line {reader.line_num}"
        if len(row) < len(header):
            raise TaxonomyError(f"{where} has {len(row)} columns", value=row, allowed=f"{len(header)} columns")
        cells = {(match["language"] or language, int(match["level"] or 0)): row[index] for index, match in columns}
        if parent_index is not None and id_index is not None:
            names = {key[0]: cell for key, cell in cells.items() if cell.strip()}
            _add_node(nodes, row[id_index].strip(), (row[parent_index].strip() or None, names), where)
            continue
        paths = _paths_of_cells(cells, where)
        category_id = row[id_index].strip() if id_index is not None else category_id_of(next(iter(paths.values())))
        yield category_id, paths
    yield from _walk_nodes(nodes, path.name)


def _paths_of_cells(cells: Mapping[tuple[str, int], str], where: str) -> dict[str, CategoryPath]:
    """Path columns have level 0; level columns are read left to right, empty ones only at the end."""
    paths: dict[str, CategoryPath] = {}
    for language in dict.fromkeys(key[0] for key in cells):
        levels = {level: cell for (key, level), cell in cells.items() if key == language}
        if 0 in levels and levels[0].strip():
            paths[language] = _levels(levels[0], where)
        elif 0 not in levels:
            names = [levels[level].strip() for level in sorted(levels)]
            while names and not names[-1]:
                names.pop()
            if names:
                paths[language] = _levels(names, where)
    if not paths:
        raise TaxonomyError(f"{where} has no path", value=dict(cells), allowed="at least one language filled")
    return paths


def _levels(path: str | Iterable[Any], where: str) -> CategoryPath:
    """Names of a path, cleaned. Unlike in an offer's label an empty level is an error: the tree is the reference."""
    if isinstance(path, str):
        names = [clean_text(name) for name in SEPARATOR.split(f" {path} ")]
    elif isinstance(path, list) and all(isinstance(name, str) for name in path):
        names = [clean_text(name) for name in path]
    else:
        raise TaxonomyError(f"{where}: a path is not a list of names", value=path, allowed='["Toys", "Trains"]')
    if not names or not all(names):
        raise TaxonomyError(
            f"{where}: a level of the path is empty", value=path, allowed="names root first, none empty"
        )
    return tuple(names)


def _add_node(nodes: dict[str, Node], category_id: str, node: Node, where: str) -> None:
    if category_id in nodes or not category_id:
        raise TaxonomyError(
            f"{where}: the category id {category_id or '(empty)'} occurs twice or is empty",
            value=node[1],
            allowed="one row per id",
        )
    nodes[category_id] = (str(node[0]) if node[0] not in (None, "") else None, node[1])


def _walk_nodes(nodes: Mapping[str, Node], source: str) -> Iterator[Entry]:
    """Paths from parents, per language that every ancestor has. Raises TaxonomyError on a cycle or a lost parent."""
    for category_id in nodes:
        chain = [category_id]
        while (parent := nodes[chain[-1]][0]) is not None:
            if parent not in nodes:
                raise TaxonomyError(
                    f"{source}: the parent of {chain[-1]} does not exist", value=parent, allowed="an id of the file"
                )
            if parent in chain:
                raise TaxonomyError(
                    f"{source}: categories are their own ancestors",
                    value=" < ".join([*chain, parent]),
                    allowed="a tree: every chain of parents ends at a top level",
                    fix="correct one of these parents",
                )
            chain.append(parent)
        ancestry = [nodes[key][1] for key in reversed(chain)]
        languages = [language for language in nodes[category_id][1] if all(language in names for names in ancestry)]
        yield (
            category_id,
            {
                language: _levels([str(names[language]) for names in ancestry], f"{source}, category {category_id}")
                for language in languages
            },
        )
