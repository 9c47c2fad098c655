"""What pydantic found wrong with values that a person wrote, each apart: where, the value seen, what is allowed."""

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

SEEN_MAX_CHARS = 60
SHOULD_BE = "Input should be "


@dataclass(frozen=True)
class Misfit:
    """One value that does not fit. seen: as Python writes it, cut where it is long; None where none was given."""

    where: str
    seen: str | None
    allowed: str

    @property
    def found(self) -> str:
        if self.seen is None:
            return f"{self.where} is missing"
        return f"{self.where}: {self.seen}" if self.where else self.seen

    @property
    def wanted(self) -> str:
        return f"{self.where}: {self.allowed}" if self.where else self.allowed


def told(misfits: Sequence[Misfit]) -> dict[str, str]:
    """What was seen and what is allowed, as the facts of an error."""
    return {
        "value": "; ".join(misfit.found for misfit in misfits),
        "allowed": "; ".join(misfit.wanted for misfit in misfits),
    }


def list_misfits(error: ValidationError, model: type[BaseModel]) -> list[Misfit]:
    """Every value that `model`, which was to be made from them, refused."""
    return [_describe(item, model) for item in error.errors()]


def _describe(item: Any, model: type[BaseModel]) -> Misfit:
    place: tuple[int | str, ...] = item["loc"]
    where = ".".join(map(str, place))
    kind = item["type"]
    if kind == "missing":
        return Misfit(where, None, "it must be given")
    if kind == "extra_forbidden":
        return Misfit(where, _shorten(item["input"]), _known_names(str(place[-1]), _model_at(model, place[:-1])))
    if kind == "value_error":
        return Misfit(where, _shorten(item["input"]), str(item["ctx"]["error"]))
    return Misfit(where, _shorten(item["input"]), str(item["msg"]).removeprefix(SHOULD_BE))


def _shorten(value: Any) -> str:
    """The value in one short line; of a mapping or a list as much as fits."""
    text = repr(value)
    return text if len(text) <= SEEN_MAX_CHARS else text[: SEEN_MAX_CHARS - 3] + "..."


def _known_names(name: str, model: type[BaseModel] | None) -> str:
    """The names that could have been meant: those that look alike, or else all."""
    names = list(model.model_fields) if model else []
    alike = get_close_matches(name, names, 3)
    if alike:
        return f"no such name; is it {' or '.join(alike)}?"
    return f"no such name, but {', '.join(names)}" if names else "no such name"


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """The model whose fields stand at that place; None where there is none, or several could."""
    found: type[BaseModel] | None = model
    for name in place:
        if isinstance(name, str) and found is not None:
            fields: Mapping[str, Any] = found.model_fields
            models = list(_models_in(fields[name].annotation)) if name in fields else []
            found = models[0] if len(models) == 1 else None
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)
