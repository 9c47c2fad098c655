"""`sortiment release ...` on a real log."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from sortiment.errors import ReleaseError
from sortiment.release import ReleaseDecision, ReleaseLog
from sortiment.release.command import release_commands

Run = Callable[..., str]


@pytest.fixture
def run(log: ReleaseLog, noon: datetime) -> Run:
    """Runs a command line and returns what it printed; raises what the command raised."""

    def invoke(*words: str, answer: str | None = None) -> str:
        console = Console(width=200, record=True, quiet=False)
        app = typer.Typer()
        app.add_typer(
            release_commands(lambda context: log, now=lambda: noon, who=lambda: "ann", console=console), name="release"
        )
        result = CliRunner().invoke(app, ["release", *words], input=answer)
        if isinstance(result.exception, Exception):
            raise result.exception
        return console.export_text() + result.output

    return invoke


@pytest.fixture
def two_releases(log: ReleaseLog, passing: Callable[..., ReleaseDecision], noon: datetime) -> None:
    log.promote("aaa111", {"compiled_student": "c1"}, passing(), noon, "ann")
    log.promote("bbb222", {"compiled_student": "c2"}, passing("aaa111"), noon, "ann")


def test_an_empty_log_says_how_to_make_a_first_release(run: Run) -> None:
    assert "sortiment demo" in run("list")


def test_list_marks_what_is_live(run: Run, two_releases: None) -> None:
    lines = [line for line in run("list").splitlines() if "promote" in line]
    assert "bbb222" in lines[0] and "*" in lines[0]
    assert "aaa111" in lines[1] and "*" not in lines[1]


def test_a_reason_is_shown_as_it_was_written(run: Run, two_releases: None) -> None:
    run("promote", "aaa", "--reason", "fix [urgent] [/b]", "--yes")
    assert "fix [urgent] [/b]" in run("show", "3") and "fix [urgent] [/b]" in run("list")


def test_show_prints_the_gates(run: Run, two_releases: None) -> None:
    printed = run("show", "1")
    assert "c1" in printed and "100 test offers" in printed and "passed" in printed


def test_show_of_an_unknown_number_names_the_range(run: Run, two_releases: None) -> None:
    with pytest.raises(ReleaseError, match="1 to 2"):
        run("show", "7")


def test_rollback_asks_and_restores(run: Run, log: ReleaseLog, two_releases: None) -> None:
    run("rollback", "--reason", "complaints", answer="n\n")
    assert len(log.events()) == 2
    run("rollback", "--reason", "complaints", answer="y\n")
    champion = log.champion()
    assert champion is not None and champion.model_version == "aaa111" and champion.by == "ann"


def test_promote_takes_the_first_digits_and_keeps_the_reason(run: Run, log: ReleaseLog, two_releases: None) -> None:
    run("rollback", "--reason", "complaints", "--yes")
    run("promote", "bbb", "--reason", "it was the shop", "--yes")
    assert log.events()[-1].model_version == "bbb222"
    assert log.events()[-1].reason == "promoted by hand: it was the shop"
    with pytest.raises(ReleaseError, match="no model of the log"):
        run("promote", "zzz", "--reason", "typo", "--yes")


def test_the_advice_for_a_damaged_log_puts_the_live_model_back(
    run: Run, log: ReleaseLog, two_releases: None, tmp_path: Path
) -> None:
    (tmp_path / "releases" / "000001.json").write_text("{")
    with pytest.raises(ReleaseError, match="damaged") as caught:
        run("list")
    assert "sortiment release promote VERSION --from champion.json --reason" in str(caught.value.fix)
    (tmp_path / "releases").rename(tmp_path / "aside")
    kept = str(tmp_path / "aside" / "champion.json")
    with pytest.raises(ReleaseError, match=r"no model of the log.*bbb222"):
        run("promote", "aaa", "--from", kept, "--reason", "the disk broke", "--yes")
    run("promote", "bbb", "--from", kept, "--reason", "the disk broke", "--yes")
    champion = log.champion()
    assert champion is not None and champion.artifacts == {"compiled_student": "c2"}
    assert "the disk broke" in run("show", "1")


def test_a_file_that_names_no_model_is_refused(run: Run, tmp_path: Path) -> None:
    for file in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(ReleaseError, match=r"no model can be read.*champion\.json"):
            run("promote", "aaa", "--from", str(file), "--reason", "the disk broke", "--yes")
