"""Killed with SIGKILL in the middle of its stages and started again each time, the demo ends as if undisturbed."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "tiny.yaml"
SECONDS_OF_A_RUN = 600
MEASURED = {"engine_benchmark", "instance_choice", "encoder_ranking"}  # speeds of the moment are in their files


@dataclass(frozen=True)
class Kill:
    """During a stage: as soon as a file appears below the market's folder that was not there when the run began."""

    stage: str
    sign: str


KILLS = [
    Kill("feeds: one of several files is loaded", "store/offer_parts/*/manifest.json"),
    Kill("teacher: labelling", "scratch/.building/teacher_soft_labels/**/soft_labels.parquet"),
    Kill("student: the fast one is trained", "store/fast_student/*/manifest.json"),
    Kill("student: in its second epoch", "scratch/.building/student_checkpoint/*/.training/epoch.safetensors"),
    Kill("student: trained, being quantized", "scratch/.building/quantized_student/*/config.json"),
    Kill("release: the champion is in the log", "store/releases/000001.json"),
    Kill("predict: some offers are classified", "store/prediction_parts/*/*/manifest.json"),
    Kill("relabel: sampled, not labelled", "store/training_sample/*/*/*/manifest.json"),
    Kill("retrain: in its first epoch", "scratch/.building/student_checkpoint/*/.training/start"),
    Kill("retrain: trained, being quantized", "scratch/.building/quantized_student/*/config.json"),
    Kill("release: the challenger is in the log", "store/releases/000002.json"),
]


def test_a_demo_that_is_killed_in_its_stages_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finish(undisturbed, start(undisturbed))
    share_converted_encoder(undisturbed, killed)
    for kill in KILLS:
        kill_at(kill, killed, start(killed))
    finish(killed, start(killed))
    assert artifacts_of(killed) == artifacts_of(undisturbed)
    assert report_of(killed) == report_of(undisturbed)


def share_converted_encoder(finished: Path, home: Path) -> None:
    """Without the features that it computed: those are what a killed teacher has to find again."""
    for folder in (finished / "encoders").iterdir():
        if folder.is_dir() and folder.name != "features":
            shutil.copytree(folder, home / "encoders" / folder.name, copy_function=os.link)


def start(home: Path) -> subprocess.Popen[bytes]:
    """The command as a person runs it, in a process group of its own; what it prints is in `output`."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "sortiment", "demo", "--settings", str(TINY)],
            env=os.environ | {"SORTIMENT_HOME": str(home)},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(home: Path, process: subprocess.Popen[bytes]) -> None:
    try:
        code = process.wait(SECONDS_OF_A_RUN)
    finally:
        kill_group(process)
    assert code == 0, tail(home)


def kill_at(kill: Kill, home: Path, process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group at the first new sign of the stage."""
    before = signs(kill, home)
    give_up = time.monotonic() + SECONDS_OF_A_RUN
    try:
        while not signs(kill, home) - before:
            assert process.poll() is None, f"ended before {kill.stage}: {tail(home)}"
            assert time.monotonic() < give_up, f"never came to {kill.stage}: {tail(home)}"
            time.sleep(0.02)
    finally:
        kill_group(process)


def signs(kill: Kill, home: Path) -> set[Path]:
    return set(home.glob(f"markets/*/{kill.sign}"))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(home: Path) -> str:
    return (home / "output").read_text(encoding="utf-8")[-3000:]


def artifacts_of(home: Path) -> dict[str, Any]:
    """Version and sha256 of each file of every current artifact. Of measurements only the version."""
    found = {}
    for pointer in sorted(home.glob("markets/*/store/**/current.json")):
        version = json.loads(pointer.read_bytes())["version"]
        folder = pointer.parent / version
        manifest = json.loads((folder / "manifest.json").read_bytes())
        measured = manifest["asset"] in MEASURED
        files = {} if measured else {name: digest(folder / name, home) for name in manifest["files"]}
        found[str(pointer.parent.relative_to(home))] = (version, files)
    return found


def digest(file: Path, home: Path) -> str:
    """sha256 of what is in it; in a command to run, the home's own place reads HOME."""
    return hashlib.sha256(file.read_bytes().replace(bytes(home), b"HOME")).hexdigest()


def report_of(home: Path) -> Any:
    """The report but for what was measured: times, speeds, and the costs that follow from them."""
    report = json.loads((home / "report.json").read_text(encoding="utf-8").replace(str(home), "HOME"))
    for section in ("seconds", "speed", "cost"):
        del report[section]
    del report["run"]["date"], report["champion"]["promoted_at"]
    for row in report["ranking"]:
        del row["offers_per_s"]
    for row in report["releases"]:
        del row["decided_at"]
    return report
