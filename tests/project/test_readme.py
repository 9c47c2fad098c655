"""The README says what the repository holds: its tree, its commands, its stages."""

import re
from pathlib import Path

import pytest
import typer.main

from command_line.app import app
from definitions import STAGES, build_definitions
from demo.pictures import SHOWN, replace_block
from resources.profiles import Profile

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_tree_is_the_repository() -> None:
    listed = re.findall(r"^([\w.]+/?) ", section("Where things are"), re.MULTILINE)
    assert all((ROOT / name).exists() for name in listed), listed
    packages = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(listed)


def test_every_recipe_of_the_readme_is_in_the_makefile() -> None:
    recipes = set(re.findall(r"^([a-z]+):.*##", MAKEFILE, re.MULTILINE))
    used = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert used and used <= recipes
    assert {"setup", "demo", "test", "check", "ui", "bench", "clean"} <= recipes


def test_every_command_of_the_readme_exists_and_every_command_is_in_it() -> None:
    root = typer.main.get_command(app)
    rows = re.findall(r"^\| `sortiment ([a-z ]+?)(?: [A-Z].*?)?` \|", section("Commands"), re.MULTILINE)
    for row in rows:
        command = root
        for word in row.split():
            command = command.commands[word]  # type: ignore[attr-defined]
    assert {row.split()[0] for row in rows} == set(root.commands)  # type: ignore[attr-defined]


def test_the_stage_table_is_the_asset_graph(tmp_path: Path) -> None:
    graph = build_definitions(Profile("local", tmp_path, "none")).resolve_asset_graph()
    groups: dict[str, set[str]] = {}
    for key in graph.get_all_asset_keys():
        groups.setdefault(graph.get(key).group_name, set()).add(key.to_user_string())
    table = {
        stage: set(re.findall(r"`(\w+)`", assets))
        for stage, assets in re.findall(r"^\| (\w+) \| (`.*?) \|", section("Stages"), re.MULTILINE)
    }
    assert table == groups
    assert set(table) == {stage.__name__.split(".")[-1] for stage in STAGES}
    for stage in table:
        assert (ROOT / "sortiment" / stage).is_dir(), stage


def test_every_link_leads_to_a_file() -> None:
    for text in [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))]:
        assert "TODO" not in text
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_summary_is_the_one_that_a_demo_printed() -> None:
    printed = (SHOWN / "summary.txt").read_text(encoding="utf-8")
    assert "SYNTHETIC MARKET" in printed and "champion" in printed
    assert replace_block(README, printed) == README


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".ci/run", "workspace.yaml"])
def test_the_house_has_its_papers(name: str) -> None:
    assert (ROOT / name).is_file()
