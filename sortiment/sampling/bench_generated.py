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
from sortiment.feeds.offer_index import write_index
from sortiment.progress import Progress
from sortiment.sampling.bench_offers import BenchMarket, write_parts
from sortiment.sampling.parts import run_in_order

INCREMENT_SHARE = 0.01
OFFER_BYTES = 90
"""Of a generated offer on disk, in its part and the part's index: so many at 3 million rows, 86 at 100 million."""
WORK_BYTES = 20
"""Of an offer, for the indexes that are written anew to be timed."""
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
    """What a folder that holds just these offers says of them."""
    made = work / KEPT_FILE
    if not made.is_file():
        return None
    content: dict[str, Any] = json.loads(made.read_text(encoding="utf-8"))
    return content if content["asked"] == _asked(market, rows, files) else None


def generate(
    work: Path, market: BenchMarket, rows: int, files: int, threads: int, progress: Progress
) -> GeneratedOffers:
    """Write the offers, or find them: a folder that holds them says, last of all, what was asked for.

    Indexes that an earlier loader wrote are written anew.
    """
    made = work / KEPT_FILE
    content = find_generated(work, market, rows, files)
    if content is not None:
        found = GeneratedOffers(
            [str(work / "parts" / name) for name in content["parts"]],
            *(str(work / content[name]) for name in ("new_shops", "known_shops")),
        )
        if content.get("loader") != LOADER_VERSION:
            made.unlink()
            _write_indexes([*found.parts, found.new_shops, found.known_shops], threads, progress)
            write_atomically(made, json.dumps({**content, "loader": LOADER_VERSION}).encode())
        return found
    made.unlink(missing_ok=True)
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
    names = {"new_shops": Path(generated.new_shops).name, "known_shops": Path(generated.known_shops).name}
    content = {
        "asked": _asked(market, rows, files),
        "loader": LOADER_VERSION,
        "parts": [Path(part).name for part in parts],
        **names,
    }
    write_atomically(made, json.dumps(content).encode())
    return generated


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
        free, needed = shutil.disk_usage(_existing(folder)).free, wanted[_disk_of(folder)]
        if free < needed:
            raise SamplingError(
                "the disk is too small for so many offers",
                value=f"{free / 2**30:,.1f} GiB free in {folder}",
                allowed=f"at least {needed / 2**30:,.1f} GiB there for {rows:,} offers: {OFFER_BYTES} bytes each "
                f"where they are generated, {WORK_BYTES} and a GiB where they are measured",
                fix="pass fewer --rows, --keep on a larger disk for the offers, or --folder for the rest",
            )


def _disk_of(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
