"""Retraining: has any slice been labelled anew since the student was trained?"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from resources.market import MarketResource
from resources.storage import StorageResource
from sensors.attempts import find_attempts
from sensors.jobs import UNFINISHED, relabel_slice, retrain_student
from sortiment.artifacts import Artifact, ArtifactStore
from sortiment.drift import retraining_due


@dg.sensor(job=retrain_student, minimum_interval_seconds=60)
def waiting_slices(
    context: dg.SensorEvaluationContext, market: MarketResource, storage: StorageResource
) -> dg.SensorResult | dg.SkipReason:
    """Trains the students once for all slices that wait, when no slice is being labelled any more; also finishes what a
    killed run left half done: a student that was not quantized, or whose fast one is still of earlier labels. The
    cursor is when it last asked for a training, and for what it last asked."""
    store = storage.store
    student = store.current_or_none("student_checkpoint")
    if student is None:
        return dg.SkipReason("there is no student yet: the first one is trained by a person")
    labels = {key: found.version for key, found in store.current_partitions("teacher_soft_labels").items()}
    running = context.instance.get_runs(dg.RunsFilter(job_name=relabel_slice.name, statuses=UNFINISHED))
    training = context.instance.get_runs(dg.RunsFilter(job_name=retrain_student.name, statuses=UNFINISHED))
    if training:
        return dg.SkipReason(f"the student is being trained in run {training[0].run_id}")
    at, _, asked_for = (context.cursor or "").partition(" ")
    last = datetime.fromisoformat(at) if at else None
    now = datetime.now(UTC)
    due = retraining_due(
        labels,
        student.summary["trained_on"],
        [run.tags.get("dagster/partition", run.run_id) for run in running],
        now,
        last,
        timedelta(hours=market.settings.drift.retrain_cooldown_hours),
    )
    left_half = not due.due and not due.partitions and not _is_finished(store, student)
    if not due.due and not left_half:
        return dg.SkipReason(due.why)
    what = f"finish {student.version}" if left_half else "+".join(labels[key] for key in due.partitions)
    attempts = find_attempts(context.instance, retrain_student.name, what)
    why_not = attempts.why_not(now) if attempts.asked_for == asked_for else None
    if why_not:
        return dg.SkipReason(why_not)
    waiting = {"sortiment/waiting": ", ".join(due.partitions)[:500]} if due.due else {}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=attempts.run_key(what), tags=waiting | attempts.tags)],
        cursor=f"{now.isoformat() if due.due else at} {attempts.asked_for}",
    )


def _is_finished(store: ArtifactStore, student: Artifact) -> bool:
    """Whether the student is quantized, and the fast one, where there is any, has learned the same labels."""
    quantized, fast = store.current_or_none("quantized_student"), store.current_or_none("fast_student")
    if quantized is None or quantized.manifest["inputs"]["student"] != student.version:
        return False
    return fast is None or fast.manifest["inputs"]["soft_labels"] == student.manifest["inputs"]["soft_labels"]
