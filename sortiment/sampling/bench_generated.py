"""The offers of one scale bench: generated once, found again by the next, and the room on disk that they need."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import SamplingError
from sortiment.feeds import CODE_VERSION as LOADER_VERSION
from sortiment.feeds.offer_index import counts_address, rows_address, write_index
from sortiment.outputs import nearest_existing
from sortiment.progress import Progress
from sortiment.sampling.bench_offers import BenchMarket, write_parts
from sortiment.sampling.parts import run_in_order

INCREMENT_SHARE = 0.01
OFFER_BYTES = 90
"""Of a generated offer on disk, in its part and the part's index: so many at 3 million rows, 86 at 100 million."""
WORK_BYTES = 20
"""Of an offer, for the indexes that are written anew to be timed."""
FEED_BYTES = 200
"""Of a generated offer in a feed file: 189 of the first million."""
WORK_ROOM = 2**30
"""For states and samples. The windows' spill stops at half of what is free."""
KEPT_FILE = "generated.json"
LAYOUT_VERSION = 3
"""Of generated parts: raise it when the same arguments give other bytes."""


@dataclass(frozen=True)
class GeneratedOffers:
    """Addresses of the parts, and of one percent more offers: from new shops, and from shops all over the market."""

    parts: list[str]
    new_shops: str
    known_shops: str


def _asked(market: BenchMarket, rows: int, files: int) -> dict[str, Any]:
    return {"market": vars(market), "rows": rows, "files": files, "layout": LAYOUT_VERSION}


def find_generated(work: Path, market: BenchMarket, rows: int, files: int) -> dict[str, Any] | None:
    """What a folder that holds just these offers, each file of them, says of them."""
    content = _read_kept(work)
    if content is None or content["asked"] != _asked(market, rows, files):
        return None
    return content if all(path.exists() for path in _files_of(work, content)) else None


def generate(
    work: Path, market: BenchMarket, rows: int, files: int, threads: int, progress: Progress
) -> GeneratedOffers:
    """Write the offers, or find them: a folder that holds them says, last of all, what was asked for.

    Indexes that an earlier loader wrote are written anew. What was generated there for other arguments, or by a run
    that was killed, is removed. Raises SamplingError, with nothing touched, where a file that the bench did not
    generate is in the way.
    """
    made = work / KEPT_FILE
    content = find_generated(work, market, rows, files)
    if content is not None:
        found = GeneratedOffers(
            [str(work / "parts" / name) for name in content["parts"]],
            *(str(work / content[name]) for name in ("new_shops", "known_shops")),
        )
        if content.get("loader") != LOADER_VERSION:
            write_atomically(made, json.dumps({**content, "loader": None}).encode())
            _write_indexes([*found.parts, found.new_shops, found.known_shops], threads, progress)
            write_atomically(made, json.dumps({**content, "loader": LOADER_VERSION}).encode())
        return found
    names = {
        "parts": [f"part-{index:05d}.parquet" for index in range(files)],
        "new_shops": "new-shops-00000.parquet",
        "known_shops": "known-shops-00000.parquet",
    }
    _make_room(work, names)
    parts = []
    with progress("generate offers", total=rows) as step:
        for part in write_parts(work / "parts", market, rows, parts=files, threads=threads):
            parts.append(part.uri)
            step.advance(rows // files)
    new_rows, shops = max(1, int(rows * INCREMENT_SHARE)), files * market.shops_per_part
    own = write_parts(work, market, new_rows, parts=1, first_number=rows, first_shop=shops, name="new-shops")
    spread = write_parts(
        work, market, new_rows, parts=1, first_number=2 * rows, first_shop=shops, spread=True, name="known-shops"
    )
    generated = GeneratedOffers(parts, next(own).uri, next(spread).uri)
    content = {"asked": _asked(market, rows, files), "loader": LOADER_VERSION, **names}
    write_atomically(made, json.dumps(content).encode())
    return generated


def _read_kept(work: Path) -> dict[str, Any] | None:
    """What the folder says that the bench generated there; `asked` is None until all of it is written."""
    made = work / KEPT_FILE
    if not made.is_file():
        return None
    try:
        content = json.loads(made.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or "asked" not in content:
        raise SamplingError(
            "this is not what the bench says of offers that it generated",
            value=str(made),
            allowed="a folder that is empty or that --keep filled",
            fix=f"pass another --keep, or remove {made} if nobody needs it",
        )
    return content


def _make_room(work: Path, names: Mapping[str, Any]) -> None:
    """Remove what the bench generated in the folder before, and note what it is about to write there.

    The note stands while files are removed and written, so that a run that is killed leaves nothing unknown behind.
    """
    made, kept = work / KEPT_FILE, _read_kept(work)
    before = set() if kept is None else _files_of(work, kept)
    strangers = sorted(path for path in _files_of(work, names) - before if path.exists())
    if strangers:
        raise SamplingError(
            "files that the bench did not generate are in its way",
            value=", ".join(str(path) for path in strangers[:5]),
            allowed="a folder that is empty or that --keep filled",
            fix="pass another --keep, or remove the files if nobody needs them",
        )
    if kept is not None:
        write_atomically(made, json.dumps({**kept, "asked": None}).encode())
    for path in before:
        path.unlink(missing_ok=True)
    write_atomically(made, json.dumps({"asked": None, **names}).encode())


def _files_of(work: Path, names: Mapping[str, Any]) -> set[Path]:
    """The parts that a note names, in the folders where the bench puts them, and their indexes."""
    offers = [work / "parts" / Path(name).name for name in names.get("parts", [])]
    offers += [work / Path(names[name]).name for name in ("new_shops", "known_shops") if name in names]
    return {Path(address(str(path))) for path in offers for address in (str, counts_address, rows_address)}


def _write_indexes(parts: list[str], threads: int, progress: Progress) -> None:
    with progress("write indexes", total=len(parts), unit="parts") as step:
        for _ in run_in_order(lambda part: write_index(Path(part)), parts, threads):
            step.advance()


def refuse_full_disks(rows: int, offers: Mapping[Path, int], work: Mapping[Path, int]) -> None:
    """Raises SamplingError where a disk has no room. offers, work: bytes that will be written into a folder, which need
    not exist yet; folders may share a disk."""
    wanted: dict[int, int] = {}
    for folder, size in (*offers.items(), *work.items()):
        wanted[_disk_of(folder)] = wanted.get(_disk_of(folder), 0) + size
    for folder in (*offers, *work):
        free, needed = shutil.disk_usage(nearest_existing(folder)).free, wanted[_disk_of(folder)]
        if free < needed:
            raise SamplingError(
                "the disk is too small for so many offers",
                value=f"{free / 2**30:,.1f} GiB free in {folder}",
                allowed=f"at least {needed / 2**30:,.1f} GiB there for {rows:,} offers: {OFFER_BYTES} bytes each "
                f"where they are generated, {WORK_BYTES} and a GiB where they are measured",
                fix="pass fewer --rows, --keep on a larger disk for the offers, or --folder for the rest",
            )


def _disk_of(folder: Path) -> int:
    return nearest_existing(folder).stat().st_dev
