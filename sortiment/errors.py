"""Every error that Sortiment raises on purpose, in one tree.

    SortimentError
    ├── SettingsError       a knob is out of its bounds, or is not a knob
    ├── FeedError           a feed spec or a feed file cannot be used
    │   └── UnreadableFile  a feed file is damaged as a whole, whatever its spec says
    ├── TaxonomyError       a category tree contradicts itself, or a label is not in it
    ├── SamplingError       a sample cannot be drawn as asked
    ├── EncoderError        an encoder reference, its weights or its tokenizer cannot be used
    ├── TrainingError       a teacher or a student cannot be trained, or its numbers went wrong
    ├── EngineError         a model cannot be quantized, compiled or run
    │   └── EngineUnavailable   this machine lacks what the target needs
    ├── ReleaseError        a release cannot be promoted, rolled back or read
    ├── DriftError          drift cannot be judged from what is there
    └── StorageError        an artifact is missing, damaged or cannot be written
        └── UnreadableOffers    ... it holds a loaded feed file's offers

Each says what was wrong, the value seen, what is allowed and what to do, as separate parts, so that a terminal,
a log line and the Dagster UI all show the same four facts.
"""

from typing import Any

SEEN_MAX_CHARS = 1_000  # on a terminal


class SortimentError(Exception):
    """What went wrong, and the way out.

    `what` is a sentence. `value` is what was seen; long values are cut to 200 characters. `allowed` is what would
    have been accepted. `fix` is what to do next, ideally a command.
    """

    def __init__(self, what: str, *, value: Any = None, allowed: str | None = None, fix: str | None = None) -> None:
        self.what = what
        self.value = value
        self.allowed = allowed
        self.fix = fix
        super().__init__(self._text())

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error in a process that works for another arrives there as what it is."""
        return _blank, (type(self), self.args), self.__dict__

    @property
    def seen(self) -> str | None:
        """The value as a terminal shows it: text as it is, anything else as Python writes it, cut where it is long."""
        if self.value is None:
            return None
        text = self.value if isinstance(self.value, str) else repr(self.value)
        cut = text if len(text) <= SEEN_MAX_CHARS else text[: SEEN_MAX_CHARS - 3] + "..."
        return cut.encode("utf-8", "backslashreplace").decode()

    def _text(self) -> str:
        parts = [self.what]
        if self.value is not None:
            seen = repr(self.value)
            parts.append(f"seen: {seen if len(seen) <= 200 else seen[:197] + '...'}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.fix:
            parts.append(f"to do: {self.fix}")
        return "; ".join(parts)


def _blank(kind: type[SortimentError], args: tuple[Any, ...]) -> SortimentError:
    return kind.__new__(kind, *args)


class SettingsError(SortimentError):
    """A knob is out of its bounds, or is not a knob."""


class FeedError(SortimentError):
    """A feed spec or a feed file cannot be used."""


class UnreadableFile(FeedError):
    """A feed file is damaged, empty, of another kind or cannot be opened: not one row of it can be trusted."""


class TaxonomyError(SortimentError):
    """A category tree contradicts itself, or a label is not in it."""


class SamplingError(SortimentError):
    """A sample cannot be drawn as asked."""


class EncoderError(SortimentError):
    """An encoder reference, its weights or its tokenizer cannot be used."""


class TrainingError(SortimentError):
    """A teacher or a student cannot be trained, or its numbers went wrong."""


class EngineError(SortimentError):
    """A model cannot be quantized, compiled or run."""


class EngineUnavailable(EngineError):
    """This machine lacks what the target needs; `fix` is the command that would do it elsewhere."""


class ReleaseError(SortimentError):
    """A release cannot be promoted, rolled back or read."""


class DriftError(SortimentError):
    """Drift cannot be judged from what is there."""


class StorageError(SortimentError):
    """An artifact is missing, damaged or cannot be written."""


class UnreadableOffers(StorageError):
    """A loaded feed file's offers are damaged."""
