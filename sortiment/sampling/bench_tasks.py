"""What the scale bench times, each in a process of its own: `python -m sortiment.sampling.bench_tasks TASK.json`.

A task prints one line of JSON: seconds, CPU seconds, peak memory, bytes read (as the kernel counts them, from disk or
from its cache), and what it found.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from sortiment.feeds.offer_index import counts_address, rows_address, write_index
from sortiment.progress import silent
from sortiment.sampling.bench_offers import spec_of_feeds
from sortiment.sampling.building import build_state
from sortiment.sampling.census import take_census
from sortiment.sampling.counting import count_parts
from sortiment.sampling.horizons import shop_cap
from sortiment.sampling.order import mask_of_seed
from sortiment.sampling.parts import Addresses, OfferPart, PartReader, run_in_order
from sortiment.sampling.samples import COLUMNS as SAMPLE_COLUMNS
from sortiment.sampling.samples import draw_sample
from sortiment.sampling.state import empty_state, read_state
from sortiment.sampling.verdicts import VERDICTS
from sortiment.settings import SamplingSettings

COLUMNS = SAMPLE_COLUMNS[:11]
"""The sample's columns that parts have."""
WINDOW_FILE = "window.parquet"

WINDOW = """
COPY (
    SELECT * EXCLUDE (place) FROM (
        SELECT {columns}, row_number() OVER (PARTITION BY category_id ORDER BY xor(offer_key, $mask::UBIGINT)) AS place
        FROM read_parquet($parts)
    ) WHERE place <= $per_category
) TO {target} (FORMAT parquet)
"""
# Row numbers of one offer (the last row counts, unless it withdraws the offer), of a shop in a category, of a category.
WINDOW_SAME_OFFERS = """
COPY (
    WITH rows AS (
        SELECT {columns}, withdrawn, list_position($parts, filename) AS part, file_row_number,
            xor(offer_key, $mask::UBIGINT) AS rank
        FROM read_parquet($parts, filename = true, file_row_number = true)
    ), latest AS (
        SELECT *, row_number() OVER (PARTITION BY offer_key ORDER BY part DESC, file_row_number DESC) AS age FROM rows
    ), living AS (
        SELECT *, row_number() OVER (PARTITION BY category_id, shop_id ORDER BY rank) AS place_in_shop
        FROM latest WHERE age = 1 AND NOT withdrawn AND category_id IS NOT NULL
    ), eligible AS (
        SELECT *, row_number() OVER (PARTITION BY category_id ORDER BY rank) AS place
        FROM living WHERE shop_id IS NULL OR place_in_shop <= $cap
    )
    SELECT {columns} FROM eligible WHERE place <= $per_category
) TO {target} (FORMAT parquet)
"""


def warm_up(task: dict[str, Any]) -> dict[str, Any]:
    """Every byte of parts and indexes, so that all tasks find them in the system's cache, if they fit."""
    files = [address(part) for part in task["parts"] for address in (str, counts_address, rows_address)]

    def read(file: str) -> int:
        with Path(file).open("rb", buffering=0) as stream:
            return sum(iter(lambda: len(stream.read(2**22)), 0))

    return {"bytes": sum(run_in_order(read, files, task["threads"]))}


def full_read_arrow(task: dict[str, Any]) -> dict[str, Any]:
    """Every value of the sample's columns handed over as Arrow, row group by row group, and dropped."""
    reader = PartReader(_parts(task), Addresses())
    groups = ((part, group) for part in range(len(reader.parts)) for group in range(len(reader.row_groups(part))))
    rows = sum(run_in_order(lambda where: reader.read(*where, COLUMNS).num_rows, groups, task["threads"]))
    return {"rows": rows}


def full_read_duckdb(task: dict[str, Any]) -> dict[str, Any]:
    """The largest value of each of the sample's columns, by DuckDB: every value is decoded and looked at once."""
    largest = ", ".join(f"max({name})" for name in COLUMNS)
    _duckdb(task).execute(f"SELECT {largest} FROM read_parquet($parts)", {"parts": task["parts"]}).fetchall()  # noqa: S608
    return {}


