"""A feed spec: how one shop's or data set's own columns map to the feed contract.

path: offers/*.csv.gz     a file, folder or glob relative to the spec, or an s3:// URI
format: csv               csv | jsonl | parquet; default: from the extension
delimiter: ";"            default: the one under which the header has the mapped columns
encoding: utf-8           any of Python's; a byte order mark wins
quote: '"'                "" = quotes mean nothing
escape: "\\\\"              default: a quote inside a quoted field is doubled
header: true              false: columns are named by number, from 1
skip_lines: 0             lines before the header
constants: {country: GB}  a value for every row; with a column too, for rows where it is empty
columns: {offer_id: uniq_id, title: product_name, category: [level1, level2]}
category_separator: " > "
decimal_separator: ","    default: decided per price; "1.299" then means 1299
date_format: "%m/%d/%Y"   default: ISO 8601, day first, or Unix time
null_values: ["", "n/a"]  what stands for "no value"
key_share: [0.0, 0.85]    only offers whose key is in this part of the key space: to try a feed, or hold a part back
"""

import codecs
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sortiment.errors import FeedError

FeedFormat = Literal["csv", "jsonl", "parquet"]
ContractColumn = Literal[
    "offer_id",
    "country",
    "title",
    "shop_id",
    "brand",
    "description",
    "gtin",
    "shop_category",
    "price",
    "currency",
    "category",
    "product_id",
    "observed_at",
    "withdrawn",
]
CONTRACT_COLUMNS: tuple[str, ...] = get_args(ContractColumn)
CONSTANT_COLUMNS = tuple(name for name in CONTRACT_COLUMNS if name not in ("offer_id", "title"))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
EXTENSIONS: dict[str, FeedFormat] = {
    "csv": "csv",
    "tsv": "csv",
    "psv": "csv",
    "txt": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
}
COMPRESSIONS = ("gz", "gzip", "zst", "zstd", "bz2")
REMOTE = "s3://"

LINE_ENDS = ("\n", "\r")
# What pydantic's own messages leave open.
ALLOWED = {
    "delimiter": 'one character, such as ";" or a tab, which YAML writes "\\t" in double quotes',
    "quote": 'one character, or "" where quotes mean nothing',
    "escape": "one character",
    "columns": "a mapping of the contract's columns to the file's, such as {title: product_name}",
    "constants": "a mapping of the contract's columns to values, such as {country: GB}",
    "null_values": 'a list, such as ["", "n/a"]',
    "key_share": "two numbers from 0 to 1, such as [0.0, 0.85]",
    "category_separator": 'what stands between two levels, such as " > "',
}

OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]


