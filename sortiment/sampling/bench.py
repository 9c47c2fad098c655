"""`sortiment bench sampling`: generate offers of any number, sample them, and compare with what else one could do.

Each measurement runs in a process of its own, so that its peak memory is its own. Files are read once before anything
is timed, so all find them in the page cache if they fit. Timings of one run are compared only with each other.
"""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.outputs import refuse_unwritable_file, refuse_unwritable_folder
from sortiment.progress import Progress, silent
from sortiment.sampling.bench_figures import draw_plot, refuse_unknown_format
from sortiment.sampling.bench_generated import (
    FEED_BYTES,
    INCREMENT_SHARE,
    OFFER_BYTES,
    WORK_BYTES,
    WORK_ROOM,
    GeneratedOffers,
    find_generated,
    generate,
    refuse_full_disks,
)
from sortiment.sampling.bench_offers import BenchMarket, write_feeds
from sortiment.sampling.bench_processes import run_task
from sortiment.settings import SamplingSettings

ROWS_THAT_FIT = 3_000_000
"""Up to so many rows pandas and polars are asked too."""
FEED_ROWS = 10_000_000
"""Up to so many rows are loaded from feed files too, unless the caller says: it takes longer than all the rest."""
REFERENCE_ROWS = 4_500_000_000
RUNS = 3
"""Of what the first run and the increments are summed up from; the one of median time counts."""
AIMS = {
    "sample_over_full_read": 0.6,
    "peak_rss_mb": 1_000,
    "increment_share": 0.05,
    "increment_from_feeds_share": 0.05,
    "increment_without_indexes_share": 0.05,
    "increment_of_state_with_index_share": 0.05,
    "increment_of_state_share": 0.05,
}
"""At most so much, at 100 million rows on two cores. A day is measured in five ways."""
DEFINITIONS = {
    "full_read_s": "the faster of Arrow and DuckDB reading the sample's columns; mean of before and after the rest",
    "sample_s": "from the parts and their indexes: state, draw and samples of all departments",
    "index_s": "writing the indexes of all parts, which the loader does, once per part",
    "sample_and_index_over_full_read": "(sample_s + index_s) / full_read_s",
    "window_s": "the window functions that draw the same offers; they did not end where window_out_of_memory, or "
    "window_stopped for taking too long, and would have taken longer",
    "peak_rss_mb": "the largest of the first run and both increments, as the kernel counts it",
    "increment_share": "everything that 1 % more offers cost (the new part's index, the state, all samples anew) / "
    "everything that the first run cost (index_s + sample_s); like all of these, of new and of known shops the "
    "costlier",
    "increment_from_feeds_share": "the same from feed files on: loading 1 % more offers, the state, all samples "
    "anew / loading and sampling the first ones",
    "increment_without_indexes_share": "state and samples of 1 % more offers / state and samples of the first run "
    "(sample_s)",
    "increment_of_state_with_index_share": "index and state of 1 % more offers / indexes and state of the first run; "
    "no sample on either side",
    "increment_of_state_share": "state of 1 % more offers / state of the first run; neither index nor samples",
}


@dataclass(frozen=True)
class BenchResult:
    """The figures of one run; `measured` holds everything each process said."""

    rows: int
    full_read_s: float
    census_s: float
    sample_s: float
    sample_over_full_read: float
    window_s: float | None
    window_out_of_memory: bool
    peak_rss_mb: float
    increment_share: float
    increment_from_feeds_share: float | None
    increment_without_indexes_share: float
    increment_of_state_with_index_share: float
    increment_of_state_share: float
    index_s: float
    load_s: float | None
    sample_and_index_over_full_read: float
    window_stopped: bool
    measured_at: str
    measured: Mapping[str, Any]
    machine: Mapping[str, Any]
    arguments: Mapping[str, Any]

    @property
    def extrapolated_sample_s(self) -> float:
        """Seconds that the reference workload would take if time stays proportional to rows. Not measured."""
        return self.sample_s * REFERENCE_ROWS / self.rows

    def content(self) -> dict[str, Any]:
        """As JSON."""
        figures = {
            name: value for name, value in vars(self).items() if name not in {"measured", "machine", "arguments"}
        }
        extrapolated = {"rows": REFERENCE_ROWS, "sample_s": self.extrapolated_sample_s, "measured": False}
        return {
            **figures,
            "definitions": DEFINITIONS,
            "aims": AIMS,
            "extrapolated": extrapolated,
            "arguments": dict(self.arguments),
            "machine": dict(self.machine),
            "measured": dict(self.measured),
        }


