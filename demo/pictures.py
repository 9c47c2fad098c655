"""What the README shows of a finished demo: its printed summary, and pictures of the report and the Dagster UI.

    python -m demo.pictures            after `make demo`: docs/demo/*.png, docs/demo/summary.txt and the README's block

Nothing of it is typed by hand: the block is the summary that the demo printed, and a test compares both files.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from resources.profiles import Profile, read_profile
from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError
from sortiment.report import read_report
from sortiment.report.terminal import summarize_report

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ROOT / "docs" / "demo"
BLOCK = re.compile(r"(<!-- summary: python -m demo\.pictures -->\n```text\n).*?(```\n)", re.DOTALL)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = {
    "lineage": "/assets/drift_report?view=lineage&lineageScope=upstream&lineageDepth=20",
    "partitions": "/assets/teacher_soft_labels?view=partitions",
}
COLUMNS = 100
SECONDS_TO_START = 120
SECONDS_TO_DRAW = 30


def write_pictures(profile: Profile) -> None:
    """Picture the market that is open, and write the README's block. Raises SettingsError where nothing is there."""
    report_file = profile.home / "report.json"
    if not report_file.is_file():
        raise SettingsError("there is no report to show", value=str(report_file), fix="run `make demo` first")
    SHOWN.mkdir(parents=True, exist_ok=True)
    summary = _print_summary(profile.home)
    write_atomically(SHOWN / "summary.txt", summary.encode())
    readme = ROOT / "README.md"
    write_atomically(readme, replace_block(readme.read_text(encoding="utf-8"), summary).encode())
    browser = find_browser()
    if browser is None:
        raise SettingsError(
            "no browser to draw the pages with", allowed=", ".join(BROWSERS), fix="apt-get install chromium"
        )
    _picture(browser, f"file://{profile.home.absolute() / 'report.html'}", SHOWN / "report.png", height=2400)
    with open_ui(profile.home) as address:
        for name, page in PAGES.items():
            _picture(browser, address + page, SHOWN / f"{name}.png", height=1000)


def replace_block(readme: str, summary: str) -> str:
    """The README with another summary in its marked block."""
    replaced, found = BLOCK.subn(lambda match: match.group(1) + summary + match.group(2), readme)
    if found != 1:
        raise SettingsError("the README has no block for the summary", value=found, allowed="one marked block")
    return replaced


def _print_summary(home: Path) -> str:
    console = Console(width=COLUMNS, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    console.print(summarize_report(read_report(home)))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return "\n".join(lines).strip() + "\n"


def find_browser() -> str | None:
    """The first browser that this machine has."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def _picture(browser: str, url: str, out: Path, height: int) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size=1500,{height}",
            f"--virtual-time-budget={SECONDS_TO_DRAW * 1000}", f"--screenshot={out}", url,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=240)


@contextlib.contextmanager
def open_ui(home: Path) -> Iterator[str]:
    """The address of a Dagster UI on a home, as `sortiment ui` starts it; all its processes end with the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "sortiment", "ui", "--port", str(port)],
        env=os.environ | {"SORTIMENT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the server waits for a page that stays connected
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < SECONDS_TO_START:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(1)
    raise SettingsError("the Dagster UI did not start", value=url, fix="run `make ui` and read what it says")


if __name__ == "__main__":
    write_pictures(read_profile())
