"""Feeds that cannot be used end the demo at once; what was there before stays as it was."""

import gzip
import json
from pathlib import Path

import pytest

from tests.demo.conftest import run_demo

SPEC = "path: offers.csv.gz\nconstants: {country: GB}\ncolumns: {offer_id: id, title: title, category: path}\n"
ROWS = "id,title,path\n" + "".join(f"{number},thing {number},\n" for number in range(2_000))
WHOLE = gzip.compress(ROWS.encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[: len(WHOLE) // 2], "offers.csv.gz cannot be read"),
        (WHOLE, "no offer has a label"),
        (gzip.compress(b"id,title,path\n"), "the feeds hold no offer"),
    ],
    ids=["cut off", "no labels", "no rows"],
)
def test_feeds_that_cannot_be_used_leave_the_last_market_open(tmp_path: Path, content: bytes, message: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "current.json").write_text(json.dumps({"market": "yesterday-1a2b"}), encoding="utf-8")
    (tmp_path / "offers.csv.gz").write_bytes(content)
    (tmp_path / "shop.yaml").write_text(SPEC, encoding="utf-8")
    done = run_demo(home, "--feed", str(tmp_path / "shop.yaml"), check=False)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split()) and "Traceback" not in done.stdout + done.stderr
    assert json.loads((home / "current.json").read_text(encoding="utf-8")) == {"market": "yesterday-1a2b"}
