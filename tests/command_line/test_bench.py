"""What a bench cannot write, read or do is said before it works: four facts and exit code 1."""

from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import app

Run = Callable[..., str]


@pytest.fixture
def fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a bench that must fail, in folders of its own where nothing may be left; what it printed, in one line."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SORTIMENT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(work)

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["sortiment", "bench", *words])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert ended.value.code == 1
        assert not list(work.iterdir())
        captured = capsys.readouterr()
        assert "generate" not in captured.out and "measure" not in captured.out
        return " ".join(captured.err.split())

    return run


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("--json", "/proc/x.json"), ("StorageError: the file of --json cannot be written", "/proc/x.json")),
        (("--json", "../folder"), ("StorageError: the file of --json cannot be written", "this is a folder")),
        (("--plot", "/dev/null/p.png"), ("StorageError: the file of --plot cannot be written", "/dev/null is no")),
        (("--plot", "p.xyz"), ("SettingsError: a plot's format is told", "--plot p.xyz", ".png, .svg, .pdf", "p.png")),
        (("--plot", "p"), ("SettingsError: a plot's format is told", ".png, .svg, .pdf")),
        (("--keep", "/dev/null/x"), ("StorageError: the folder of --keep cannot be written", "/dev/null is no folder")),
        (("--folder", "/dev/null"), ("StorageError: the folder of --folder cannot be written", "/dev/null is no")),
        (("--per-category", "2000000"), ("SettingsError: --per-category is", "2000000", "or equal to 1000000")),
        (("--seed", "9" * 20), ("SettingsError: --seed is out", "9" * 20, "less than 9223372036854775808")),
    ],
)
def test_the_sampling_bench_refuses_what_it_could_not_use_before_it_generates_anything(
    fail: Run, words: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    printed = fail("sampling", "--rows", "1e3", *words)
    assert all(fact in printed for fact in (*facts, "allowed", "to do")), printed


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("--json", "/proc/x.json"), ("the file of --json cannot be written", "/proc/x.json")),
        (("--json", "../folder"), ("the file of --json cannot be written", "this is a folder")),
        (("--folder", "/dev/null/x"), ("the folder of --folder cannot be written", "/dev/null is no folder")),
    ],
)
def test_the_quality_bench_refuses_a_place_that_cannot_be_written_before_it_works(
    fail: Run, tmp_path: Path, words: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    printed = fail("quality", "--synthetic", "500", *words)
    assert all(fact in printed for fact in ("StorageError", *facts, "allowed", "to do")), printed
    assert not (tmp_path / "home").exists()


def test_the_quality_bench_in_a_home_that_cannot_be_written_names_the_variable(
    fail: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORTIMENT_HOME", "/proc/nowhere")
    printed = fail("quality", "--synthetic", "500")
    assert "StorageError: the home cannot be written" in printed and "set SORTIMENT_HOME" in printed


def test_a_limit_for_no_kind_of_change_is_refused_before_anything_is_learned(fail: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("evaluation: {flip_limits: {smell: 0.1}}\n", encoding="utf-8")
    printed = fail("quality", "--behaviour", "--feed", "../feed.yaml", "--settings", str(tmp_path / "s.yaml"))
    assert "SettingsError: evaluation.flip_limits names kinds of change that there are not" in printed
    assert "smell" in printed and "word" in printed


@pytest.mark.parametrize("bench", ["sampling", "quality"])
def test_a_page_or_a_json_that_is_not_there_is_named(fail: Run, tmp_path: Path, bench: str) -> None:
    page, source = tmp_path / "page.md", tmp_path / "x.json"
    printed = fail(bench, "--json", str(source), "--figures", str(page))
    assert "SettingsError: the file of --figures cannot be read" in printed and "page.md" in printed
    page.write_text("<!-- figures: x -->\n<!-- end of figures: x -->\n", encoding="utf-8")
    printed = fail(bench, "--json", str(source), "--figures", str(page))
    assert "SettingsError: the file of --json cannot be read" in printed and "x.json" in printed
    source.write_text("[]", encoding="utf-8")
    assert "not a file that the bench wrote" in fail(bench, "--json", str(source), "--figures", str(page))
