"""Feed files that are loaded side by side, by processes: the same parts, the same errors, and nobody is left behind."""

import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.errors import FeedError, SamplingError, UnreadableFile
from sortiment.feeds import FeedSpec, load_feeds, side_by_side
from sortiment.feeds.side_by_side import count_workers
from sortiment.machine import count_cores
from sortiment.progress import Progress, Step, silent
from sortiment.sampling.parts import OfferPart, UnreadablePart
from sortiment.settings import FeedSettings
from tests.sortiment.feeds.conftest import COLUMNS, FEED

MakeSpec = Callable[..., FeedSpec]
FILES = 5
SKIP = FeedSettings(workers=3, on_unreadable_file="skip")


@pytest.fixture(autouse=True)
def start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # From when on processes are worth their start is a constant of the module, not code under test.
    monkeypatch.setattr(side_by_side, "WORTH_BYTES", 0)


@pytest.fixture
def spec(make_spec: MakeSpec, tmp_path: Path) -> FeedSpec:
    for number in range(FILES):
        (tmp_path / f"feed-{number}.csv").write_text(FEED.replace("Zug", f"Zug {number}"), encoding="utf-8")
    return make_spec("feed-*.csv*", columns=COLUMNS, constants={})


def open_store(folder: Path) -> ArtifactStore:
    return ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")


def watch(look: Callable[[int, str], None]) -> Progress:
    """A progress that shows its counts and notes to a function."""

    class Looking:
        def advance(self, count: int = 1, note: str = "") -> None:
            look(count, note)

    @contextmanager
    def progress(what: str, total: int | None = None, unit: str = "offers") -> Iterator[Step]:
        yield Looking()

    return progress


def test_processes_load_what_one_process_loads_in_the_same_order(spec: FeedSpec, tmp_path: Path) -> None:
    counted: list[tuple[int, str]] = []
    progress = watch(lambda count, note: counted.append((count, note)))
    several = load_feeds([spec], None, open_store(tmp_path / "several"), FeedSettings(workers=3), progress)
    alone = load_feeds([spec], None, open_store(tmp_path / "alone"), FeedSettings(workers=1), silent)
    assert [part.source_file for part in several.parts] == [f"feed-{number}.csv" for number in range(FILES)]
    for part, other in zip(several.parts, alone.parts, strict=True):
        assert part.version == other.version
        assert {path.name: path.read_bytes() for path in part.artifact.path.iterdir()} == {
            path.name: path.read_bytes() for path in other.artifact.path.iterdir()
        }
    assert sum(count for count, _ in counted) == 3 * FILES
    assert counted[-1][1] == f"{FILES} of {FILES} files"
    assert not multiprocessing.active_children()


def test_the_error_of_a_process_is_the_error_of_the_load(spec: FeedSpec, tmp_path: Path) -> None:
    (tmp_path / "feed-2.csv").write_text("id;title\n1;Zug\n", encoding="utf-8")
    store = open_store(tmp_path)
    with pytest.raises(FeedError, match=r"feed-2\.csv line 1: the column 'path'") as raised:
        load_feeds([spec], None, store, FeedSettings(workers=3), silent)
    assert raised.value.fix is not None and raised.value.value == ["id", "title"]
    (tmp_path / "feed-2.csv").write_text(FEED, encoding="utf-8")
    again = load_feeds([spec], None, store, FeedSettings(workers=3), silent)
    assert [part.reused for part in again.parts[:3]] == [True, True, False]


def test_a_damaged_file_is_left_out_by_processes_too(spec: FeedSpec, tmp_path: Path) -> None:
    (tmp_path / "feed-3.csv").write_bytes(b"PK\x03\x04 a workbook")
    loaded = load_feeds([spec], None, open_store(tmp_path), SKIP, silent)
    assert [file.source_file for file in loaded.left_out] == ["feed-3.csv"]
    assert [part.source_file for part in loaded.parts] == [f"feed-{number}.csv" for number in (0, 1, 2, 4)]


def test_a_process_that_is_killed_is_an_error_that_says_what_to_do(spec: FeedSpec, tmp_path: Path) -> None:
    def kill(count: int, note: str) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(FeedError, match="ended from outside") as raised:
        load_feeds([spec], None, open_store(tmp_path), FeedSettings(workers=2), watch(kill))
    assert "feeds.workers" in str(raised.value.fix)


def test_an_interrupted_load_ends_at_once(spec: FeedSpec, tmp_path: Path) -> None:
    for file in tmp_path.glob("feed-*.csv"):
        file.write_text(FEED + "".join(f"{row};DE;Zug {row};s1;\n" for row in range(50_000)), encoding="utf-8")

    def interrupt(count: int, note: str) -> None:
        if multiprocessing.active_children():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_feeds([spec], None, open_store(tmp_path), FeedSettings(workers=2), watch(interrupt))
    assert not multiprocessing.active_children()
    assert not [*(tmp_path / "store").rglob("manifest.json")], "what ran was finished"


def test_an_interrupted_load_ends_also_where_its_processes_were_killed_with_it(spec: FeedSpec, tmp_path: Path) -> None:
    for file in tmp_path.glob("feed-*.csv"):
        file.write_text(FEED + "".join(f"{row};DE;Zug {row};s1;\n" for row in range(50_000)), encoding="utf-8")

    def end_the_service(count: int, note: str) -> None:
        if count and (children := multiprocessing.active_children()):
            for child in children:
                child.kill()
                child.join()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_feeds([spec], None, open_store(tmp_path), FeedSettings(workers=2), watch(end_the_service))
    assert not multiprocessing.active_children()


STARTED = """
import multiprocessing, sys, time
from contextlib import contextmanager
from pathlib import Path
from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.feeds import load_feeds, load_spec, side_by_side
from sortiment.settings import FeedSettings

class Tell:
    def advance(self, count=1, note=""):
        children = multiprocessing.active_children()
        if children:
            print(*(child.pid for child in children), flush=True)
            time.sleep(60)

@contextmanager
def progress(what, total=None, unit="offers"):
    yield Tell()

if __name__ == "__main__":
    side_by_side.WORTH_BYTES = 0
    folder = Path(sys.argv[1])
    store = ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
    load_feeds([load_spec(folder / "shop.yaml")], None, store, FeedSettings(workers=2), progress)
"""


def test_processes_end_with_the_one_that_started_them(spec: FeedSpec, tmp_path: Path) -> None:
    script = tmp_path / "started.py"
    script.write_text(STARTED, encoding="utf-8")
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True) as loading:
        assert loading.stdout is not None
        children = [int(pid) for pid in loading.stdout.readline().split()]
        assert children and all(Path(f"/proc/{pid}").exists() for pid in children)
        loading.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < deadline, "a process still runs"
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """A process that has ended, and nobody asked for its exit code, is a zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def test_so_many_at_once_as_the_machine_has_room_for_or_the_market_says() -> None:
    assert count_workers(FeedSettings(workers=7)) == 7
    assert 1 <= count_workers(FeedSettings()) <= count_cores()


@pytest.mark.parametrize(
    "error",
    [
        UnreadableFile("a.csv is empty", value="0 bytes", allowed="a header", fix="deliver it again"),
        SamplingError("nothing there"),
        UnreadablePart(OfferPart("s3://b/part.parquet"), "it is gone"),
    ],
)
def test_an_error_arrives_from_a_process_as_it_was_raised(error: Exception) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(type(error)) as raised:
        pool.apply(raise_it, (error,))
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def raise_it(error: Exception) -> None:
    raise error
