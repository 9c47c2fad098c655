"""The release log: who put which model live, when and why, and how to undo it.

    releases/000001.json      one event each; created exclusively, never changed
    releases/champion.json    the champion for readers that want one file; rewritten atomically after each event

Each event carries the sha256 of the one before it, so a log that was edited or lost a page says so. The champion
follows from the events alone: promotions push, rollbacks pop. The pointer is a copy; where a crash left it behind, the
log wins. Two processes that write at once compete for the next number, and the storage lets exactly one have it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sortiment.blobs import Blobs
from sortiment.errors import ReleaseError
from sortiment.release.events import Action, Champion, ReleaseEvent, champions_of, parse_event, withdrawn_of
from sortiment.release.gates import ReleaseDecision

FOLDER = "releases"
POINTER = f"{FOLDER}/champion.json"
EVENT_KEY = re.compile(rf"{FOLDER}/(\d{{6}})\.json")
BY_HAND = "promoted by hand"


@dataclass(frozen=True)
class _Draft:
    """What an event says before it has a number, a time and its place in the chain."""

    action: Action
    model_version: str
    artifacts: dict[str, str]
    reason: str
    decision: dict[str, Any] | None


class ReleaseLog:
    """The log kept in `blobs`. Every method reads the storage anew, so that many processes may share it."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def events(self) -> list[ReleaseEvent]:
        """All events, oldest first. Raises ReleaseError where the log is damaged, naming the file and the way out."""
        pointer = self.blobs.read(POINTER)  # before the events: it may lag behind them, never run ahead
        events: list[ReleaseEvent] = []
        digest: str | None = None
        for number, key in enumerate(self._keys(), start=1):
            raw = self.blobs.read(key)
            event = None if raw is None else parse_event(raw)
            if raw is None or event is None:
                raise _damaged(f"{key} cannot be read as a release event", self.blobs.uri(key))
            if key != _key(number) or event.number != number:
                raise _damaged(f"release {number} is missing: the log goes on with {key}", self.blobs.uri(_key(number)))
            if event.previous_sha256 != digest:
                raise _damaged(
                    f"release {number - 1} was changed after it was written", self.blobs.uri(_key(number - 1))
                )
            events.append(event)
            digest = hashlib.sha256(raw).hexdigest()
        self._check_tail(pointer, len(events), digest)
        return events

    def champion(self) -> Champion | None:
        """The live model, from the log; None before the first promotion."""
        history = champions_of(self.events())
        return history[-1] if history else None

    def promote(
        self,
        model_version: str,
        artifacts: Mapping[str, str],
        decision: ReleaseDecision,
        at: datetime,
        by: str,
    ) -> ReleaseEvent:
        """Make a model the champion. Promoting the champion again changes nothing and returns its event.

        Raises ReleaseError where the decision refuses it or was made against another champion, where somebody rolled
        this version back (`promote_by_hand` overrules), or where another release won meanwhile.
        """
        if not decision.passed:
            raise ReleaseError(
                f"{model_version} did not pass its gates",
                value="; ".join(decision.reasons),
                fix=f"mend what they name, or overrule: `sortiment release promote {model_version} --reason ...`",
            )
        reason = "first release" if decision.first else f"passed {len(decision.gates)} gates"
        while True:
            events = self.events()
            history = champions_of(events)
            if history and history[-1].model_version == model_version:
                self._point(events)
                return events[history[-1].number - 1]
            _refuse_stale(decision, history, model_version)
            _refuse_withdrawn(events, model_version)
            draft = _Draft("promote", model_version, dict(artifacts), reason, decision.as_json())
            event = self._append(events, draft, at, by)
            if event is not None:
                return event

    def promote_by_hand(
        self, model_version: str, at: datetime, by: str, reason: str, artifacts: Mapping[str, str] | None = None
    ) -> ReleaseEvent:
        """A person overrules the gates or an earlier rollback. The reason is kept.

        artifacts: what belongs to the model; without it the log must know the version, or a ReleaseError is raised.
        """
        while True:
            events = self.events()
            history = champions_of(events)
            if history and history[-1].model_version == model_version:
                return events[history[-1].number - 1]
            known = [event for event in events if event.model_version == model_version]
            if not known and artifacts is None:
                raise ReleaseError(
                    "the release log does not know this model",
                    value=model_version,
                    allowed=", ".join(sorted({event.model_version for event in events})) or "nothing yet",
                    fix="materialize release_decision for it first",
                )
            belonging = dict(known[-1].artifacts if artifacts is None else artifacts)
            decision = known[-1].decision if known else None
            draft = _Draft("promote", model_version, belonging, f"{BY_HAND}: {reason}", decision)
            event = self._append(events, draft, at, by)
            if event is not None:
                return event

    def rollback(self, at: datetime, by: str, reason: str, to: str | None = None) -> ReleaseEvent:
        """Put the champion before the current one (or the earlier champion `to`) back in its place.

        Raises ReleaseError where there is none, or where another release won meanwhile.
        """
        events = self.events()
        history = champions_of(events)
        earlier = [champion for champion in history[:-1] if to in (None, champion.model_version)]
        if not earlier:
            raise ReleaseError(
                "there is no earlier champion to go back to",
                value=to or (history[-1].model_version if history else "no release yet"),
                allowed=", ".join(champion.model_version for champion in history[:-1]) or "nothing",
                fix="`sortiment release list` shows what was live",
            )
        back = earlier[-1]
        while True:
            draft = _Draft("rollback", back.model_version, back.artifacts, reason, None)
            event = self._append(events, draft, at, by)
            if event is not None:
                return event
            events = self.events()
            _refuse_overtaken(history, champions_of(events), events)

    def refuse(
        self,
        model_version: str,
        artifacts: Mapping[str, str],
        decision: ReleaseDecision,
        at: datetime,
        by: str,
    ) -> ReleaseEvent:
        """Record that a challenger was held back, and why. The same refusal twice in a row is recorded once."""
        content = decision.as_json()
        while True:
            events = self.events()
            last = events[-1] if events else None
            if last and (last.action, last.model_version, last.decision) == ("refuse", model_version, _plain(content)):
                self._point(events)
                return last
            reason = "; ".join(decision.reasons)
            draft = _Draft("refuse", model_version, dict(artifacts), reason, content)
            event = self._append(events, draft, at, by)
            if event is not None:
                return event

    def withdrawn(self) -> dict[str, str]:
        """Versions that were rolled back and not promoted again since: version to the reason."""
        return withdrawn_of(self.events())

    def _keys(self) -> list[str]:
        return [key for key in self.blobs.list(f"{FOLDER}/") if EVENT_KEY.fullmatch(key)]

    def _append(self, events: list[ReleaseEvent], draft: "_Draft", at: datetime, by: str) -> ReleaseEvent | None:
        """Write the next event and move the pointer; None where somebody else has taken the number."""
        if at.tzinfo is None:
            raise ReleaseError("a release needs a time with a time zone", value=at.isoformat())
        history = champions_of(events)
        last = self.blobs.read(_key(len(events))) if events else None
        event = ReleaseEvent(
            number=len(events) + 1,
            action=draft.action,
            model_version=draft.model_version,
            artifacts=draft.artifacts,
            previous=history[-1].model_version if history else None,
            at=at.astimezone(UTC).isoformat(timespec="seconds"),
            by=by,
            reason=draft.reason,
            decision=draft.decision,
            previous_sha256=None if last is None else hashlib.sha256(last).hexdigest(),
        )
        if not self.blobs.create(_key(event.number), _bytes(asdict(event))):
            return None
        self._point([*events, event])
        return event

    def _point(self, events: list[ReleaseEvent]) -> None:
        """Make the pointer say what the events say: a process that was killed after its event left it behind."""
        history, last = champions_of(events), self.blobs.read(_key(len(events)))
        assert last is not None, "events are never removed"
        pointer = {
            "champion": asdict(history[-1]) if history else None,
            "last_event": events[-1].number,
            "last_event_sha256": hashlib.sha256(last).hexdigest(),
        }
        if self.blobs.read(POINTER) != _bytes(pointer):
            self.blobs.write(POINTER, _bytes(pointer))

    def _check_tail(self, raw: bytes | None, events: int, digest: str | None) -> None:
        """The chain cannot notice that its own end was cut off or edited; the pointer can."""
        if raw is None:
            return
        try:
            pointer = json.loads(raw)
            last, last_digest = int(pointer["last_event"]), pointer["last_event_sha256"]
        except (ValueError, KeyError, TypeError):
            return  # the pointer is only a copy; the next event writes it anew
        if last > events:
            raise _damaged(f"release {last} is missing: the pointer knows it", self.blobs.uri(_key(last)))
        if last == events and last_digest != digest:
            raise _damaged(f"release {last} was changed after it was written", self.blobs.uri(_key(last)))


