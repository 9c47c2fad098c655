"""What the distillation refuses, with an error that says what to do, and nothing half-written."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from sortiment.errors import TrainingError
from sortiment.settings import StudentSettings
from sortiment.student.body import build_student, refuse_broken
from tests.sortiment.student.distilling import distill, market_of


@pytest.mark.parametrize("column", ["top_logit", "rest_mass"])
def test_soft_labels_that_are_not_numbers_are_refused(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path, column: str
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", ["tea", "coffee"], ["tea", "coffee"], ["train"] * 2)
    soft = workshop.soft_labels(tmp_path / "soft", sample, ["tea", "coffee"], ["coffee", "tea"])
    table = pq.read_table(soft / "soft_labels.parquet")
    values = table[column].to_pylist()
    values[1] = [float("nan")] * 2 if column == "top_logit" else float("nan")
    place = table.column_names.index(column)
    pq.write_table(
        table.set_column(place, column, pa.array(values, table.schema.field(column).type)), soft / "soft_labels.parquet"
    )
    market = market_of({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"])
    with pytest.raises(TrainingError, match=r"DE\|food hold numbers that are not finite.*teacher_soft_labels"):
        distill(market, tiny_encoder, quick_settings, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_student_whose_last_step_broke_it_is_not_written(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["coffee", "tea"], 8)
    refuse_broken(student)
    with torch.no_grad():
        student.classifier.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"classifier\.weight.*student\.learning_rate"):
        refuse_broken(student)


def test_a_partition_without_soft_labels_is_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    soft = {key: path for key, path in tiny_market.soft_labels.items() if key != "DE|food"}
    with pytest.raises(TrainingError, match=r"DE\|food.*materialize teacher_soft_labels"):
        distill(market_of(tiny_market.samples, soft, tiny_market.classes), tiny_encoder, quick_settings, tmp_path)


def test_soft_labels_of_another_sample_are_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", ["tea"], ["tea"], ["train"])
    market = market_of({"DE|food": sample}, {"DE|food": tiny_market.soft_labels["DE|food"]}, tiny_market.classes)
    with pytest.raises(TrainingError, match="not those of its sample"):
        distill(market, tiny_encoder, quick_settings, tmp_path / "out")


def test_a_soft_label_outside_its_class_list_is_refused(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", ["tea", "coffee"], ["tea", "coffee"], ["train"] * 2)
    soft = workshop.soft_labels(tmp_path / "soft", sample, ["tea", "coffee"], ["chairs", "coffee", "tea"])
    (soft / "classes.json").write_text('["coffee"]', encoding="utf-8")
    market = market_of({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"])
    with pytest.raises(TrainingError, match=r"name a class that their classes\.json does not list"):
        distill(market, tiny_encoder, quick_settings, tmp_path / "out")


def test_an_empty_sample_is_refused(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", [], [], [])
    soft = workshop.soft_labels(tmp_path / "soft", sample, [], ["coffee", "tea"])
    with pytest.raises(TrainingError, match="hold no offers"):
        distill(
            market_of({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"]),
            tiny_encoder,
            quick_settings,
            tmp_path / "out",
        )


@pytest.mark.parametrize("word_epochs", [0, 1])
def test_an_encoder_whose_features_are_not_numbers_stops_the_training_before_it_begins(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path, word_epochs: int
) -> None:
    broken = _copy_with_nan(tiny_encoder, tmp_path / "encoder", "bert.encoder.layer.0.output.dense.bias", slice(None))
    settings = quick_settings.model_copy(update={"word_epochs": word_epochs})
    with pytest.raises(TrainingError, match=r"not a number.*convert or download"):
        distill(tiny_market, broken, settings, tmp_path / "out")


@pytest.mark.parametrize(("word_epochs", "fix"), [(0, r"student\.learning_rate"), (1, r"student\.word_epochs")])
def test_a_loss_that_is_not_a_number_stops_the_training_and_says_what_to_do(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path, word_epochs: int, fix: str
) -> None:
    vocabulary = json.loads((tiny_encoder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    nine = vocabulary.index(["9", -8.0])
    broken = _copy_with_nan(tiny_encoder, tmp_path / "encoder", "bert.embeddings.word_embeddings.weight", nine)
    truth = ["tea", "coffee"] * 20
    sample = workshop.sample(tmp_path / "sample", "DE", [*truth, "tea 9"], [*truth, "tea"], ["train"] * 41)
    soft = workshop.soft_labels(tmp_path / "soft", sample, [*truth, "tea"], ["coffee", "tea"])
    market = market_of({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"])
    # The head does not see the poisoned offer.
    settings = quick_settings.model_copy(update={"head_fit_offers": 4, "seed": 1, "word_epochs": word_epochs})
    with pytest.raises(TrainingError, match=rf"loss is not a number.*{fix}"):
        distill(market, broken, settings, tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_weights_that_do_not_fit_their_config_are_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    broken = tmp_path / "encoder"
    broken.mkdir()
    for file in tiny_encoder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    (broken / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"do not fit their config\.json.*\(128"):
        distill(tiny_market, broken, quick_settings, tmp_path / "out")


def test_an_encoder_with_too_few_layers_is_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"4 layers.*student\.layers"):
        distill(tiny_market, tiny_encoder, quick_settings.model_copy(update={"layers": 6}), tmp_path)


def _copy_with_nan(encoder: Path, out: Path, tensor: str, where: int | slice) -> Path:
    out.mkdir()
    for file in encoder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    weights = load_file(out / "model.safetensors")
    weights[tensor][where] = float("nan")
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out