class FeedSpec(BaseModel):
    """One feed: where its files are and what their columns mean. Columns that are not mapped are not read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="stem of the spec's file; the offers' `feed`")
    folder: Path = Field(description="where the spec is: `path` is relative to it")
    path: str = Field(min_length=1)
    format: FeedFormat | None = None
    delimiter: OneCharacter | None = None
    encoding: str = "utf-8"
    quote: Annotated[str, Field(max_length=1)] = '"'
    escape: OneCharacter | None = None
    header: bool = True
    skip_lines: int = Field(0, ge=0, le=1000)
    constants: dict[ContractColumn, str] = {}
    columns: dict[ContractColumn, str | tuple[str, ...]]
    category_separator: str = Field(" > ", min_length=1)
    decimal_separator: Literal[".", ","] | None = None
    date_format: str | None = None
    null_values: tuple[str, ...] = ("NULL", "null", "\\N", "NaN", "nan", "None", "N/A", "n/a", "#N/A")
    key_share: tuple[Annotated[float, Field(ge=0.0, le=1.0)], Annotated[float, Field(ge=0.0, le=1.0)]] = (0.0, 1.0)

    @field_validator("key_share")
    @classmethod
    def _share_is_not_empty(cls, share: tuple[float, float]) -> tuple[float, float]:
        if share[0] >= share[1]:
            raise ValueError("the first edge must be below the second, such as [0.0, 0.85]")
        return share

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str) -> str:
        try:
            found = codecs.lookup(encoding)
            # Python calls other things encodings too: base64, rot13, idna. They do not read damaged text.
            codecs.getincrementaldecoder(encoding)("surrogateescape").decode(b"a")
        except (LookupError, ValueError, TypeError, AssertionError) as error:
            raise ValueError(f"{encoding!r} is no encoding that Python knows, such as utf-8, cp1252, utf-16") from error
        return found.name

    @field_validator("constants", mode="before")
    @classmethod
    def _constants_are_text(cls, constants: Any) -> Any:
        if not isinstance(constants, dict):
            return constants
        # YAML reads NO (Norway) as False, 2024-01-01 as a date, 12 as a number.
        return {key: "NO" if value is False and key == "country" else str(value) for key, value in constants.items()}

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_are_text(cls, columns: Any) -> Any:
        if not isinstance(columns, dict):
            return columns
        return {
            key: tuple(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
            for key, value in columns.items()
            if value is not None
        }

    @model_validator(mode="after")
    def _holds_the_contract(self) -> "FeedSpec":
        if "title" not in self.columns:
            raise ValueError("columns: title is not mapped; every offer needs one")
        if "country" not in self.columns and "country" not in self.constants:
            raise ValueError("country is neither in columns nor in constants; every offer needs one")
        for name in ("offer_id", "title"):
            if name in self.constants:
                raise ValueError(f"constants: {name} differs from offer to offer; map it in columns")
        for name, column in self.columns.items():
            if isinstance(column, tuple) and name != "category":
                raise ValueError(f"columns: {name} is a list; only category may be one, one column per level")
            if not column or (isinstance(column, tuple) and not all(column)):
                raise ValueError(f"columns: {name} names an empty column")
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks) or set(marks) & set(LINE_ENDS):
            raise ValueError(
                f"delimiter, quote and escape are {', '.join(map(repr, marks))}: three different characters, none of "
                "them a line end (a quote that is doubled within quotes needs no escape)"
            )
        return self

    @property
    def remote(self) -> bool:
        return self.path.startswith(REMOTE)

    @property
    def category_levels(self) -> tuple[str, ...]:
        """Columns that hold one level of the label each; empty where one column holds the path."""
        mapped = self.columns.get("category")
        return mapped if isinstance(mapped, tuple) else ()

    @property
    def file_columns(self) -> dict[str, str]:
        """Every column to read: its name here (contract name, `category.1`, ...) to its name in the file."""
        found = {name: column for name, column in self.columns.items() if isinstance(column, str)}
        return found | {f"category.{level}": column for level, column in enumerate(self.category_levels, start=1)}

    def meaning(self) -> dict[str, Any]:
        """What decides how bytes become offers, as JSON: everything but where the files are."""
        return self.model_dump(mode="json", exclude={"folder", "path"})


def parse_spec(content: Any, name: str, folder: Path, source: str | None = None) -> FeedSpec:
    """A spec from parsed YAML. `name` is the feed's; `folder` is what its path is relative to.

    source: what to correct where it cannot be used; default the YAML file.
    """
    where = f"feed spec {name}"
    if not isinstance(content, dict):
        raise FeedError(f"{where} is not a mapping", value=content, allowed=", ".join(_fields()))
    if not NAME.fullmatch(name):
        raise FeedError(
            "a feed's name is its spec's file name",
            value=name,
            allowed="letters, digits, . _ - and at most 100 of them",
            fix="rename the spec",
        )
    own = {"name", "folder"} & content.keys()
    if own:
        raise FeedError(f"{where}: {min(own)} is not given in the file", value=content[min(own)], fix="delete the line")
    try:
        return FeedSpec.model_validate({**content, "name": name, "folder": folder})
    except ValidationError as error:
        problems = [_describe(item, content) for item in error.errors()]
        raise FeedError(
            f"{where}: {problems[0][0]}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            value=problems[0][1],
            allowed=problems[0][2],
            fix=f"correct {source or f'{folder / name}.yaml'}",
        ) from error


def _describe(item: Any, content: dict[str, Any]) -> tuple[str, Any, str | None]:
    """What pydantic found: a sentence naming the field, the value seen, what is allowed."""
    place = [str(part) for part in item["loc"] if part not in ("[key]", "str", "tuple[str, ...]")]
    field = ".".join(place)
    kind = item["type"]
    if kind == "value_error":
        what = str(item["ctx"]["error"])
        return (f"{field}: {what}", item["input"], ALLOWED.get(place[0])) if field else (what, None, None)
    if place and place[0] in ("columns", "constants") and kind == "literal_error":
        allowed = CONTRACT_COLUMNS if place[0] == "columns" else CONSTANT_COLUMNS
        return f"{place[0]}: {place[1]} is not a column of the feed contract", place[1], ", ".join(allowed)
    if kind == "extra_forbidden":
        return f"{field} is not a field of a feed spec", content.get(field), ", ".join(_fields())
    allowed_here = ALLOWED.get(place[0]) if place else None
    if kind == "missing":
        return f"{field} is missing", None, allowed_here or f"{field}: ..."
    return f"{field}: {item['msg']}", item["input"], allowed_here


def _fields() -> list[str]:
    return [name for name in FeedSpec.model_fields if name not in ("name", "folder")]
