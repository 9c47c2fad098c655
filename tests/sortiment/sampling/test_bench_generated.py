"""The folder of --keep holds what the bench generated last, and what others put there is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sortiment.errors import SamplingError
from sortiment.progress import silent
from sortiment.sampling.bench_generated import KEPT_FILE, find_generated, generate
from sortiment.sampling.bench_offers import BenchMarket

MARKET = BenchMarket(categories=50, zipf=1.0, shops_per_part=3, seed=4)


class Killed(Exception):
    """Instead of a signal."""


class KillingStep:
    def advance(self, count: int = 1, note: str = "") -> None:
        raise Killed


@contextmanager
def kill_after_first_part(what: str, total: int | None = None, unit: str = "offers") -> Iterator[KillingStep]:
    yield KillingStep()


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_kept_offers_of_other_arguments_are_removed_and_what_a_stranger_put_beside_them_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    generate(kept, MARKET, 3_000, 3, 1, silent)
    strangers = [kept / "parts" / "part-00007.parquet", kept / "part-00001.parquet", kept / "notes.txt"]
    for stranger in strangers:
        stranger.write_text("not the bench's", encoding="utf-8")
    made = generate(kept, MARKET, 1_000, 1, 1, silent)
    fresh = generate(tmp_path / "fresh", MARKET, 1_000, 1, 1, silent)
    assert [Path(part).read_bytes() for part in made.parts] == [Path(part).read_bytes() for part in fresh.parts]
    assert files_in(kept) == files_in(tmp_path / "fresh") | {path.relative_to(kept) for path in strangers}
    assert all(stranger.read_text(encoding="utf-8") == "not the bench's" for stranger in strangers)


def test_what_a_run_that_was_killed_had_generated_is_removed_by_the_next(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with pytest.raises(Killed):
        generate(kept, MARKET, 3_000, 3, 1, kill_after_first_part)
    assert find_generated(kept, MARKET, 3_000, 3) is None
    generate(kept, MARKET, 1_000, 1, 1, silent)
    generate(tmp_path / "fresh", MARKET, 1_000, 1, 1, silent)
    assert files_in(kept) == files_in(tmp_path / "fresh")


def test_a_file_that_the_bench_did_not_generate_is_not_written_over(tmp_path: Path) -> None:
    stranger = tmp_path / "parts" / "part-00001.parquet"
    stranger.parent.mkdir()
    stranger.write_text("not the bench's", encoding="utf-8")
    with pytest.raises(SamplingError, match="did not generate are in its way") as caught:
        generate(tmp_path, MARKET, 2_000, 2, 1, silent)
    assert str(stranger) in caught.value.value
    assert files_in(tmp_path) == {stranger.relative_to(tmp_path)}


@pytest.mark.parametrize("note", ["{", "[]", "{}"])
def test_a_folder_whose_note_is_not_the_benchs_is_refused(tmp_path: Path, note: str) -> None:
    (tmp_path / KEPT_FILE).write_text(note, encoding="utf-8")
    with pytest.raises(SamplingError, match="not what the bench says of offers"):
        generate(tmp_path, MARKET, 2_000, 2, 1, silent)
    assert (tmp_path / KEPT_FILE).read_text(encoding="utf-8") == note


def test_kept_offers_of_which_a_file_is_gone_are_generated_again(tmp_path: Path) -> None:
    made = generate(tmp_path, MARKET, 2_000, 2, 1, silent)
    whole = files_in(tmp_path)
    Path(made.parts[1]).unlink()
    assert find_generated(tmp_path, MARKET, 2_000, 2) is None
    assert generate(tmp_path, MARKET, 2_000, 2, 1, silent) == made
    assert files_in(tmp_path) == whole
