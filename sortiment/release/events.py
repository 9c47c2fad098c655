"""What a release event says, and what follows from a row of them: who was champion, who was withdrawn."""

import json
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["promote", "rollback", "refuse"]


@dataclass(frozen=True)
class ReleaseEvent:
    """One line of the log.

    model_version: promoted, refused, or restored by the rollback. previous: the champion before the event.
    artifacts: asset name to version of everything that belongs to model_version.
    at: ISO 8601 in UTC. previous_sha256: of the event file before this one; None for the first.
    """

    number: int
    action: Action
    model_version: str
    artifacts: dict[str, str]
    previous: str | None
    at: str
    by: str
    reason: str
    decision: dict[str, Any] | None
    previous_sha256: str | None


@dataclass(frozen=True)
class Champion:
    """The model that is live: its version, the versions of its artifacts, and the event that put it there."""

    model_version: str
    artifacts: dict[str, str]
    number: int
    at: str
    by: str


def parse_event(raw: bytes) -> ReleaseEvent | None:
    """An event from its file's bytes; None where they are not one."""
    try:
        return ReleaseEvent(**json.loads(raw))
    except (ValueError, TypeError):
        return None


def parse_model(raw: bytes) -> tuple[str, dict[str, str]] | None:
    """A model's version and its artifacts from the bytes of the pointer's or of an event's file; None where they are
    neither."""
    try:
        content = json.loads(raw)
        found = content.get("champion", content)
        version, artifacts = found["model_version"], found["artifacts"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(version, str) or not isinstance(artifacts, dict):
        return None
    return version, artifacts


def champions_of(events: list[ReleaseEvent]) -> list[Champion]:
    """The champions that a rollback can go back to, the current one last."""
    stack: list[Champion] = []
    for event in events:
        live = Champion(event.model_version, event.artifacts, event.number, event.at, event.by)
        if event.action == "promote":
            stack.append(live)
        elif event.action == "rollback":
            while stack and stack[-1].model_version == event.previous:
                stack.pop()
            while stack and stack[-1].model_version != event.model_version:
                stack.pop()
            if stack:
                stack[-1] = live
    return stack


def withdrawn_of(events: list[ReleaseEvent]) -> dict[str, str]:
    """Versions that were rolled back and not put live again since, by a promotion or by a rollback to them: version to
    who did it and why."""
    withdrawn: dict[str, str] = {}
    for event in events:
        if event.action == "rollback" and event.previous is not None:
            withdrawn[event.previous] = f"{event.by}: {event.reason}"
        if event.action != "refuse":
            withdrawn.pop(event.model_version, None)
    return withdrawn
