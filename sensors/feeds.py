"""New feed files: are there files that no load has seen, or whose load failed?"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import dagster as dg

from resources.market import MarketResource
from resources.storage import StorageResource
from sensors.attempts import find_attempts
from sensors.jobs import UNFINISHED, load_feeds
from sortiment.feeds import find_feed_files


@dg.sensor(job=load_feeds, minimum_interval_seconds=60)
def new_feed_files(
    context: dg.SensorEvaluationContext, market: MarketResource, storage: StorageResource
) -> dg.RunRequest | dg.SkipReason:
    """Loads feeds when a file appears or changes, and again where that load failed. The cursor is what was there when
    it last asked for a load."""
    files = market.remote_files
    present = [
        f"{spec.name}/{file.name}/{file.bytes}/{file.modified_at.isoformat()}"
        for spec in market.specs()
        for file in find_feed_files(spec, files)
    ]
    asked = context.cursor.split("\n") if context.cursor else []
    new = files_to_load(present, asked)
    there = "\n".join(sorted(present)) if new else context.cursor or ""
    attempts = find_attempts(context.instance, load_feeds.name, there)
    if not new:
        running = context.instance.get_runs(dg.RunsFilter(job_name=load_feeds.name, statuses=UNFINISHED), limit=1)
        if running:
            return dg.SkipReason(f"feed files are being loaded in run {running[0].run_id}")
        if attempts.failed_at is None or _was_loaded_since(context.instance, attempts.failed_at):
            return dg.SkipReason(f"all {len(present)} feed files have been loaded")
        why_not = attempts.why_not(datetime.now(UTC))
        if why_not:
            return dg.SkipReason(why_not)
    context.update_cursor(there)
    return dg.RunRequest(
        run_key=attempts.run_key("\n".join(new) or there), tags={"sortiment/new_files": str(len(new)), **attempts.tags}
    )


def files_to_load(present: Sequence[str], asked: Collection[str]) -> list[str]:
    """Files that are there and have not been asked for, sorted. A file that went away asks for nothing."""
    return sorted(set(present) - set(asked))


def _was_loaded_since(instance: dg.DagsterInstance, failed_at: datetime) -> bool:
    """Whether somebody has loaded the feeds by hand: the tree is the last that a load makes."""
    made = instance.get_latest_materialization_event(dg.AssetKey("taxonomy"))
    return made is not None and made.timestamp > failed_at.timestamp()
