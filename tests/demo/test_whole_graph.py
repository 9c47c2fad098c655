"""The whole loop on a small market: the real instance, real weights, from feeds to recovery after drift."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog_assets.partitions import registered_keys
from demo.collect import read_materializations
from sensors import SENSORS

pytestmark = pytest.mark.slow
EVERYTHING = {
    "feed_files", "taxonomy", "offers", "offer_census", "training_sample", "teacher_model", "teacher_soft_labels",
    "student_checkpoint", "fast_student", "student_evaluation", "quantized_student", "compiled_student",
    "engine_benchmark", "instance_choice", "encoder_ranking", "release_decision", "champion", "offer_predictions",
    "drift_report",
}  # fmt: skip


@pytest.fixture(scope="module")
def instance(demo_run: Any) -> Any:
    with dg.DagsterInstance.from_config(str(demo_run.market / "dagster")) as opened:
        yield opened


def test_every_asset_was_materialized_in_the_real_instance(instance: dg.DagsterInstance) -> None:
    assert {key.to_user_string() for key in instance.all_asset_keys()} >= EVERYTHING
    assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


def test_the_students_keep_what_the_teacher_knows(demo_run: Any) -> None:
    scores = demo_run.report["scores"]
    assert set(scores) == {"teacher", "student", "int8", "fast"}
    teacher, student, int8, fast = (
        scores[name]["macro_f1"]["overall"] for name in ("teacher", "student", "int8", "fast")
    )
    assert teacher > 0.6
    assert student >= 0.9 * teacher
    assert fast >= 0.9 * teacher
    assert int8 == pytest.approx(student, abs=0.02)
    assert set(scores["student"]["macro_f1"]["by_country"]) == {"DE", "FR", "GB"}
    assert scores["student"]["macro_f1"]["by_feed"]


def test_only_the_drifted_partition_was_labelled_anew(demo_run: Any, instance: dg.DagsterInstance) -> None:
    drift = demo_run.report["drift"]
    records = read_materializations(instance, "teacher_soft_labels")
    times: dict[str, int] = {}
    for record in records:
        times[str(record.partition_key)] = times.get(str(record.partition_key), 0) + 1
    assert set(times) == set(registered_keys(instance, "slice"))
    assert [key for key, count in times.items() if count > 1] == [drift["partition"]]
    assert drift["partitions_relabelled"] == [drift["partition"]]


def test_the_drifted_slice_alone_was_drawn_with_its_new_offers_and_labelled_by_a_teacher_that_knows_them(
    demo_run: Any,
) -> None:
    store, drifted = demo_run.profile.storage().store, demo_run.report["drift"]["partition"]
    samples, labels = store.current_partitions("training_sample"), store.current_partitions("teacher_soft_labels")
    assert [key for key, sample in samples.items() if "fresh_since" in sample.manifest["inputs"]] == [drifted]
    teachers = {key: found.manifest["inputs"]["teacher"] for key, found in labels.items()}
    assert teachers.pop(drifted) == store.current("teacher_model").version
    assert set(teachers.values()).isdisjoint({store.current("teacher_model").version})
    feeds = pq.read_table(samples[drifted].path / "sample.parquet")["feed"].to_pylist()
    assert sum(feed.startswith("day-2") for feed in feeds) > len(feeds) / 2


def test_the_drifted_slice_recovers(demo_run: Any) -> None:
    drift = demo_run.report["drift"]
    assert drift["drifted"] < drift["before"] - 0.1
    assert drift["after"] > drift["drifted"]
    assert drift["recovered_share"] > 0.7


def test_what_a_sensor_asks_for_shows_its_progress_like_everything_else(demo_run: Any) -> None:
    assert "dagster - INFO" not in demo_run.output
    assert demo_run.output.count("fit the teacher") >= 2


def test_sensor_ticks_are_on_record(instance: dg.DagsterInstance) -> None:
    names = {sensor.name for sensor in SENSORS}
    runs = instance.get_runs()
    ticked = {run.tags["dagster/sensor_name"] for run in runs if "dagster/sensor_name" in run.tags}
    assert ticked == {"new_feed_files", "drifted_slices", "waiting_slices"} <= names


def test_the_report_has_what_it_promises(demo_run: Any) -> None:
    report = demo_run.report
    assert report["market"]["synthetic"] is True
    assert report["seconds"]["total"] > 0
    assert report["champion"]["version"]
    assert {row["engine"] for row in report["speed"]} >= {"torch-fp32", "openvino-int8", "onnx-int8", "neuron-bf16"}
    assert report["quarantine"]["rows"] > 0
    sampling = report["sampling"]
    assert sampling["tested_abroad"] > 0
    assert (
        sampling["sampled"]
        == sum(sampling["splits"].values())
        == sum(row["sampled"] for row in sampling["by_department"])
    )
    assert [row for row in report["not_done"] if "neuron" in row["what"] and row["command"]]
    assert report["scores_truth"]["student"]["macro_f1"]["overall"] > 0
    page = (demo_run.home / "report.html").read_text(encoding="utf-8")
    assert "SYNTHETIC" in page.upper() and "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_repeats_nothing(demo_run: Any, settings_file: Path) -> None:
    before = _materializations(demo_run.market)
    done = _demo(demo_run.home, settings_file)
    assert done.stdout.count("done before") >= 20
    assert _materializations(demo_run.market) == before
    again = json.loads((demo_run.home / "report.json").read_text(encoding="utf-8"))
    assert again["champion"] == demo_run.report["champion"]
    assert again["scores"] == demo_run.report["scores"]


def test_the_champion_classifies_a_file(demo_run: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "offers.csv", tmp_path / "out.parquet"
    source.write_text("id;title\n1;Smartphone Hülle schwarz\n2;\n3;Katzenfutter Huhn 400 g\n", encoding="utf-8")
    done = _sortiment(demo_run.home, "classify", str(source), str(target), "--country", "DE")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(target).to_pylist()
    assert [row["category_id"] is not None for row in rows] == [True, False, True]
    assert all(row["model_version"] == demo_run.report["champion"]["version"] for row in rows if row["category_id"])
    assert pa.types.is_floating(pq.read_schema(target).field("confidence").type)


def test_a_release_can_be_undone_and_done_again(demo_run: Any) -> None:
    listed = _sortiment(demo_run.home, "release", "list")
    assert listed.returncode == 0 and "promote" in listed.stdout
    champion = demo_run.report["champion"]["version"]
    if len(demo_run.report["releases"]) > 1:
        back = _sortiment(demo_run.home, "release", "rollback", "--reason", "test", "--yes")
        assert back.returncode == 0, back.stderr
        forth = _sortiment(demo_run.home, "release", "promote", champion, "--reason", "test", "--yes")
        assert forth.returncode == 0, forth.stderr
    shown = _sortiment(demo_run.home, "release", "show", "1")
    assert "share_of_teacher" in shown.stdout


def test_a_wrong_spec_is_four_facts_and_not_a_traceback(tmp_path: Path) -> None:
    spec = tmp_path / "shop.yaml"
    spec.write_text("path: offers.csv\ncolumns: {name: title}\n", encoding="utf-8")
    done = _sortiment(tmp_path / "home", "demo", "--feed", str(spec))
    assert done.returncode == 1
    assert "FeedError" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "current.json").exists()


def _demo(home: Path, settings_file: Path) -> subprocess.CompletedProcess[str]:
    done = _sortiment(home, "demo", "--settings", str(settings_file))
    assert done.returncode == 0, done.stderr
    return done


def _sortiment(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sortiment", *arguments],
        env=os.environ | {"SORTIMENT_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _materializations(market: Path) -> dict[str, int]:
    with dg.DagsterInstance.from_config(str(market / "dagster")) as instance:
        return {
            key.to_user_string(): len(read_materializations(instance, key.to_user_string()))
            for key in instance.all_asset_keys()
        }
