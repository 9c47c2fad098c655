"""Progress on a terminal and beside one."""

import io

import pytest
from rich.console import Console

from resources.progress import TerminalProgress


@pytest.mark.parametrize("terminal", [True, False])
def test_names_that_look_like_markup_are_shown_as_they_are(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200)
    with TerminalProgress(console)("load a[/b].csv", total=2, unit="rows") as step:
        step.advance(2, note="Garden [/red] sheds")
    assert "load a[/b].csv" in out.getvalue() and "Garden [/red] sheds" in out.getvalue()
