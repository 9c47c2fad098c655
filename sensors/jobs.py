"""What sensors and schedules start: one job per step of the loop, each a selection of assets."""

import dagster as dg

load_feeds = dg.define_asset_job("load_feeds", ["feed_files", "taxonomy"], description="Read new feed files.")
relabel_slice = dg.define_asset_job(
    "relabel_slice",
    ["training_sample", "teacher_model", "teacher_soft_labels"],
    description="Draw a drifted slice's sample anew, with more of its new offers, show them to the teacher, label it.",
)
retrain_student = dg.define_asset_job(
    "retrain_student",
    ["student_checkpoint", "fast_student", "quantized_student"],
    description="Train both students once for all slices that were labelled anew, and quantize MiniLM.",
)
JOBS = [load_feeds, relabel_slice, retrain_student]

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
