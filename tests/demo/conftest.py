"""One small market, run end to end once, shared by the tests that look at what it left behind."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.profiles import Profile, read_profile

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
market: {offers: 4000, countries: [DE, FR, GB], departments: [electronics, garden, pets], second_day_offers: 900,
         drifted_offers: 700, shops_per_country: 6}
sampling: {per_category: 100, fresh_per_category: 200, unlabelled_per_country: 100}
teacher: {transfer_titles: 600}
student: {epochs: 2, least_steps: 0}
ranking: {train_offers: 300, test_offers: 200, timing_offers: 64, timing_seconds: 1.0, budget_s: 40.0}
engines: {benchmark_seconds: 0.5, benchmark_offers: 200, calibration_offers: 60, agreement_offers: 100}
evaluation: {bootstrap_rounds: 50}
"""


@dataclass(frozen=True)
class DemoRun:
    """A finished demo: its home, what it printed, its report."""

    home: Path
    output: str
    report: dict[str, Any]

    @property
    def market(self) -> Path:
        current = json.loads((self.home / "current.json").read_text(encoding="utf-8"))
        return self.home / "markets" / current["market"]

    @property
    def profile(self) -> Profile:
        return read_profile({"SORTIMENT_HOME": str(self.home)})


def run_demo(home: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "sortiment", "demo", *arguments],
        env=os.environ | {"SORTIMENT_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=check,
        timeout=600,
    )


@pytest.fixture(scope="session")
def settings_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "small.yaml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory, settings_file: Path) -> DemoRun:
    home = tmp_path_factory.mktemp("home")
    done = run_demo(home, "--settings", str(settings_file), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return DemoRun(home, done.stdout, json.loads((home / "report.json").read_text(encoding="utf-8")))