def index(task: dict[str, Any]) -> dict[str, Any]:
    """What the loader spends on the indexes of all parts: each is written once more, beside a link to its part."""
    folder = Path(task["folder"])
    folder.mkdir(parents=True)
    links = [folder / Path(part).name for part in task["parts"]]
    for link, part in zip(links, task["parts"], strict=True):
        link.symlink_to(part)
    for _ in run_in_order(write_index, links, task["threads"]):
        pass
    return {
        "bytes": sum(Path(name(str(link))).stat().st_size for link in links for name in (counts_address, rows_address))
    }


def load(task: dict[str, Any]) -> dict[str, Any]:
    """Feed files into parts and their indexes, as `feed_files` does it: one file per process at a time."""
    from sortiment.artifacts import ArtifactStore
    from sortiment.blobs import LocalBlobs
    from sortiment.feeds import load_parts
    from sortiment.settings import FeedSettings

    folder = Path(task["folder"])
    store = ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
    settings = FeedSettings(workers=task["threads"])
    started = time.process_time()
    parts = load_parts([spec_of_feeds(Path(task["feeds"]))], None, store, settings, silent)
    processes = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rows": sum(part.report.rows_loaded for part in parts),
        "cpu_s": time.process_time() - started + processes.ru_utime + processes.ru_stime,
        "peak_rss_mb": max(_peak_rss_mb(), processes.ru_maxrss / 1024),
    }


def census(task: dict[str, Any]) -> dict[str, Any]:
    """Offers of every category and shop, from the indexes of the parts."""
    settings = SamplingSettings.model_validate(task["settings"])
    state = count_parts(_parts(task), empty_state(settings), Addresses(), task["threads"], silent)
    return {"offers": state.offers, "categories": len(state.category_ids) - 1, "shops": len(state.shop_ids) - 1}


def census_duckdb(task: dict[str, Any]) -> dict[str, Any]:
    """Only the counts per category, by DuckDB."""
    query = "SELECT category_id, count(*) FROM read_parquet($parts) WHERE NOT withdrawn GROUP BY category_id"
    return {"categories": len(_duckdb(task).execute(query, {"parts": task["parts"]}).fetchall())}


def sample(task: dict[str, Any]) -> dict[str, Any]:
    """State and samples of all departments from nothing, or from the state in `before` and the new parts alone."""
    settings = SamplingSettings.model_validate(task["settings"])
    folder = Path(task["folder"])
    started = time.perf_counter()
    before = read_state(Path(task["before"])) if task.get("before") else None
    state = build_state(_parts(task), settings, folder / "state", before=before, threads=task["threads"])
    state_s = time.perf_counter() - started
    departments = sorted({str(name) for name in state.departments})
    report = draw_sample(
        state,
        settings,
        {name: folder / name for name in departments},
        before=Path(task["before"]).parent / VERDICTS if before else None,
        keep=folder / VERDICTS,
        threads=task["threads"],
    )
    return {
        "state_s": state_s,
        "draw_s": time.perf_counter() - started - state_s,
        "rows": sum(one.rows for one in report.slices.values()),
        "reserve": len(state.reserve),
        "offers": state.offers,
        "refills": state.refills,
    }


def report(task: dict[str, Any]) -> dict[str, Any]:
    """The census tables of a kept state."""
    settings = SamplingSettings.model_validate(task["settings"])
    return take_census(read_state(Path(task["before"])), settings, Path(task["folder"])).summary()


def window(task: dict[str, Any]) -> dict[str, Any]:
    """`row_number()` per category in the same order, by DuckDB: what one would write first.

    No shop caps, no regard to repeated and withdrawn offers, no splits.
    """
    settings = SamplingSettings.model_validate(task["settings"])
    return _run_window(task, WINDOW, settings, {})


