"""What a person sees of a command that cannot do what was asked: four facts and exit code 1."""

from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import app
from sortiment.errors import FeedError

Run = Callable[..., str]


@pytest.fixture
def fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a home of its own that must fail; what it printed, in one line."""
    monkeypatch.setenv("SORTIMENT_HOME", str(tmp_path / "home"))

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["sortiment", *words])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert ended.value.code == 1
        return " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("release", "show", "1"),
        ("release", "promote", "abc", "--reason", "why"),
        ("release", "rollback", "--reason", "why"),
    ],
)
def test_before_the_first_release_there_is_nothing_to_show_or_to_change(fail: Run, words: tuple[str, ...]) -> None:
    printed = fail(*words)
    assert "ReleaseError: nothing was released yet" in printed
    assert "`sortiment demo` makes a first release" in printed


@pytest.mark.parametrize(
    "words",
    [
        ("release", "--market", "nowhere", "list"),
        ("classify", "in.csv", "out.parquet", "--market", "nowhere"),
        ("ui", "--market", "nowhere"),
    ],
)
def test_a_market_that_the_home_does_not_have_is_an_error_that_names_those_it_has(
    fail: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "home" / "markets" / "toys-1a2b").mkdir(parents=True)
    printed = fail(*words)
    assert "SettingsError: there is no such market in the home" in printed
    assert "nowhere" in printed and "toys-1a2b" in printed


def test_nothing_can_be_classified_before_a_champion_is_there(fail: Run) -> None:
    assert "there is no champion yet" in fail("classify", "in.csv", "out.parquet")


def test_a_value_that_is_long_undecodable_or_looks_like_markup_is_shown(
    fail: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = FeedError("it [/b] went wrong", value="\udcfc[/red]" + "x" * 5_000)

    def refuse() -> None:
        raise error

    monkeypatch.setattr(app, "app", refuse)
    printed = fail()
    assert "it [/b] went wrong" in printed and "\\udcfc[/red]xx" in printed
    assert len(printed) < 1_200


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--taxonomy", "names", "--feed", "shop.yaml"), "category names are read to hide a country"),
        (("--offers", "500", "--new-country"), "--offers cuts feeds"),
        (("--offers", "500", "--synthetic", "900"), "--offers cuts feeds"),
        (("--new-country", "--feed", "shop.yaml"), "the bench needs offers of one kind"),
    ],
)
def test_the_quality_bench_refuses_options_that_would_do_nothing(
    fail: Run, words: tuple[str, ...], reason: str
) -> None:
    assert f"SettingsError: {reason}" in fail("bench", "quality", *words)


@pytest.mark.parametrize(("option", "more"), [("--feed", ()), ("--taxonomy", ("--new-country",))])
def test_the_quality_bench_refuses_two_inputs_of_one_name_before_anything_is_computed(
    fail: Run, tmp_path: Path, option: str, more: tuple[str, ...]
) -> None:
    paths = [tmp_path / folder / "shop.yaml" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("path: offers.csv\n", encoding="utf-8")
    printed = fail("bench", "quality", option, str(paths[0]), option, str(paths[1]), *more)
    assert f"SettingsError: two of {option} have one name" in printed
    assert "one/shop.yaml" in printed.replace(" ", "") and "two/shop.yaml" in printed.replace(" ", "")
    assert not (tmp_path / "home" / "bench").exists()


@pytest.mark.parametrize("words", [("doctor",), ("release", "list"), ("demo",), ("classify", "in.csv", "out.parquet")])
def test_a_home_that_is_a_file_is_an_error_that_names_the_variable(
    fail: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "home").write_text("not a folder", encoding="utf-8")
    assert "SettingsError: SORTIMENT_HOME is no folder" in fail(*words)


def test_a_home_that_cannot_be_written_is_an_error_before_any_work(fail: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORTIMENT_HOME", "/proc/nowhere")
    printed = fail("demo")
    assert "StorageError: the home cannot be written" in printed and "set SORTIMENT_HOME" in printed


def test_a_damaged_note_of_the_last_market_is_an_error_that_says_how_to_go_on(fail: Run, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "current.json").write_text("{", encoding="utf-8")
    printed = fail("release", "list")
    assert "SettingsError: it cannot be told which market was the last" in printed and "SORTIMENT_MARKET" in printed
