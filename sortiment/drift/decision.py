"""What sensors ask about drift, as pure functions on plain values: they gather, these decide, they translate."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTE = "%Y-%m-%d %H:%M"


@dataclass(frozen=True)
class Relabelling:
    """partitions: to sample and label anew now, sorted. skipped: drifted ones that wait, each with the reason."""

    partitions: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def why(self) -> str:
        """One sentence for the sensor's tick."""
        if self.partitions:
            return f"{len(self.partitions)} partitions drifted: {', '.join(self.partitions)}"
        if self.skipped:
            return "; ".join(f"{partition}: {reason}" for partition, reason in self.skipped.items())
        return "no partition has drifted"


@dataclass(frozen=True)
class Retraining:
    """due: train a student now, for `partitions`. why: a sentence either way."""

    due: bool
    partitions: tuple[str, ...]
    why: str


def partitions_to_relabel(
    reports: Mapping[str, Iterable[str]],
    already_requested: Mapping[str, str],
    now: datetime,
    cooldown: timedelta,
    last_requested: Mapping[str, datetime] | None = None,
    partitions: Collection[str] | None = None,
) -> Relabelling:
    """Which drifted partitions to re-label.

    reports: drift report version to the partitions that it found drifted, oldest first. already_requested: partition to
    the report version that it was last requested for: one report asks once. last_requested: partition to when; within
    `cooldown` it is not asked for again, so that a drift that new labels cannot mend does not label for ever.
    partitions: those that exist; a drifted slice outside them waits until it is one.
    """
    wanted = {partition: version for version, drifted in reports.items() for partition in drifted}
    times = last_requested or {}
    chosen, skipped = [], {}
    for partition, version in sorted(wanted.items()):
        asked_at = times.get(partition)
        if partitions is not None and partition not in partitions:
            skipped[partition] = "is not a partition yet; it comes with the next feed that is loaded"
        elif already_requested.get(partition) == version:
            skipped[partition] = f"was requested for report {version} already"
        elif asked_at is not None and now - asked_at < cooldown:
            skipped[partition] = f"was re-labelled at {asked_at:{MINUTE}}, waits until {asked_at + cooldown:{MINUTE}}"
        else:
            chosen.append(partition)
    return Relabelling(tuple(chosen), skipped)


def retraining_due(
    relabelled: Mapping[str, str],
    trained_on: Mapping[str, str],
    in_progress: Collection[str],
    now: datetime,
    last_training: datetime | None,
    cooldown: timedelta,
) -> Retraining:
    """Whether the student should train anew: once, for all partitions that wait.

    relabelled, trained_on: partition to the version of its soft labels, as they are now and as the current student saw
    them. in_progress: partitions that are being labelled; training waits for them, or it would run twice.
    """
    waiting = tuple(sorted(key for key, version in relabelled.items() if trained_on.get(key) != version))
    if not waiting:
        return Retraining(False, (), "the student has seen all soft labels")
    if in_progress:
        return Retraining(False, waiting, f"{', '.join(sorted(in_progress))} still being labelled")
    if last_training is not None and now - last_training < cooldown:
        why = f"the student was trained at {last_training:{MINUTE}}; next after {last_training + cooldown:{MINUTE}}"
        return Retraining(False, waiting, why)
    return Retraining(True, waiting, f"new soft labels in {len(waiting)} partitions: {', '.join(waiting)}")
