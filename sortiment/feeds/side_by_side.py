"""Feed files loaded side by side: taking rows apart is Python's work, so every core gets a process of its own.

One process loads one file. The first WORTH_BYTES are loaded here: a process takes half a second to start, and most
markets' days are small. What is loaded does not depend on who loads it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pyarrow import fs

from sortiment.errors import FeedError
from sortiment.feeds.files import FeedFile
from sortiment.feeds.loading import load_feed_file
from sortiment.feeds.parsing import LABELS_KEPT
from sortiment.feeds.report import FeedFileReport
from sortiment.feeds.spec import FeedSpec
from sortiment.feeds.staging import Databases
from sortiment.machine import count_cores, describe_machine
from sortiment.progress import Progress, Step
from sortiment.settings import FeedSettings
from sortiment.taxonomy import Resolver, Taxonomy, path_resolver, taxonomy_resolver

WORTH_BYTES = 32 * 2**20
"""Of files, as they lie there, that are loaded here before processes are started."""
BYTES_OF_A_FILE = 2**20
"""What is added for each file: so many bytes could be loaded while one is opened and its part is written."""
THREADS_PER_PROCESS = 2
"""While a part is hashed, forced to the disk or uploaded, its process loads the next file."""
LOAD_GB = 1.5
"""Memory of one load, about."""
SECONDS_BETWEEN_LOOKS = 0.5

T = TypeVar("T")
R = TypeVar("R")


def count_workers(settings: FeedSettings) -> int:
    """How many files are loaded at once."""
    if settings.workers:
        return settings.workers
    memory_gb = describe_machine().memory_gb
    fitting = count_cores() if memory_gb is None else int(memory_gb / 2 / LOAD_GB)
    return max(1, min(count_cores(), fitting))


@dataclass
class _Loader:
    """Loads files of one taxonomy. Specs that write labels alike share a resolver, which remembers the last ones."""

    taxonomy: Taxonomy | None
    databases: Databases
    resolvers: dict[str, Resolver] = field(default_factory=dict)

    def load(
        self,
        file: FeedFile,
        spec: FeedSpec,
        settings: FeedSettings,
        out: Path,
        filesystem: fs.FileSystem | None,
        progress: Progress,
    ) -> FeedFileReport:
        separator = spec.category_separator
        if separator not in self.resolvers:
            of_taxonomy = self.taxonomy and taxonomy_resolver(self.taxonomy, separator)
            self.resolvers[separator] = lru_cache(LABELS_KEPT)(of_taxonomy or path_resolver(separator))
        resolver = self.resolvers[separator]
        return load_feed_file(file, spec, resolver, settings, out, progress, filesystem, self.databases)


class FileLoaders:
    """Loads feed files in `workers` processes, which end with the `with` block."""

    def __init__(self, taxonomy: Taxonomy | None, workers: int, files: int, step: Step) -> None:
        self.taxonomy, self.workers, self.files, self.step = taxonomy, workers, files, step
        self._here, self._loading_here = _Loader(taxonomy, Databases()), threading.Lock()
        self._threads, self._starting = ThreadPoolExecutor(THREADS_PER_PROCESS * workers), threading.Lock()
        self._asked_bytes = self._rows_here = self._shown_rows = 0
        self._finished: list[Any] = []
        self._processes: ProcessPoolExecutor | None = None
        self._rows_there: Any = None
        self._told: Any = None
        self._stop: Any = None

    def start(self, work: Callable[[T], R], files: Sequence[T], sizes: Sequence[int]) -> list[Callable[[], R]]:
        """What gives the result of `work`, which may call `load`, for each of the files; call them in this order.

        Several are worked on at once, the largest first; with one worker each when its result is asked for.
        """
        if self.workers == 1:
            return [partial(self._work_now, work, file) for file in files]
        by_size = sorted(range(len(files)), key=lambda place: -sizes[place])
        working = {place: self._threads.submit(work, files[place]) for place in by_size}
        for each in working.values():
            each.add_done_callback(self._finished.append)
        return [partial(self._wait_for, working[place]) for place in range(len(files))]

    def load(
        self, file: FeedFile, spec: FeedSpec, settings: FeedSettings, out: Path, filesystem: fs.FileSystem | None
    ) -> FeedFileReport:
        """As `load_feed_file`. Raises FeedError also where the process that loads the file dies."""
        processes = self._open_processes(file.bytes)
        if processes is None:
            with self._loading_here:
                return self._here.load(file, spec, settings, out, filesystem, _count_into(self._add_rows))
        try:
            return processes.submit(_load_in_process, file, spec, settings, out, filesystem).result()
        except BrokenProcessPool as error:
            raise FeedError(
                f"feed {spec.name}: a process that loaded files was ended from outside, maybe for want of memory",
                value=file.name,
                fix="run it again: finished files are kept; where memory is short set feeds.workers to 1. A script "
                'that loads feeds does so under `if __name__ == "__main__":`',
            ) from error

    def __enter__(self) -> "FileLoaders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End threads and processes: when what they are at is finished, so that it is kept, also after an error; at
        once after an interruption."""
        interrupted = kind is not None and not issubclass(kind, Exception)
        if interrupted and self._stop is not None:
            self._stop.send_bytes(b"stop")
        self._threads.shutdown(cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)
            self._told.close()
            self._stop.close()

    def _open_processes(self, more_bytes: int) -> ProcessPoolExecutor | None:
        """The processes; None as long as there was too little to load."""
        with self._starting:
            self._asked_bytes += more_bytes + BYTES_OF_A_FILE
            if self.workers > 1 and self._asked_bytes > WORTH_BYTES and self._processes is None:
                context = get_context("spawn")
                self._rows_there = context.Value("Q", 0)
                # All look at one end and none reads it. An event would wait for each who waits for it, killed or not.
                self._told, self._stop = context.Pipe(duplex=False)
                given = (self.taxonomy, self._rows_there, self._told)
                self._processes = ProcessPoolExecutor(
                    self.workers, mp_context=context, initializer=_start_process, initargs=given
                )
            return self._processes

    def _work_now(self, work: Callable[[T], R], file: T) -> R:
        try:
            return work(file)
        finally:
            self._finished.append(file)
            self._show()

    def _wait_for(self, working: Future[R]) -> R:
        while not wait([working], SECONDS_BETWEEN_LOOKS).done:
            self._show()
        self._show()
        return working.result()

    def _add_rows(self, count: int) -> None:
        self._rows_here += count
        if self.workers == 1:
            self._show()

    def _show(self) -> None:
        """Only the thread that asks for results tells how far they are. No lock: a killed process may have it."""
        rows = self._rows_here + (self._rows_there.get_obj().value if self._rows_there is not None else 0)
        self.step.advance(rows - self._shown_rows, note=f"{len(self._finished):,} of {self.files:,} files")
        self._shown_rows = rows


