"""Writes small feeds and loads them for real."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.feeds import FeedFileReport, FeedSpec, list_feed_files, load_feed_file, load_spec
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from sortiment.taxonomy import Resolver, path_resolver

Rows = list[dict[str, Any]]
COLUMNS = {"offer_id": "id", "country": "land", "title": "title", "shop_id": "shop", "category": "path"}
FEED = """id;land;title;shop;path
1;DE;Zug;s1;Spielzeug > Züge
2;DE;Auto;s1;
3;AT;Zug;s1;Spielzeug > Züge
"""


class Loaded:
    """What one load left in its folder."""

    def __init__(self, folder: Path, report: FeedFileReport) -> None:
        self.folder, self.report = folder, report

    @property
    def offers(self) -> Rows:
        """Offers of all countries in the order of the source."""
        if not self.report.countries:
            return []
        return _rows("SELECT * FROM read_parquet(?) ORDER BY source_row", str(self.folder / "offers-*.parquet"))

    @property
    def quarantine(self) -> Rows:
        return _rows("SELECT * FROM read_parquet(?) ORDER BY line", str(self.folder / "quarantine.parquet"))

    @property
    def broken(self) -> list[tuple[int, str]]:
        """Line and reason of each row in quarantine."""
        return [(row["line"], row["reason"]) for row in self.quarantine]


def _rows(query: str, path: str) -> Rows:
    cursor = duckdb.connect().execute(query, [path])
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


MINIMAL = {"constants": {"country": "GB"}, "columns": {"offer_id": "id", "title": "title"}}


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., FeedSpec]:
    """A spec from a file's name, its content and spec fields; `columns` defaults to id and title, country to GB."""

    def make(name: str, content: bytes | str | None = None, **fields: Any) -> FeedSpec:
        if content is not None:
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        spec = tmp_path / "shop.yaml"
        spec.write_text(yaml.safe_dump({**MINIMAL, "path": name, **fields}, allow_unicode=True), encoding="utf-8")
        return load_spec(spec)

    return make


@pytest.fixture
def load(tmp_path: Path, make_spec: Callable[..., FeedSpec]) -> Callable[..., Loaded]:
    """Loads a file of that name and content. Settings: nothing is too broken, unless the test says so."""

    def run(
        name: str,
        content: bytes | str,
        settings: FeedSettings | None = None,
        resolver: Resolver | None = None,
        **fields: Any,
    ) -> Loaded:
        spec = make_spec(name, content, **fields)
        out = tmp_path / "out"
        out.mkdir()
        report = load_feed_file(
            list_feed_files(spec)[0],
            spec,
            resolver or path_resolver(spec.category_separator),
            settings or FeedSettings(quarantine_limit=1.0),
            out,
            silent,
        )
        return Loaded(out, report)

    return run


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")
