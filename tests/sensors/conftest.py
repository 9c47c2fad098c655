"""The real daemon on a market, as an operator runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from resources.profiles import Profile

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_END = 30
SECONDS_TO_SWITCH = 300


def environment_of(profile: Profile) -> dict[str, str]:
    return os.environ | {
        "DAGSTER_HOME": str(profile.dagster_home),
        "SORTIMENT_HOME": str(profile.home),
        "SORTIMENT_MARKET": profile.market,
    }


@pytest.fixture
def switch_on() -> Callable[..., None]:
    """`switch_on(profile, "new_feed_files")`, or `"--start-all"`: what a person does on the page Automation."""

    def switch(profile: Profile, sensor: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "dagster", "sensor", "start", sensor, "-w", "workspace.yaml"],
            env=environment_of(profile),
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=SECONDS_TO_SWITCH,
        )

    return switch


@pytest.fixture
def run_daemon() -> Callable[[Profile], AbstractContextManager[Callable[[], str]]]:
    """`with run_daemon(profile) as read_log:` a daemon and its code server in a process group of their own, ended by
    SIGTERM. `read_log()` gives what they logged so far; it fails the test where the daemon has ended by itself."""

    @contextmanager
    def run(profile: Profile) -> Iterator[Callable[[], str]]:
        log = profile.dagster_home / "daemon.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
                env=environment_of(profile),
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def read_log() -> str:
            text = log.read_text(encoding="utf-8")
            assert process.poll() is None, f"the daemon ended by itself: {text[-2000:]}"
            return text

        try:
            yield read_log
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    return run
