"""Training a student end to end, on a tiny network."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sortiment.artifacts import file_sha256
from sortiment.errors import TrainingError
from sortiment.progress import silent
from sortiment.settings import StudentSettings
from sortiment.student import StudentReport, distill_student, epochs_for, load_classifier
from sortiment.student.body import build_student, refuse_broken

TITLES = [
    "red smartphone mini",
    "case for galaxy",
    "espresso",
    "best matcha tea set",
    "lantern 2x",
    "xl armchair new pro",
]


@pytest.fixture(scope="module")
def trained(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, StudentReport]:
    out = tmp_path_factory.mktemp("student")
    return out, _distill(tiny_market, tiny_encoder, quick_settings, out)


def test_a_student_learns_what_its_teacher_knows(trained: tuple[Path, StudentReport]) -> None:
    _, report = trained
    assert report.macro_f1 > 0.95
    assert report.teacher_agreement > 0.95
    assert report.losses[-1] < report.losses[0]
    assert report.classes == 6
    assert report.offers == 2 * 6 * (36 + 60)
    assert report.labelled_offers == 2 * 6 * 36


def test_plain_transformers_gives_the_same_logits(trained: tuple[Path, StudentReport]) -> None:
    folder, report = trained
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        plain = model(**tokenizer(TITLES, padding=True, truncation=True, return_tensors="pt")).logits.numpy()
    ours = load_classifier(folder, device="cpu", precision="fp32").score(TITLES)
    np.testing.assert_allclose(plain[:, : report.classes], ours, rtol=1e-4, atol=1e-4)
    assert type(model).__name__ == "BertForSequenceClassification"
    assert model.config.id2label[0] == "cases"
    assert model.config.id2label[report.head_width - 1] == f"unused-{report.head_width - 1}"


def test_a_process_without_this_project_gets_the_same_logits_of_odd_titles_too(
    trained: tuple[Path, StudentReport], tmp_path: Path
) -> None:
    folder, report = trained
    odd = [
        "",
        "   ",
        "RED Smartphone MINI",
        "<b>tea&nbsp;</b><br/>matcha",
        "☕ espresso 🫖",
        "phone 2x " * 150,
        *TITLES,
    ]
    program = textwrap.dedent("""
        import importlib.util, json, sys
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder, titles = sys.argv[1], json.loads(sys.argv[2])
        sys.modules["sortiment"] = None
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.inference_mode():
            asked = tokenizer(titles, padding=True, truncation=True, return_tensors="pt")
            print(json.dumps(model(**asked).logits.tolist()))
    """)
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program, str(folder), json.dumps(odd)],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    plain = np.array(json.loads(ran.stdout.splitlines()[-1]), np.float32)
    ours = load_classifier(folder, device="cpu", precision="fp32").score(odd)
    np.testing.assert_allclose(plain[:, : report.classes], ours, rtol=1e-4, atol=1e-4)


def test_the_card_says_what_trimming_the_vocabulary_saved_and_changed(trained: tuple[Path, StudentReport]) -> None:
    folder, report = trained
    assert report.trimmed_encoder_mb is not None and report.encoder_mb is not None
    assert report.trimmed_encoder_mb <= report.encoder_mb
    assert report.changed_titles is not None and report.changed_titles <= 0.03
    assert "of the titles got other pieces" in (folder / "README.md").read_text(encoding="utf-8")


def test_few_offers_get_as_many_passes_as_make_the_least_steps() -> None:
    settings = StudentSettings(epochs=3, batch_offers=32, least_steps=1_000)
    assert epochs_for(3_200, settings) == 10
    assert epochs_for(320_000, settings) == 3
    assert epochs_for(0, settings) == 1_000
    assert epochs_for(10, settings.model_copy(update={"least_steps": 0})) == 3


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
    market = _market({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"])
    with pytest.raises(TrainingError, match=r"DE\|food hold numbers that are not finite.*teacher_soft_labels"):
        _distill(market, tiny_encoder, quick_settings, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_student_whose_last_step_broke_it_is_not_written(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["coffee", "tea"], 8)
    refuse_broken(student)
    with torch.no_grad():
        student.classifier.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"classifier\.weight.*student\.learning_rate"):
        refuse_broken(student)


def test_unused_outputs_get_no_probability(trained: tuple[Path, StudentReport]) -> None:
    folder, report = trained
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**tokenizer(TITLES, padding=True, return_tensors="pt")).logits
    assert report.head_width > report.classes
    assert torch.softmax(logits, 1)[:, report.classes :].sum() == 0


def test_the_same_inputs_give_the_same_bytes(
    trained: tuple[Path, StudentReport],
    tiny_market: Any,
    tiny_encoder: Path,
    quick_settings: StudentSettings,
    tmp_path: Path,
) -> None:
    _distill(tiny_market, tiny_encoder, quick_settings, tmp_path)
    assert _hashes(tmp_path) == _hashes(trained[0])
    assert not (tmp_path / ".training").exists()


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(
    trained: tuple[Path, StudentReport],
    tiny_market: Any,
    tiny_encoder: Path,
    quick_settings: StudentSettings,
    tmp_path: Path,
) -> None:
    arguments = {
        "samples": {key: str(path) for key, path in tiny_market.samples.items()},
        "soft_labels": {key: str(path) for key, path in tiny_market.soft_labels.items()},
        "classes": tiny_market.classes,
        "encoder": str(tiny_encoder),
        "settings": quick_settings.model_dump(mode="json"),
        "out": str(tmp_path),
    }
    program = textwrap.dedent("""
        import json, os, signal, sys
        from contextlib import contextmanager
        from pathlib import Path
        from sortiment.settings import StudentSettings
        from sortiment.student import distill_student

        given = json.loads(sys.argv[1])

        class Step:
            done = 0
            def advance(self, count=1, note=""):
                Step.done += count
                if Step.done > 1152 + 300:  # in the middle of the second epoch
                    os.kill(os.getpid(), signal.SIGKILL)

        @contextmanager
        def progress(what, total=None, unit="offers"):
            yield Step() if what == "distill the student" else type("Quiet", (), {"advance": lambda *_: None})()

        distill_student(
            {key: Path(path) for key, path in given["samples"].items()},
            {key: Path(path) for key, path in given["soft_labels"].items()},
            given["classes"], Path(given["encoder"]), StudentSettings(**given["settings"]), Path(given["out"]),
            progress=progress,
        )
    """)
    killed = subprocess.run(
        [sys.executable, "-c", program, json.dumps(arguments)], check=False, cwd=Path(__file__).parents[3]
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / ".training" / "epoch.safetensors").is_file()
    report = _distill(tiny_market, tiny_encoder, quick_settings, tmp_path)
    assert report.resumed_epochs == 1
    assert _hashes(tmp_path) == _hashes(trained[0])


def test_a_new_category_takes_an_unused_output_and_the_others_keep_theirs(
    trained: tuple[Path, StudentReport],
    tiny_encoder: Path,
    quick_settings: StudentSettings,
    workshop: Any,
    tmp_path: Path,
) -> None:
    words = {"plants": ["cactus", "ficus"]}
    old = workshop.market(tmp_path / "old", per_category=20, unlabelled=20, countries=("GB",))
    new = workshop.market(
        tmp_path / "new",
        per_category=40,
        unlabelled=0,
        teacher_knows=old.classes,
        departments={"garden": ["plants"]},
        words=words,
        countries=("DE",),
    )
    market = _market(
        old.samples | {"DE|garden": new.samples["DE|garden"]},
        old.soft_labels | {"DE|garden": new.soft_labels["DE|garden"]},
        old.classes,
    )
    settings = quick_settings.model_copy(update={"retrain_learning_rate": 1e-3, "retrain_epochs": 4})
    report = _distill(market, tiny_encoder, settings, tmp_path / "out", start_from=trained[0])
    before, after = load_classifier(trained[0], "cpu", "fp32"), load_classifier(tmp_path / "out", "cpu", "fp32")
    assert report.started_from
    assert report.new_classes == 1
    assert not report.grown
    assert report.head_width == trained[1].head_width
    assert after.classes[:6] == before.classes
    assert after.classes[6] == "plants"
    # The cut vocabulary spells the new words in letters.
    named = [
        after.classes[index]
        for index in after.classify(["red phone", "new oolong", "set cactus", "ficus mini pro"]).index
    ]
    assert named == ["phones", "tea", "plants", "plants"]


def test_retraining_learns_what_changed_whole_and_rehearses_some_of_the_rest(
    tiny_market: Any,
    trained: tuple[Path, StudentReport],
    tiny_encoder: Path,
    quick_settings: StudentSettings,
    tmp_path: Path,
) -> None:
    settings = quick_settings.model_copy(update={"rehearsed_offers": 10, "retrain_epochs": 1})
    changed = sorted(tiny_market.samples)[0]
    own = pq.read_table(tiny_market.samples[changed] / "sample.parquet")["split"].to_pylist().count("train")
    report = _distill(tiny_market, tiny_encoder, settings, tmp_path / "out", start_from=trained[0], changed=[changed])
    assert report.offers == own + 10
    assert report.offers < trained[1].offers


def test_words_that_came_with_a_changed_partition_become_pieces_and_mean_its_categories(
    trained: tuple[Path, StudentReport],
    tiny_encoder: Path,
    quick_settings: StudentSettings,
    workshop: Any,
    tmp_path: Path,
) -> None:
    words = {"coffee": ["zorbuk", "flimpat"], "tea": ["quarnel", "droskit"]}
    old = workshop.market(tmp_path / "old", per_category=30, unlabelled=20, countries=("GB",))
    new = workshop.market(
        tmp_path / "new", per_category=40, unlabelled=0, departments={"food": ["coffee", "tea"]}, words=words,
        countries=("DE",),
    )  # fmt: skip
    market = _market(
        old.samples | {"DE|food": new.samples["DE|food"]},
        old.soft_labels | {"DE|food": new.soft_labels["DE|food"]},
        old.classes,
    )
    settings = quick_settings.model_copy(update={"retrain_learning_rate": 1e-3})
    report = _distill(market, tiny_encoder, settings, tmp_path / "out", start_from=trained[0], changed=["DE|food"])
    before, after = load_classifier(trained[0], "cpu", "fp32"), load_classifier(tmp_path / "out", "cpu", "fp32")
    titles = ["red zorbuk", "flimpat set", "new quarnel", "best droskit mini"]
    truth = ["coffee", "coffee", "tea", "tea"]
    assert [after.classes[index] for index in after.classify(titles).index] == truth
    assert [before.classes[index] for index in before.classify(titles).index] != truth
    assert report.vocabulary == trained[1].vocabulary + 4
    rows = [load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"] for folder in
            (trained[0], tmp_path / "out" )]  # fmt: skip
    assert len(rows[1]) == len(rows[0]) + 4
    assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("red zorbuk") == ["▁red", "▁zorbuk"]


def test_a_partition_without_soft_labels_is_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    soft = {key: path for key, path in tiny_market.soft_labels.items() if key != "DE|food"}
    with pytest.raises(TrainingError, match=r"DE\|food.*materialize teacher_soft_labels"):
        _distill(_market(tiny_market.samples, soft, tiny_market.classes), tiny_encoder, quick_settings, tmp_path)


def test_soft_labels_of_another_sample_are_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", ["tea"], ["tea"], ["train"])
    market = _market({"DE|food": sample}, {"DE|food": tiny_market.soft_labels["DE|food"]}, tiny_market.classes)
    with pytest.raises(TrainingError, match="not those of its sample"):
        _distill(market, tiny_encoder, quick_settings, tmp_path / "out")


def test_a_soft_label_outside_its_class_list_is_refused(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", ["tea", "coffee"], ["tea", "coffee"], ["train"] * 2)
    soft = workshop.soft_labels(tmp_path / "soft", sample, ["tea", "coffee"], ["chairs", "coffee", "tea"])
    (soft / "classes.json").write_text('["coffee"]', encoding="utf-8")
    market = _market({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"])
    with pytest.raises(TrainingError, match=r"name a class that their classes\.json does not list"):
        _distill(market, tiny_encoder, quick_settings, tmp_path / "out")


def test_an_empty_sample_is_refused(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    sample = workshop.sample(tmp_path / "sample", "DE", [], [], [])
    soft = workshop.soft_labels(tmp_path / "soft", sample, [], ["coffee", "tea"])
    with pytest.raises(TrainingError, match="hold no offers"):
        _distill(
            _market({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"]),
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
        _distill(tiny_market, broken, settings, tmp_path / "out")


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
    market = _market({"DE|food": sample}, {"DE|food": soft}, ["coffee", "tea"])
    # The head does not see the poisoned offer.
    settings = quick_settings.model_copy(update={"head_fit_offers": 4, "seed": 1, "word_epochs": word_epochs})
    with pytest.raises(TrainingError, match=rf"loss is not a number.*{fix}"):
        _distill(market, broken, settings, tmp_path / "out")
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
        _distill(tiny_market, broken, quick_settings, tmp_path / "out")


def test_an_encoder_with_too_few_layers_is_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"4 layers.*student\.layers"):
        _distill(tiny_market, tiny_encoder, quick_settings.model_copy(update={"layers": 6}), tmp_path)


def _distill(
    market: Any,
    encoder: Path,
    settings: StudentSettings,
    out: Path,
    start_from: Path | None = None,
    changed: list[str] | None = None,
) -> StudentReport:
    return distill_student(
        market.samples,
        market.soft_labels,
        market.classes,
        encoder,
        settings,
        out,
        start_from=start_from,
        changed=changed,
        progress=silent,
    )


def _market(samples: dict[str, Path], soft_labels: dict[str, Path], classes: list[str]) -> SimpleNamespace:
    return SimpleNamespace(samples=samples, soft_labels=soft_labels, classes=classes)


def _copy_with_nan(encoder: Path, out: Path, tensor: str, where: int | slice) -> Path:
    out.mkdir()
    for file in encoder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    weights = load_file(out / "model.safetensors")
    weights[tensor][where] = float("nan")
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def _hashes(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file_sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()}
