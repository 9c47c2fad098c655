"""The words of the synthetic market, read from the YAML files in `words/` (its README explains them)."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from sortiment.errors import SettingsError

LANGUAGES = ("en", "de", "es", "it", "fr")
LANGUAGE_OF = {"DE": "de", "AT": "de", "ES": "es", "IT": "it", "FR": "fr", "GB": "en"}
WORDLESS_MEASURES = ("colour", "material")

Names = Mapping[str, str]
Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Category:
    """A leaf of the tree. `words` are what titles call it, most common first; `path` is root first, by language."""

    id: str
    department: str
    group: str | None
    path: Mapping[str, tuple[str, ...]]
    words: Lists
    price: tuple[float, float]
    measures: tuple[str, ...]
    has_colour: bool
    has_material: bool
    fits: str | None
    reserved: bool


@dataclass(frozen=True)
class Department:
    """A top level of the tree. `code_share` is the share of its products that have a model number."""

    id: str
    names: Names
    brands: tuple[str, ...]
    code_share: float
    features: Lists


@dataclass(frozen=True)
class Vocabulary:
    """Everything in the files. `measures` holds, per measure and language, its values as text."""

    departments: tuple[Department, ...]
    categories: tuple[Category, ...]
    measures: Mapping[str, Lists]
    colours: Lists
    materials: Lists
    joiners: Lists
    junk: Lists
    buckets: Lists
    descriptions: Names

    def department_of(self, category: Category) -> Department:
        return next(department for department in self.departments if department.id == category.department)

    def check_department(self, department: str) -> None:
        known = [each.id for each in self.departments]
        if department not in known:
            raise SettingsError(
                "the synthetic market has no such department", value=department, allowed=", ".join(known)
            )


@functools.cache
def load_vocabulary() -> Vocabulary:
    """The whole vocabulary, departments and categories in a fixed order."""
    folder = files("sortiment.market") / "words"
    shared = _parse((folder / "languages.yaml").read_text(encoding="utf-8"))
    measures = _parse((folder / "measures.yaml").read_text(encoding="utf-8"))
    sources = sorted((each for each in (folder / "departments").iterdir()), key=lambda each: each.name)
    departments = []
    categories: list[Category] = []
    for source in sources:
        if not source.name.endswith(".yaml"):
            continue
        content = _parse(source.read_text(encoding="utf-8"))
        department = Department(
            id=source.name.removesuffix(".yaml"),
            names=content["name"],
            brands=tuple(content["brands"]),
            code_share=float(content["code_share"]),
            features=_lists(content["features"]),
        )
        departments.append(department)
        for group, below in content["groups"].items():
            for name, entry in below["categories"].items():
                categories.append(_category(name, entry, department, group, below["name"]))
        for name, entry in content.get("categories", {}).items():
            categories.append(_category(name, entry, department, None, None))
    return Vocabulary(
        departments=tuple(departments),
        categories=tuple(categories),
        measures={name: _measure_texts(entry) for name, entry in measures.items()},
        colours=_lists(shared["colours"]),
        materials=_lists(shared["materials"]),
        joiners=_lists(shared["joiners"]),
        junk=_lists(shared["junk"]),
        buckets=_lists(shared["buckets"]),
        descriptions=shared["description"],
    )


def _category(
    name: str, entry: Mapping[str, Any], department: Department, group: str | None, group_names: Names | None
) -> Category:
    path = {}
    for language in LANGUAGES:
        middle = (group_names[language],) if group_names else ()
        path[language] = (department.names[language], *middle, entry[language][0])
    return Category(
        id=name,
        department=department.id,
        group=group,
        path=path,
        words={language: tuple(entry[language][1:]) for language in LANGUAGES},
        price=(float(entry["price"][0]), float(entry["price"][1])),
        measures=tuple(measure for measure in entry["specs"] if measure not in WORDLESS_MEASURES),
        has_colour="colour" in entry["specs"],
        has_material="material" in entry["specs"],
        fits=entry.get("fits"),
        reserved=bool(entry.get("reserved", False)),
    )


def _measure_texts(entry: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Each value in each language's pattern; English keeps the decimal point."""
    texts = {}
    for language in LANGUAGES:
        pattern = entry["text"] if isinstance(entry["text"], str) else entry["text"][language]
        values = [
            str(value).replace(".", ",") if isinstance(value, float) and language != "en" else str(value)
            for value in entry["values"]
        ]
        texts[language] = tuple(pattern.format(value) for value in values)
    return texts


def _lists(entry: Mapping[str, list[Any]]) -> dict[str, tuple[str, ...]]:
    return {language: tuple(str(each) for each in entry[language]) for language in LANGUAGES}


def _parse(text: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (safe loaders)
    return content
