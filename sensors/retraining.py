"""Retraining: has any slice been labelled anew since the student was trained?"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from resources.market import MarketResource
from resources.storage import StorageResource
from sensors.jobs import relabel_slice, retrain_student
from sortiment.artifacts import Artifact, ArtifactStore
from sortiment.drift import retraining_due

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(job=retrain_student, minimum_interval_seconds=60)
def waiting_slices(
    context: dg.SensorEvaluationContext, market: MarketResource, storage: StorageResource
) -> dg.SensorResult | dg.SkipReason:
    """Trains the students once for all slices that wait, when no slice is being labelled any more; also finishes what a
    killed run left half done: a student that was not quantized, or whose fast one is still of earlier labels."""
    store = storage.store
    student = store.current_or_none("student_checkpoint")
    if student is None:
        return dg.SkipReason("there is no student yet: the first one is trained by a person")
    labels = {key: found.version for key, found in store.current_partitions("teacher_soft_labels").items()}
    running = context.instance.get_runs(dg.RunsFilter(job_name=relabel_slice.name, statuses=UNFINISHED))
    training = context.instance.get_runs(dg.RunsFilter(job_name=retrain_student.name, statuses=UNFINISHED))
    if training:
        return dg.SkipReason(f"the student is being trained in run {training[0].run_id}")
    last = datetime.fromisoformat(context.cursor) if context.cursor else None
    now = datetime.now(UTC)
    due = retraining_due(
        labels,
        student.summary["trained_on"],
        [run.tags.get("dagster/partition", run.run_id) for run in running],
        now,
        last,
        timedelta(hours=market.settings.drift.retrain_cooldown_hours),
    )
    if not due.due and not due.partitions and not _is_finished(store, student):
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"finish {student.version}")], cursor=context.cursor)
    if not due.due:
        return dg.SkipReason(due.why)
    waiting = ", ".join(due.partitions)
    version = "+".join(labels[key] for key in due.partitions)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=version[-500:], tags={"sortiment/waiting": waiting[:500]})],
        cursor=now.isoformat(),
    )


def _is_finished(store: ArtifactStore, student: Artifact) -> bool:
    """Whether the student is quantized, and the fast one, where there is any, has learned the same labels."""
    quantized, fast = store.current_or_none("quantized_student"), store.current_or_none("fast_student")
    if quantized is None or quantized.manifest["inputs"]["student"] != student.version:
        return False
    return fast is None or fast.manifest["inputs"]["soft_labels"] == student.manifest["inputs"]["soft_labels"]
