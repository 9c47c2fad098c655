"""The bench runs, in small, and writes what it promises."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer import Typer
from typer.testing import CliRunner

from sortiment.errors import SamplingError
from sortiment.feeds.offer_index import rows_address
from sortiment.progress import silent
from sortiment.sampling import bench, build_state
from sortiment.sampling.bench import run_bench
from sortiment.sampling.bench_command import sampling
from sortiment.sampling.bench_generated import KEPT_FILE, LAYOUT_VERSION, LOADER_VERSION, OFFER_BYTES, generate
from sortiment.sampling.bench_offers import BenchMarket, write_parts
from sortiment.sampling.bench_tasks import WINDOW_FILE, window_same_offers
from sortiment.sampling.drawing import plan_draw
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.test_days import make_days
from tests.sortiment.sampling.test_mergeable import write

PROMISED = [
    *("rows", "full_read_s", "census_s", "sample_s", "sample_over_full_read"),
    *("window_s", "window_out_of_memory", "peak_rss_mb", "increment_share"),
]


@pytest.mark.slow
def test_the_command_measures_in_relative_folders_and_writes_json_and_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "RUNS", 1)  # of what a median is taken: a constant of the module, not code under test
    app = Typer()
    app.command()(sampling)
    arguments = ["--rows", "3e4", "--categories", "40", "--parts", "2", "--folder", "work", "--keep", "kept"]
    arguments += ["--json", str(tmp_path / "bench.json"), "--plot", str(tmp_path / "bench.png")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "bench.json").read_text())
    assert list(content)[: len(PROMISED)] == PROMISED
    assert content["rows"] == 30_000
    assert content["measured"]["sample"]["offers"] == 30_000
    assert content["extrapolated"]["measured"] is False
    assert (tmp_path / "bench.png").stat().st_size > 5_000
    assert "extrapolated, not measured" in result.output
    assert not list((tmp_path / "work").iterdir())
    assert len(list((tmp_path / "kept" / "parts").glob("*.parquet"))) == 2
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: bench -->\nstale figures\n<!-- end of figures: bench -->\nafter\n")
    result = CliRunner().invoke(app, ["--json", str(tmp_path / "bench.json"), "--figures", str(page)])
    assert result.exit_code == 0, result.output
    written = page.read_text()
    assert written.startswith("before\n<!-- figures: bench -->\n") and written.endswith("-->\nafter\n")
    assert "stale figures" not in written
    assert f"| {content['measured']['sample']['seconds']:.2f} (state " in written
    for name, aim in content["aims"].items():
        assert f"| `{name}` | {aim:,g} | " in written


def test_the_window_functions_that_it_is_compared_with_draw_the_same_offers(tmp_path: Path) -> None:
    settings = SamplingSettings(per_category=20, per_shop_share=0.34, seed=7)
    parts = [write(tmp_path, f"day-{index}", day) for index, day in enumerate(make_days())]
    state = build_state(parts, settings, tmp_path / "state")
    draw = plan_draw(state, settings)
    asked = {"parts": [part.uri for part in parts], "settings": settings.model_dump(mode="json"), "threads": 1}
    limits = {"memory_mb": 500, "spill_mb": 500, "scratch": str(tmp_path), "folder": str(tmp_path / "window")}
    assert window_same_offers({**asked, **limits}) == {"out_of_memory": False}
    drawn = pq.read_table(tmp_path / "window" / WINDOW_FILE)["offer_key"].to_pylist()
    assert sorted(drawn) == draw.entries.keys[draw.labelled].tolist()


def test_generated_offers_are_the_same_bytes_for_the_same_arguments(tmp_path: Path) -> None:
    market = BenchMarket(categories=50, zipf=1.0, shops_per_part=3, seed=4)
    first, second = (list(write_parts(tmp_path / name, market, 2_000, parts=2)) for name in ("a", "b"))
    assert [Path(part.uri).read_bytes() for part in first] == [Path(part.uri).read_bytes() for part in second]
    table = pq.read_table(first[0].uri)
    assert len(set(table["shop_id"].to_pylist())) == 3
    assert 0.05 < table["category_id"].null_count / table.num_rows < 0.15


def test_kept_offers_are_found_again_with_indexes_of_this_loader_and_others_are_not(tmp_path: Path) -> None:
    market = BenchMarket(categories=50, zipf=1.0, shops_per_part=3, seed=4)
    made = generate(tmp_path, market, 2_000, 2, 1, silent)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert generate(tmp_path, market, 2_000, 2, 1, silent) == made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before
    index = Path(rows_address(made.parts[0]))
    written = index.read_bytes()
    index.write_bytes(written[: 16 * 1_000])
    kept = tmp_path / KEPT_FILE
    kept.write_text(kept.read_text().replace(LOADER_VERSION, "an earlier loader"))
    assert generate(tmp_path, market, 2_000, 2, 1, silent) == made
    assert index.read_bytes() == written
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before
    assert len(generate(tmp_path, market, 3_000, 3, 1, silent).parts) == 3


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SamplingError, match="disk is too small"):
        run_bench(10**13, now=datetime(2026, 1, 1, tzinfo=UTC), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_disk_that_is_looked_at_is_the_one_that_is_written_to(tmp_path: Path) -> None:
    keep, now, rows = tmp_path / "keep" / "here", datetime(2026, 1, 1, tzinfo=UTC), 10**13
    memory = Path("/dev/shm")  # noqa: S108
    other = memory if memory.is_dir() and memory.stat().st_dev != tmp_path.stat().st_dev else None

    def needed(**folders: Path) -> str:
        with pytest.raises(SamplingError, match="disk is too small") as caught:
            run_bench(rows, now=now, **folders)
        return f"{caught.value.value} {caught.value.allowed}"

    assert f"{rows * (1.02 * OFFER_BYTES + 20) / 2**30 + 1:,.1f} GiB" in needed(folder=tmp_path)
    assert f"{rows * (1.02 * OFFER_BYTES + 20) / 2**30 + 1:,.1f} GiB" in needed(folder=tmp_path, keep=keep)
    if other is not None:
        found = needed(folder=other, keep=keep)
        assert f"in {keep}" in found and f"{rows * 1.02 * OFFER_BYTES / 2**30:,.1f} GiB" in found
    keep.mkdir(parents=True)
    asked = {"market": vars(BenchMarket(3_000, 1.0, 50, 0)), "rows": rows, "files": 10**7, "layout": LAYOUT_VERSION}
    (keep / KEPT_FILE).write_text(json.dumps({"asked": asked}))
    found = needed(folder=tmp_path, keep=keep)
    assert f"in {tmp_path} " in found and f"{rows * 20 / 2**30 + 1:,.1f} GiB" in found
