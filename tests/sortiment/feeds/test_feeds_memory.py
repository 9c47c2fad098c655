"""What a load keeps in memory does not grow with the file."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sortiment.feeds import FeedSpec, list_feed_files, load_feed_file, parsing
from sortiment.feeds.parsing import RowParser
from sortiment.feeds.raw import make_batch
from sortiment.feeds.staging import SPILL_FOLDER, Databases, Staging
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from sortiment.taxonomy import path_resolver

MakeSpec = Callable[..., FeedSpec]
COLUMNS = {"title": "t", "category": "c"}


def test_labels_are_forgotten_when_others_come(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    # How many are kept is a constant of the module, not code under test.
    monkeypatch.setattr(parsing, "LABELS_KEPT", 100)
    spec = make_spec("o.csv", "t,c\n", columns=COLUMNS)
    parser = RowParser(list_feed_files(spec)[0], spec, path_resolver(" > "), FeedSettings())

    def parse(number: int) -> int:
        """Bytes in memory after a batch of labels that no other batch has."""
        labels: list[str | None] = [f"top > label {number} {row}" for row in range(1_000)]
        cells = {"title": labels, "category": labels}
        parser.parse(make_batch(cells, range(1_000), range(1_000), [], str))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = [parse(number) for number in range(3)][-1]
        after = [parse(number) for number in range(3, 20)][-1]
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000


def test_broken_rows_are_counted_in_the_memory_that_the_settings_give(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec, rows = make_spec("o.csv", "t,c\n", columns=COLUMNS), 10_000_000
    file, settings, databases = list_feed_files(spec)[0], FeedSettings(memory_mb=128), Databases()
    for number in range(2):  # the second load finds the database of the first, which has spilled
        out = tmp_path / f"load {number}"
        out.mkdir()
        with Staging(file, spec, settings, out, databases) as staging:
            staging.connection.execute(
                "INSERT INTO quarantine SELECT range, 'bad_price', NULL, NULL, NULL FROM range($rows, 0, -1)",
                {"rows": rows},
            )
            assert staging.reasons() == [("bad_price", rows, [1, 2, 3])]
            assert list((out / SPILL_FOLDER).iterdir())
        assert not list(out.iterdir())


def test_a_shared_database_keeps_nothing_of_the_files_that_were_loaded(make_spec: MakeSpec, tmp_path: Path) -> None:
    rows = "".join(f"title {row},top > label\n" for row in range(2_000))
    spec, databases = make_spec("o.csv", f"t,c\n{rows}", columns=COLUMNS), Databases()
    file, resolver = list_feed_files(spec)[0], path_resolver(" > ")
    for number in range(3):
        out = tmp_path / f"load {number}"
        out.mkdir()
        load_feed_file(file, spec, resolver, FeedSettings(), out, silent, None, databases)
    with databases.open(file, FeedSettings(), tmp_path / "spill") as connection:
        held = connection.execute("SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'EXTERNAL_FILE_CACHE'")
        assert held.fetchall() == [(0,)]
