"""A spec may take part of a feed's offers: the same part every time, the rest counted as held back."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.errors import FeedError
from sortiment.feeds import OfferPart, load_parts, parse_spec
from sortiment.progress import silent
from sortiment.settings import FeedSettings


def load(folder: Path, share: list[float]) -> OfferPart:
    store = ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
    spec = parse_spec(
        {
            "path": "offers.csv",
            "constants": {"country": "DE"},
            "columns": {"title": "title", "offer_id": "id"},
            "key_share": share,
        },
        "shop",
        folder,
    )
    (part,) = load_parts([spec], None, store, FeedSettings(), silent)
    return part


def keys(part: OfferPart) -> set[int]:
    return set(pq.read_table(part.paths["DE"])["offer_key"].to_pylist())


def test_two_shares_that_meet_split_the_offers_without_rest_or_overlap(tmp_path: Path) -> None:
    rows = "".join(f"{number},Gartenschlauch {number}\n" for number in range(2_000))
    (tmp_path / "offers.csv").write_text("id,title\n" + rows)
    first, second, whole = load(tmp_path, [0.0, 0.85]), load(tmp_path, [0.85, 1.0]), load(tmp_path, [0.0, 1.0])
    assert keys(first) | keys(second) == keys(whole)
    assert not keys(first) & keys(second)
    assert 0.82 < len(keys(first)) / 2_000 < 0.88
    assert first.report.held_back == len(keys(second))
    assert first.report.rows_read == first.report.rows_loaded + first.report.held_back


def test_a_share_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "offers.csv").write_text("id,title\n1,x\n")
    with pytest.raises(FeedError, match="first edge must be below the second"):
        load(tmp_path, [0.5, 0.5])
