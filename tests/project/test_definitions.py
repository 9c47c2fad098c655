"""The platform resolves, loads lean, and shows people what it is."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from definitions import build_definitions
from resources.profiles import Profile

HEAVY = ("torch", "transformers", "lightning", "evidently", "openvino", "onnxruntime", "nncf", "sklearn", "matplotlib")
FLOW = {
    "feed_files", "taxonomy", "offers", "offer_census", "training_sample", "teacher_model", "teacher_soft_labels",
    "student_checkpoint", "fast_student", "student_evaluation", "quantized_student", "compiled_student",
    "engine_benchmark", "instance_choice", "encoder_ranking", "release_decision", "champion", "offer_predictions",
    "drift_report",
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Profile("local", tmp_path_factory.mktemp("home"), "none"))


def test_every_asset_of_the_flow_is_there_and_says_what_it_is(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    assert set(nodes) == FLOW
    for name, node in nodes.items():
        assert node.description, name
        assert node.group_name != "default", name
        assert node.owners, name
        assert node.kinds, name


def test_sensors_and_jobs_resolve(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    names = (
        {sensor.name for sensor in definitions.resolve_all_sensor_defs()}
        if hasattr(definitions, "resolve_all_sensor_defs")
        else {sensor.name for sensor in definitions.sensors or []}
    )
    assert {"new_feed_files", "drifted_slices", "waiting_slices", "failed_runs"} <= names


def test_definitions_load_without_the_heavy_libraries_and_in_seconds(tmp_path: Path) -> None:
    program = (
        "import json, sys, time; start = time.process_time(); import definitions; "
        f"print(json.dumps([time.process_time() - start, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
        env={"PATH": "/usr/bin:/bin", "SORTIMENT_HOME": str(tmp_path)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, heavy = json.loads(done.stdout.splitlines()[-1])
    assert heavy == []
    assert seconds < 5