def _refuse_stale(decision: ReleaseDecision, history: list[Champion], model_version: str) -> None:
    champion = history[-1].model_version if history else None
    judged_against = None if decision.first else decision.against or champion
    if judged_against != champion:
        raise ReleaseError(
            f"{model_version} was judged against another champion than the one that is live",
            value=f"judged against {judged_against or 'none'}, live is {champion or 'none'}",
            fix="another release was made meanwhile: materialize release_decision again",
        )


def _refuse_withdrawn(events: list[ReleaseEvent], model_version: str) -> None:
    reason = withdrawn_of(events).get(model_version)
    if reason is not None:
        raise ReleaseError(
            f"{model_version} was rolled back and is not promoted again by itself",
            value=reason,
            fix=f"train another, or overrule: `sortiment release promote {model_version} --reason ...`",
        )


def _refuse_overtaken(before: list[Champion], after: list[Champion], events: list[ReleaseEvent]) -> None:
    if before != after:
        raise ReleaseError(
            "another release was made at the same moment",
            value=f"release {events[-1].number} by {events[-1].by}: {events[-1].model_version}",
            fix="look at `sortiment release list`, then decide again",
        )


def _key(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def _bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from the log (tuples are lists there)."""
    plain: dict[str, Any] = json.loads(_bytes(content))
    return plain


def _damaged(what: str, uri: str) -> ReleaseError:
    return ReleaseError(
        f"the release log is damaged: {what}",
        value=uri,
        fix=(
            "restore that file from a backup; or move the folder `releases` aside and put the live model back: "
            "`sortiment release promote VERSION --from champion.json --reason ...`, with the champion.json that was "
            "moved and the version that it names (models and artifacts are not touched by either)"
        ),
    )