def window_same_offers(task: dict[str, Any]) -> dict[str, Any]:
    """The labelled offers that the sample draws with the policy `cap`, by DuckDB's window functions; no splits."""
    settings = SamplingSettings.model_validate(task["settings"])
    cap = shop_cap(settings.per_category, settings.per_shop_share)
    return _run_window(task, WINDOW_SAME_OFFERS, settings, {"cap": cap})


def _run_window(
    task: dict[str, Any], query: str, settings: SamplingSettings, more_values: dict[str, Any]
) -> dict[str, Any]:
    target = str(Path(task["folder"]) / WINDOW_FILE).replace("'", "''")
    Path(task["folder"]).mkdir(parents=True)
    values = {
        "parts": task["parts"],
        "mask": mask_of_seed(settings.seed),
        "per_category": settings.per_category,
        **more_values,
    }
    connection = _duckdb(task)
    import duckdb

    try:
        connection.execute(query.format(columns=", ".join(COLUMNS), target=f"'{target}'"), values)
    except duckdb.OutOfMemoryException as error:
        return {"out_of_memory": True, "reason": str(error).splitlines()[0]}
    return {"out_of_memory": False}


def pandas(task: dict[str, Any]) -> dict[str, Any]:
    """Everything in memory, then so many per category."""
    import pandas as pd

    settings = SamplingSettings.model_validate(task["settings"])
    frame = pd.concat([pd.read_parquet(part, columns=list(COLUMNS)) for part in task["parts"]])
    frame["rank"] = frame["offer_key"] ^ mask_of_seed(settings.seed)
    return {"rows": len(frame.sort_values("rank").groupby("category_id").head(settings.per_category))}


def polars(task: dict[str, Any]) -> dict[str, Any]:
    """A lazy scan, then the smallest per category."""
    import polars as pl

    settings = SamplingSettings.model_validate(task["settings"])
    ranked = pl.scan_parquet(task["parts"]).select(COLUMNS)
    ranked = ranked.with_columns(rank=pl.col("offer_key") ^ pl.lit(mask_of_seed(settings.seed), dtype=pl.UInt64))
    taken = ranked.filter(pl.col("rank").rank("ordinal").over("category_id") <= settings.per_category)
    return {"rows": len(taken.collect(engine="streaming"))}


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    task.__name__: task
    for task in (
        warm_up,
        full_read_arrow,
        full_read_duckdb,
        index,
        load,
        census,
        census_duckdb,
        sample,
        report,
        window,
        window_same_offers,
        pandas,
        polars,
    )
}


def _parts(task: dict[str, Any]) -> list[OfferPart]:
    return [OfferPart(part) for part in task["parts"]]


def _duckdb(task: dict[str, Any]) -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")  # it would be drawn into the line of JSON
    connection.execute("SET threads = $threads", {"threads": task["threads"]})
    connection.execute("SET memory_limit = $limit", {"limit": f"{task['memory_mb']}MB"})
    connection.execute("SET temp_directory = $folder", {"folder": str(Path(task["scratch"]) / "spill")})
    connection.execute("SET max_temp_directory_size = $limit", {"limit": f"{task['spill_mb']}MB"})
    connection.execute("SET preserve_insertion_order = false")
    return connection


def _bytes_read() -> int | None:
    """What the process has read so far; None where the system does not say."""
    counters = Path("/proc/self/io")
    if not counters.is_file():
        return None
    lines = dict(line.split(": ") for line in counters.read_text(encoding="ascii").splitlines())
    return int(lines["rchar"])


def _peak_rss_mb() -> float:
    """The most memory that this program held, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main(path: Path) -> dict[str, Any]:
    """Run the task in a file and measure it."""
    task = json.loads(path.read_text(encoding="utf-8"))
    pa.array(["pyarrow imports pandas with the first list that it is given; no task pays for that"])
    read, started, cpu = _bytes_read(), time.perf_counter(), time.process_time()
    found = TASKS[task["task"]](task)
    after = _bytes_read()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_rss_mb": _peak_rss_mb(),
        "bytes_read": None if read is None or after is None else after - read,
        **found,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
