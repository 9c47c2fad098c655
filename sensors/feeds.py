"""New feed files: are there files that no load has seen?"""

from collections.abc import Collection, Sequence

import dagster as dg

from resources.market import MarketResource
from resources.storage import StorageResource
from sensors.jobs import load_feeds
from sortiment.feeds import find_feed_files


@dg.sensor(job=load_feeds, minimum_interval_seconds=60)
def new_feed_files(
    context: dg.SensorEvaluationContext, market: MarketResource, storage: StorageResource
) -> dg.RunRequest | dg.SkipReason:
    """Loads feeds when a file appears or changes. The cursor is what was there when it last asked for a load."""
    files = market.remote_files
    present = [
        f"{spec.name}/{file.name}/{file.bytes}/{file.modified_at.isoformat()}"
        for spec in market.specs()
        for file in find_feed_files(spec, files)
    ]
    asked = context.cursor.split("\n") if context.cursor else []
    new = files_to_load(present, asked)
    if not new:
        return dg.SkipReason(f"all {len(present)} feed files have been loaded or are being loaded")
    context.update_cursor("\n".join(sorted(present)))
    return dg.RunRequest(run_key="\n".join(new)[-500:], tags={"sortiment/new_files": str(len(new))})


def files_to_load(present: Sequence[str], asked: Collection[str]) -> list[str]:
    """Files that are there and have not been asked for, sorted. A file that went away asks for nothing."""
    return sorted(set(present) - set(asked))