def run_bench(
    rows: int,
    *,
    now: datetime,
    zipf: float = 1.0,
    categories: int = 3_000,
    parts: int | None = None,
    shops_per_part: int = 50,
    settings: SamplingSettings | None = None,
    threads: int = 2,
    memory_mb: int = 1_000,
    window: bool = True,
    window_timeout_s: float | None = None,
    feeds: bool | None = None,
    seed: int = 0,
    folder: Path | None = None,
    keep: Path | None = None,
    json_path: Path | None = None,
    plot_path: Path | None = None,
    progress: Progress = silent,
) -> BenchResult:
    """Generate, measure, compare; what was generated is deleted at the end, but for what `keep` says.

    now: when it is run. parts: files; by default one per million rows. memory_mb: DuckDB's limit for the window
    functions, which may spill to disk. window_timeout_s: when to stop one; by default after 20 times what the sample
    took. feeds: whether the offers are loaded from feed files too; by default up to FEED_ROWS. folder: where all is
    written, by default the system's temporary folder. keep: a folder where the generated offers go instead and stay;
    the next run that asks for the same finds them.
    Raises StorageError or SettingsError, before anything is generated, where a file or folder cannot be written, and
    SamplingError where a disk is too small or a measurement fails.
    """
    knobs = settings or SamplingSettings(seed=seed)
    files = parts or max(1, rows // 1_000_000)
    base = (folder or Path(tempfile.gettempdir())).absolute()
    keep = None if keep is None else keep.absolute()
    _refuse_unwritable(json_path, plot_path, base, keep)
    market = BenchMarket(categories, zipf, shops_per_part, seed)
    kept = keep is not None and find_generated(keep, market, rows, files) is not None
    new = {} if kept else {keep or base: int(rows * (1 + 2 * INCREMENT_SHARE) * OFFER_BYTES)}
    with_feeds = rows <= FEED_ROWS if feeds is None else feeds
    work_bytes = WORK_BYTES + (FEED_BYTES + OFFER_BYTES if with_feeds else 0)
    refuse_full_disks(rows, new, {base: rows * work_bytes + WORK_ROOM})
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sortiment-bench-", dir=base) as temporary:
        work = Path(temporary)
        made = generate(work if keep is None else keep, market, rows, files, threads, progress)
        common = {
            "threads": threads,
            "memory_mb": memory_mb,
            "spill_mb": shutil.disk_usage(work).free // 2**20 // 2,
            "settings": knobs.model_dump(mode="json"),
            "scratch": str(work),
            "parts": made.parts,
        }
        loaded = _measure_loading(common, market, rows, files, progress) if with_feeds else {}
        measured = _measure_all(common, made, rows, window, window_timeout_s, progress) | loaded
    result = sum_up(
        rows,
        measured,
        {
            "zipf": zipf,
            "categories": categories,
            "parts": files,
            "shops": files * shops_per_part,
            "threads": threads,
            "memory_mb": memory_mb,
            "per_category": knobs.per_category,
            "seed": seed,
        },
        now,
    )
    if json_path is not None:
        write_atomically(json_path, (json.dumps(result.content(), indent=1) + "\n").encode())
    if plot_path is not None:
        draw_plot(result.content(), plot_path)
    return result


def _refuse_unwritable(json_path: Path | None, plot_path: Path | None, base: Path, keep: Path | None) -> None:
    refuse_unwritable_folder(base, "--folder")
    if keep is not None:
        refuse_unwritable_folder(keep, "--keep")
    if json_path is not None:
        refuse_unwritable_file(json_path, "--json")
    if plot_path is not None:
        refuse_unknown_format(plot_path)
        refuse_unwritable_file(plot_path, "--plot")


class _Measuring:
    """Runs tasks one after the other, each in a process and a folder of its own, and keeps what they found by name."""

    def __init__(self, common: dict[str, Any], progress: Progress) -> None:
        self.common, self.progress = common, progress
        self.work = Path(common["scratch"])
        self.found: dict[str, Any] = {}

    def __call__(self, name: str, task: str, timeout_s: float | None = None, runs: int = 1, **given: Any) -> None:
        """Of several runs the one of median time counts."""
        asked, taken = {**self.common, "folder": str(self.work / name), "task": task, **given}, []
        with self.progress(f"measure {name}", total=runs, unit="runs") as step:
            for _ in range(runs):
                self.clear(name)
                taken.append(run_task(asked, timeout_s))
                step.advance()
        self.found[name] = _median_run(taken)

    def clear(self, name: str) -> None:
        """Remove what a task wrote."""
        shutil.rmtree(self.work / name, ignore_errors=True)


def _measure_loading(
    common: dict[str, Any], market: BenchMarket, rows: int, files: int, progress: Progress
) -> dict[str, Any]:
    """The feed files that the parts might have come from, loaded, and of one percent more offers."""
    measure = _Measuring(common, progress)
    more, shops = max(1, int(rows * INCREMENT_SHARE)), files * market.shops_per_part
    feeds = {
        "load": {"rows": rows, "files": files, "threads": common["threads"]},
        "load, new shops": {"rows": more, "files": 1, "first_number": rows, "first_shop": shops},
        "load, known shops": {"rows": more, "files": 1, "first_number": 2 * rows, "first_shop": shops, "spread": True},
    }
    for name, given in feeds.items():
        folder = measure.work / f"feeds of {name}"
        with progress(f"generate feed files: {name}", total=given["rows"]) as step:
            for written in write_feeds(folder, market, **given):
                step.advance(written)
        measure(name, "load", runs=1 if name == "load" else RUNS, feeds=str(folder))
        measure.clear(name)
        shutil.rmtree(folder)
    return measure.found


def _measure_all(
    common: dict[str, Any],
    made: GeneratedOffers,
    rows: int,
    window: bool,
    window_timeout_s: float | None,
    progress: Progress,
) -> dict[str, Any]:
    """Every measurement by name; full reads come before and after the rest, so that a noisy machine shows."""
    measure = _Measuring(common, progress)
    before = str(measure.work / "sample" / "state")
    increments = {"new shops": made.new_shops, "known shops": made.known_shops}
    measure("warm up", "warm_up", parts=[*made.parts, *increments.values()])
    measure("full read, Arrow", "full_read_arrow")
    measure("full read, DuckDB", "full_read_duckdb")
    for name, parts in (("index", made.parts), *((f"index, {of}", [part]) for of, part in increments.items())):
        measure(name, "index", runs=RUNS, parts=parts)
        measure.clear(name)
    measure("census", "census")
    measure("census, DuckDB", "census_duckdb")
    measure("sample", "sample", runs=RUNS)
    for of, part in increments.items():
        measure(f"one percent, {of}", "sample", runs=RUNS, parts=[part], before=before)
    measure("one part again", "sample", parts=made.parts[:1], before=before)
    measure("census tables", "report", before=before)
    measure("full read again, Arrow", "full_read_arrow")
    measure("full read again, DuckDB", "full_read_duckdb")
    if rows <= ROWS_THAT_FIT:
        measure("pandas", "pandas")
        measure("polars", "polars")
    if window:
        patience = window_timeout_s or max(60.0, 20 * measure.found["sample"]["seconds"])
        measure("window per category", "window", timeout_s=patience)
        measure("windows, same offers", "window_same_offers", timeout_s=patience)
    return measure.found


def _median_run(taken: list[dict[str, Any]]) -> dict[str, Any]:
    """The run of median time, with the largest peak of all and how long each took."""
    if len(taken) == 1:
        return taken[0]
    middle = sorted(taken, key=lambda run: run["seconds"])[len(taken) // 2]
    peak = max(run["peak_rss_mb"] for run in taken)
    return {**middle, "peak_rss_mb": peak, "seconds_of_runs": [run["seconds"] for run in taken]}


def sum_up(rows: int, measured: dict[str, Any], arguments: dict[str, Any], now: datetime) -> BenchResult:
    """The figures that count, as DEFINITIONS says, of what each measurement found."""
    full_read_s = min(
        (measured[f"full read, {way}"]["seconds"] + measured[f"full read again, {way}"]["seconds"]) / 2
        for way in ("Arrow", "DuckDB")
    )
    drawn, window = measured["sample"], measured.get("windows, same offers", {})
    grown = [measured[f"one percent, {of}"] for of in ("new shops", "known shops")]
    indexed = [measured[f"index, {of}"]["seconds"] for of in ("new shops", "known shops")]
    index_s, state_s, all_s = measured["index"]["seconds"], drawn["state_s"], drawn["seconds"]
    day_state_s, day_s = max(one["state_s"] for one in grown), max(one["seconds"] for one in grown)
    load = measured.get("load")
    from_feeds = load and max(
        measured[f"load, {of}"]["seconds"] + measured[f"one percent, {of}"]["seconds"]
        for of in ("new shops", "known shops")
    ) / (load["seconds"] + all_s)
    day_state_indexed_s, day_indexed_s = (
        max(index + one[what] for index, one in zip(indexed, grown, strict=True)) for what in ("state_s", "seconds")
    )
    return BenchResult(
        rows=rows,
        full_read_s=full_read_s,
        census_s=measured["census"]["seconds"],
        sample_s=all_s,
        sample_over_full_read=all_s / full_read_s,
        window_s=window.get("seconds"),
        window_out_of_memory=bool(window.get("out_of_memory", False)),
        peak_rss_mb=max(one["peak_rss_mb"] for one in (drawn, *grown)),
        increment_share=day_indexed_s / (index_s + all_s),
        increment_from_feeds_share=from_feeds,
        increment_without_indexes_share=day_s / all_s,
        increment_of_state_with_index_share=day_state_indexed_s / (index_s + state_s),
        increment_of_state_share=day_state_s / state_s,
        index_s=index_s,
        load_s=load and load["seconds"],
        sample_and_index_over_full_read=(all_s + index_s) / full_read_s,
        window_stopped=bool(window.get("stopped", False)),
        measured_at=now.isoformat(timespec="minutes"),
        measured=measured,
        machine=_machine(),
        arguments=arguments,
    )


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }
