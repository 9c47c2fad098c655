"""Which feed files are read again, though their content may be known."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs

from sortiment.artifacts import ArtifactStore
from sortiment.feeds import FeedSpec, load_parts
from sortiment.progress import silent
from sortiment.settings import FeedSettings

MakeSpec = Callable[..., FeedSpec]
LONG_AGO = 1_700_000_000
LOAD = """
import sys
from pathlib import Path
from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.feeds import load_parts, load_spec
from sortiment.progress import silent
from sortiment.settings import FeedSettings

folder = Path(sys.argv[1])
opened = set()
sys.addaudithook(lambda event, args: opened.add(Path(str(args[0])).name) if event == "open" else None)
store = ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
parts = load_parts([load_spec(folder / "shop.yaml")], None, store, FeedSettings(), silent)
print(len(parts), *sorted(name for name in opened if name.endswith(".csv")))
"""


def load_and_tell(folder: Path) -> str:
    """How many parts there are, and which feed files were opened for them."""
    command = [sys.executable, "-c", LOAD, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(file: Path, title: str, modified: float = LONG_AGO) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"id,title\n1,{title}\n", encoding="utf-8")
    os.utime(file, (modified, modified))


def test_only_files_that_are_new_or_changed_are_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "Zug")
    write(tmp_path / "b.csv", "Boot")
    make_spec("*.csv")
    assert load_and_tell(tmp_path) == "2 a.csv b.csv"
    assert load_and_tell(tmp_path) == "2"
    write(tmp_path / "c.csv", "Auto")
    assert load_and_tell(tmp_path) == "3 c.csv"
    write(tmp_path / "a.csv", "Bus")  # as many bytes, of the same time
    assert load_and_tell(tmp_path) == "3 a.csv"
    os.utime(tmp_path / "b.csv", (LONG_AGO, LONG_AGO + 1))
    assert load_and_tell(tmp_path) == "3 b.csv"
    assert load_and_tell(tmp_path) == "3"


def test_a_feed_whose_spec_points_elsewhere_is_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    for folder, title in (("first", "Zug"), ("second", "Bus")):
        write(tmp_path / folder / "a.csv", title)
    make_spec("first")
    assert load_and_tell(tmp_path) == "1 a.csv"
    make_spec("second")
    assert load_and_tell(tmp_path) == "1 a.csv"


def test_a_file_of_a_store_is_known_by_its_size_and_time_unless_it_changed_just_now(
    make_spec: MakeSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    file = tmp_path / "bucket" / "a.csv"
    write(file, "Zug")
    spec = make_spec("bucket").model_copy(update={"path": "s3://bucket"})
    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())

    def load_after(title: str, modified: float) -> str:
        """The version that is loaded after these bytes were written at that time."""
        write(file, title, modified)
        (part,) = load_parts([spec], None, store, FeedSettings(), silent, filesystem)
        return part.version

    train = load_after("Zug", LONG_AGO)
    assert load_after("Bus", LONG_AGO) == train  # nobody looked
    bus = load_after("Bus", LONG_AGO + 1)
    assert bus != train
    now = time.time()
    assert load_after("Zug", now) == train
    assert load_after("Bus", now) == bus
