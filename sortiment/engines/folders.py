"""What lies in a student's and an engine's folder beside the weights, read and checked in one place."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import EngineError, EngineUnavailable

ENGINE_FILE = "engine.json"
NEEDED = ("config.json", "tokenizer.json", "classes.json", "calibration.json")
STUDENT_FILE = "student.json"
OPTIONAL = (STUDENT_FILE, "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class EngineSpec:
    """`engine.json`: how to run the folder. `classes` counts the class ids, without the head's unused padding.

    files: the model in the engine's own format. buckets: token lengths of the static shapes; empty = dynamic shapes.
    """

    target: str
    engine: str
    precision: str
    built: bool
    max_tokens: int
    classes: int
    pad_id: int
    batch_offers: int
    token_multiple: int
    sort_window: int
    streams: int | None
    files: tuple[str, ...] = ()
    buckets: tuple[int, ...] = ()
    reason: str | None = None
    command: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def write_engine_spec(folder: Path, spec: EngineSpec) -> None:
    content = json.dumps(asdict(spec), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(folder / ENGINE_FILE, f"{content}\n".encode())


def read_engine_spec(folder: Path) -> EngineSpec:
    """The folder's `engine.json`, built or not. Raises EngineError where there is none."""
    content = read_json(folder, ENGINE_FILE)
    for name in ("files", "buckets"):
        content[name] = tuple(content.get(name, ()))
    try:
        return EngineSpec(**content)
    except TypeError as error:
        raise EngineError(
            f"{folder / ENGINE_FILE} was not written by this version",
            value=str(error),
            fix="materialize compiled_student again",
        ) from error


def read_built_spec(folder: Path) -> EngineSpec:
    """The spec of a folder that can be run. Raises EngineUnavailable where it was not built, with the way out."""
    spec = read_engine_spec(folder)
    if not spec.built:
        raise EngineUnavailable(f"{spec.target} was not built: {spec.reason}", value=str(folder), fix=spec.command)
    return spec


def copy_companions(source: Path, out: Path) -> None:
    """Copy configuration, tokenizer, classes and calibration. Raises EngineError naming the first that is missing."""
    for name in (*NEEDED, *OPTIONAL):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
        elif name in NEEDED:
            raise _missing(source / name)


def read_json(folder: Path, name: str) -> Any:
    file = folder / name
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(file) from error
    except ValueError as error:
        raise EngineError(f"{file} is damaged", value=str(error), fix="materialize its asset again") from error


def read_classes(folder: Path) -> tuple[str, ...]:
    """Category ids, index = class."""
    classes = read_json(folder, "classes.json")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise EngineError(f"{folder / 'classes.json'} is not a list of category ids", value=classes)
    return tuple(classes)


def read_inputs(folder: Path) -> tuple[str, ...]:
    """The offer columns that make a text, as the student was trained."""
    return tuple(read_json(folder, STUDENT_FILE)["inputs"])


def read_max_tokens(student: Path) -> int:
    """Longest input of a student: its tokenizer's own truncation, else `model_max_length`, within its positions."""
    positions = int(read_json(student, "config.json")["max_position_embeddings"])
    truncation = read_json(student, "tokenizer.json").get("truncation")
    if truncation:
        return min(positions, int(truncation["max_length"]))
    if (student / "tokenizer_config.json").is_file():
        return min(positions, int(read_json(student, "tokenizer_config.json").get("model_max_length", positions)))
    return positions


def folder_size_mb(folder: Path, names: tuple[str, ...]) -> float:
    return sum((folder / name).stat().st_size for name in names) / 1e6


def _missing(file: Path) -> EngineError:
    return EngineError(
        f"{file.name} is missing",
        value=str(file.parent),
        allowed=f"a student or engine folder with {', '.join(NEEDED)}",
        fix="materialize student_checkpoint (or compiled_student) again",
    )