@contextmanager
def open_loaders(
    taxonomy: Taxonomy | None, settings: FeedSettings, files: int, progress: Progress
) -> Iterator[FileLoaders]:
    """Loaders of so many files, and how far they are."""
    with progress("load feed files", unit="rows") as step:
        workers = max(1, min(count_workers(settings), files))
        with FileLoaders(taxonomy, workers, files, step) as loaders:
            yield loaders


class _CountingStep:
    def __init__(self, add: Callable[[int], None]) -> None:
        self.add = add

    def advance(self, count: int = 1, note: str = "") -> None:
        self.add(count)


def _count_into(add: Callable[[int], None]) -> Progress:
    """A progress of which only the counts are of interest."""

    @contextmanager
    def progress(what: str, total: int | None = None, unit: str = "offers") -> Iterator[Step]:
        yield _CountingStep(add)

    return progress


def _add(rows: Any, count: int) -> None:
    with rows.get_lock():
        rows.value += count


@dataclass
class _Process:
    """What a process of the pool holds. rows: counted by all of them."""

    loader: _Loader | None = None
    rows: Any = None


_PROCESS = _Process()


def _start_process(taxonomy: Taxonomy | None, rows: Any, told: Any) -> None:
    """The process ends with the one that started it, whichever way that ends, and when it is told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _PROCESS.loader, _PROCESS.rows = _Loader(taxonomy, Databases(threads=1)), rows
    starter = parent_process()
    stopped = partial(told.poll, None)
    for ended in (stopped, starter.join if starter else stopped):
        threading.Thread(target=_exit_after, args=(ended,), daemon=True).start()


def _exit_after(ended: Callable[[], Any]) -> None:
    ended()
    os._exit(1)


def _load_in_process(
    file: FeedFile, spec: FeedSpec, settings: FeedSettings, out: Path, filesystem: fs.FileSystem | None
) -> FeedFileReport:
    if _PROCESS.loader is None:
        raise RuntimeError("this process was not started to load files")
    return _PROCESS.loader.load(file, spec, settings, out, filesystem, _count_into(partial(_add, _PROCESS.rows)))
