"""What a person sees: the lineage in the Dagster UI and the report, in a real browser."""

import base64
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.pictures import FLAGS, find_browser, open_ui

pytestmark = pytest.mark.slow
BROWSER = find_browser()

needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium: apt-get install chromium")


def browse(url: str, profile: Path, *, wait_ms: int) -> str:
    """The page's document after its scripts ran for a while."""
    assert BROWSER is not None
    command = [
        BROWSER, *FLAGS, "--window-size=1600,1400", f"--user-data-dir={profile}",
        f"--virtual-time-budget={wait_ms}", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return done.stdout


@pytest.fixture(scope="module")
def ui(demo_run: Any) -> Iterator[str]:
    """The Dagster UI as `sortiment ui` starts it, on a free port; its whole process group ends with the test."""
    with open_ui(demo_run.home) as address:
        yield address


@needs_browser
def test_the_lineage_page_shows_the_assets(ui: str, tmp_path: Path) -> None:
    page = browse(f"{ui}/asset-groups", tmp_path, wait_ms=25_000)
    shown = [name for name in ("feed_files", "training_sample", "teacher_model", "champion") if name in page]
    groups = [
        name for name in ("feeds", "sampling", "teacher", "student", "engines", "release", "drift") if name in page
    ]
    assert shown or len(groups) >= 5, page[:2000]


def test_the_instance_answers_with_assets_partitions_and_plots(ui: str) -> None:
    query = (
        "{assetsOrError{... on AssetConnection{nodes{key{path} definition{groupName}"
        " assetMaterializations(limit:1){metadataEntries{label ... on MarkdownMetadataEntry{mdStr}}}}}}}"
    )
    answer = _post(f"{ui}/graphql", query)
    assets = {node["key"]["path"][0]: node for node in answer["data"]["assetsOrError"]["nodes"]}
    assert {"offers", "student_checkpoint", "drift_report", "champion"} <= set(assets)
    entries = assets["engine_benchmark"]["assetMaterializations"][0]["metadataEntries"]
    plot = next(entry["mdStr"] for entry in entries if entry["label"] == "speed")
    image = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", plot)
    assert image is not None
    assert base64.b64decode(image.group(1)).startswith(b"\x89PNG")


def test_the_ticks_of_the_demo_are_those_of_the_sensors_that_the_ui_shows(ui: str) -> None:
    query = (
        '{sensorOrError(sensorSelector: {repositoryName: "__repository__", repositoryLocationName: "sortiment",'
        ' sensorName: "drifted_slices"}){... on Sensor{sensorState{status ticks(limit: 5){runIds}}}}}'
    )
    state = _post(f"{ui}/graphql", query)["data"]["sensorOrError"]["sensorState"]
    assert state["status"] == "STOPPED"
    assert [tick for tick in state["ticks"] if tick["runIds"]]


@needs_browser
def test_the_report_opens_offline_and_shows_its_plots(demo_run: Any, tmp_path: Path) -> None:
    page = browse(f"file://{demo_run.home / 'report.html'}", tmp_path, wait_ms=2_000)
    assert page.count("<svg") >= 5
    assert "drift" in page.lower() and demo_run.report["drift"]["partition"].split("|")[1] in page


def _post(url: str, query: str) -> Any:
    import json

    request = urllib.request.Request(
        url, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())
