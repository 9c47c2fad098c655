"""An encoder learns from the labels what it did not know, and the teacher stays honest about the offers it learned."""

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from sortiment.encoders import EncoderFolder, resolve_encoder
from sortiment.errors import TrainingError
from sortiment.progress import Progress, Step, silent
from sortiment.settings import EncoderSettings, TeacherSettings, TuningSettings
from sortiment.teacher import Teacher, TeacherReport, label_samples, load_teacher, train_teacher
from sortiment.teacher.tuning import TuningOffers, tune_encoder
from sortiment.teacher.tuning.dealing import deal_folds, departments_of
from sortiment.teacher.tuning.loss import make_objective
from tests.sortiment.conftest import NOISE_WORDS, WORDS
from tests.sortiment.teacher.samples import Row, write_sample

READING = EncoderSettings(precision="fp32", engine="torch")
CLASSES = {"a" * 12: "lamps", "b" * 12: "phones", "c" * 12: "tea", "d" * 12: "coffee"}
OTHER_WORDS = [*NOISE_WORDS, *WORDS["cases"], *WORDS["chairs"]]
WRONG = range(0, 600, 100)
KINDS = [
    "top",
    pytest.param("lora", marks=pytest.mark.skipif(find_spec("peft") is None, reason="needs peft: the extra `lora`")),
    "full",
]


def tuning(kind: str, **knobs: Any) -> TeacherSettings:
    """Of the encoder's expert alone: the n-grams would know each word."""
    given: dict[str, Any] = {
        "folds": 2,
        "epochs": 8,
        "batch_offers": 16,
        "top_layers": 4,
        "learning_rate": 3e-3,
        "head_rate_factor": 1.0,
        "lora_rate_factor": 2.0,
        "full_rate_factor": 1.0,
    }
    tuned = TuningSettings(**(given | knobs))
    return TeacherSettings(experts=("encoder",), label_top_k=3, fine_tuning=kind, tuning=tuned)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One word in four says the class: too little for what random layers make of a title. Six wrong labels."""
    draw, names = np.random.default_rng(0), list(CLASSES)
    rows: list[Row] = []
    for label, kind in CLASSES.items():
        for number in range(150):
            title = draw.permutation([draw.choice(WORDS[kind]), *draw.choice(OTHER_WORDS, 3)])
            side = ("train", "train", "train", "validation", "test")[number % 5]
            shown = names[(names.index(label) + 1) % 4] if len(rows) in WRONG else label
            rows.append((" ".join(str(word) for word in title), shown, side))
    return {"DE|all": write_sample(tmp_path_factory.mktemp("samples") / "all", "DE", rows, 100)}


@pytest.fixture(scope="module")
def frozen(samples: dict[str, Path], encoder: EncoderFolder, home: Path) -> TeacherReport:
    settings = TeacherSettings(experts=("encoder",))
    return train_teacher(samples, encoder, READING, settings, home / "frozen", home / "features")


def tuned_teacher(kind: str, samples: dict[str, Path], encoder: EncoderFolder, home: Path) -> Teacher:
    """Trained once for all tests."""
    if not (home / kind / "teacher.json").is_file():
        train_teacher(samples, encoder, READING, tuning(kind), home / kind, home / "features")
    return load_teacher(home / kind, encoder, READING, home / "features")


@pytest.fixture
def full(samples: dict[str, Path], encoder: EncoderFolder, home: Path) -> Teacher:
    return tuned_teacher("full", samples, encoder, home)


def few_offers(encoder: EncoderFolder, texts: list[str]) -> TuningOffers:
    """Two classes in turn."""
    labels = np.arange(len(texts)) % 2
    vectors = np.random.default_rng(0).normal(size=(len(texts), encoder.hidden)).astype(np.float32)
    return TuningOffers(texts, vectors, labels, np.ones(len(texts), np.float32), 2, np.arange(2), ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_tuned_teacher_learns_what_a_frozen_one_cannot_and_its_encoder_is_a_plain_one(
    kind: str, frozen: TeacherReport, samples: dict[str, Path], encoder: EncoderFolder, home: Path
) -> None:
    from transformers import AutoModel, AutoTokenizer

    teacher = tuned_teacher(kind, samples, encoder, home)
    before, after = (each.scores["test"]["teacher"]["accuracy"] for each in (frozen, teacher))
    assert before < 0.5
    assert after > before + 0.2
    losses = json.loads((home / kind / "teacher.json").read_text(encoding="utf-8"))["report"]["tuning"]["losses"]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    assert not (home / kind / ".tuning").exists()
    assert teacher.encoder.version != encoder.version
    model = AutoModel.from_pretrained(home / kind / "encoder").eval()
    tokenizer = AutoTokenizer.from_pretrained(home / kind / "encoder")
    plain = model(**tokenizer("red lamp xl", return_tensors="pt", return_token_type_ids=False)).last_hidden_state
    ours = teacher.features.features(["red lamp xl"], silent)[0]
    np.testing.assert_allclose(plain[0].mean(0).detach().numpy(), ours, atol=5e-3)


def test_a_wrong_label_that_an_encoder_was_tuned_on_does_not_come_back_as_its_opinion(
    full: Teacher, samples: dict[str, Path], home: Path
) -> None:
    report = label_samples(full, samples, {"DE|all": home / "labels"}, tuning("full"))["DE|all"]
    offers = pq.read_table(samples["DE|all"] / "sample.parquet")
    best = [
        full.classes[index[0]]
        for index in pq.read_table(home / "labels" / "soft_labels.parquet")["top_index"].to_pylist()
    ]
    assert report["left_out"] == 360
    assert all(offers["split"][row].as_py() == "train" for row in WRONG)
    right = [best[row] == list(CLASSES)[row // 150] for row in WRONG]
    repeated = [best[row] == offers["category_id"][row].as_py() for row in WRONG]
    assert sum(right) > sum(repeated)


def test_a_tuned_teacher_is_not_surer_of_its_training_offers_than_of_others(
    full: Teacher, samples: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    label_samples(full, samples, {"DE|all": tmp_path / "labels"}, tuning("full"))
    split = np.array(pq.read_table(samples["DE|all"] / "sample.parquet")["split"].to_pylist())
    soft = pq.read_table(tmp_path / "labels" / "soft_labels.parquet")
    sure = np.exp([logit[0] for logit in soft["top_logit"].to_pylist()])
    assert sure[split == "train"].mean() < sure[split == "test"].mean() + 0.02


class Killed(BaseException):
    """As a process is killed: nothing of ours handles it."""


def watching(shown: dict[str, int | None], dies_in: str = "") -> Progress:
    """Keeps what was begun with its total; dies in its second epoch."""

    @contextmanager
    def show(what: str, total: int | None = None, unit: str = "offers") -> Iterator[Step]:
        shown[what] = total
        done = 0

        class Watched:
            def advance(self, count: int = 1, note: str = "") -> None:
                nonlocal done
                done += count
                if what == dies_in and done > 200:  # of about 180 in an epoch
                    raise Killed

        yield Watched()

    return show


def test_a_killed_tuning_goes_on_from_its_last_whole_epoch_and_ends_with_the_same_bytes(
    samples: dict[str, Path], encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    settings = tuning("top", epochs=2, top_layers=2)

    def train(name: str, progress: Progress) -> None:
        train_teacher(samples, encoder, READING, settings, tmp_path / name, home / "features", progress)

    first, second, all_offers = (
        f"fine-tune {which}" for which in ("without part 1", "without part 2", "on all offers")
    )
    undisturbed: dict[str, int | None] = {}
    train("whole", watching(undisturbed))
    assert [what for what in undisturbed if what.startswith("fine-tune")] == [first, second, all_offers]
    with pytest.raises(Killed):
        train("again", watching({}, dies_in=second))
    assert not (tmp_path / "again" / "encoder").exists()
    left: dict[str, int | None] = {}
    train("again", watching(left))
    assert first not in left
    assert left[second] == undisturbed[second] // 2  # type: ignore[operator]
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_the_lower_layers_say_is_the_same_kept_or_computed_again(
    encoder: EncoderFolder, tmp_path: Path, precision: str
) -> None:
    reading = READING.model_copy(update={"precision": precision})
    offers = few_offers(encoder, [f"red lamp {number}" for number in range(60)])
    bodies = []
    for limit in (4_096, 0):
        settings = tuning("top", epochs=1, top_layers=2, hidden_mb=limit)
        tuned = tune_encoder(encoder, reading, settings, offers, tmp_path / str(limit), silent)
        bodies.append(load_file(tuned.encoder.path / "model.safetensors"))
    kept, again = bodies
    before = {
        name.removeprefix("bert."): value for name, value in load_file(encoder.path / "model.safetensors").items()
    }
    for name, value in kept.items():
        torch.testing.assert_close(value, again[name], atol=2e-2, rtol=0.1)
        if name.startswith(("embeddings.", "encoder.layer.0.", "encoder.layer.1.")):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(kept["encoder.layer.3.output.dense.weight"], before["encoder.layer.3.output.dense.weight"])


def test_a_loss_that_is_not_a_number_stops_the_tuning_and_nothing_is_written(
    encoder: EncoderFolder, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(encoder.path, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["bert.encoder.layer.3.output.dense.bias"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    folder = resolve_encoder(str(broken), tmp_path / "cache", silent)
    offers = few_offers(encoder, ["red lamp", "blue tea"] * 10)
    with pytest.raises(TrainingError, match=r"encoder's loss is not a number.*teacher\.tuning\.learning_rate"):
        tune_encoder(folder, READING, tuning("full", epochs=1), offers, tmp_path / "out", silent)
    assert not (tmp_path / "out" / "encoder").exists()


def test_settings_that_cannot_be_followed_are_refused_with_what_to_do(
    encoder: EncoderFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match="fine_tuning needs `encoder` among the experts"):
        TeacherSettings(experts=("ngrams",), fine_tuning="top")
    with pytest.raises(ValidationError, match="top_layer"):
        TeacherSettings.model_validate({"fine_tuning": "top", "tuning": {"top_layer": 2}})
    offers = few_offers(encoder, ["red lamp", "blue tea"] * 4)
    with pytest.raises(TrainingError, match=r"fewer layers.*top_layers: 5.*1 to 4"):
        tune_encoder(encoder, READING, tuning("top", top_layers=5), offers, tmp_path / "out", silent)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(TrainingError, match=r"peft, which is not installed.*pip install 'sortiment\[lora\]'"):
        tune_encoder(encoder, READING, tuning("lora"), offers, tmp_path / "out", silent)
    assert not (tmp_path / "out" / "encoder").exists()


def test_who_does_not_ask_for_tuning_gets_the_same_settings_and_files_as_ever(
    frozen: TeacherReport, home: Path
) -> None:
    idle = TeacherSettings(tuning=TuningSettings(epochs=9))
    assert TeacherSettings().model_dump() == idle.model_dump()
    assert not {"fine_tuning", "tuning"} & set(idle.model_dump(mode="json"))
    assert {"fine_tuning", "tuning"} < set(tuning("top").model_dump(mode="json"))
    assert TeacherSettings.model_validate(tuning("top").model_dump(mode="json")) == tuning("top")
    limited = TeacherSettings(kernel_mb=9)
    assert "kernel_mb" not in TeacherSettings().model_dump(mode="json")
    assert TeacherSettings.model_validate(limited.model_dump(mode="json")) == limited
    assert "tuning" not in frozen.summary()
    heads = {f"{name}.safetensors" for name in ("encoder_expert", "lifts", "training_offers")}
    assert {file.name for file in (home / "frozen").iterdir()} == {"classes.json", "teacher.json", *heads}


def test_equal_texts_are_left_out_together_and_every_class_is_in_every_fold() -> None:
    texts = [f"offer {number // 2}" if number % 2 else f"OFFER {number // 2}" for number in range(60)]
    labels = np.repeat([0, 1, 2], 20)
    fold = deal_folds(texts, labels, 3, seed=0)
    assert (fold[::2] == fold[1::2]).all()
    assert all(set(fold[labels == label]) == {0, 1, 2} for label in range(3))
    assert np.bincount(fold).tolist() == [20, 20, 20]


def test_one_long_text_does_not_make_all_texts_long() -> None:
    texts = [f"offer {number}" for number in range(2_000)] + ["long " * 2_000]
    tracemalloc.start()
    fold = deal_folds(texts, np.zeros(len(texts), np.int64), 3, seed=0)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.bincount(fold).tolist() == [667, 667, 667]
    assert peak_bytes < 2_000_000


def test_a_mistake_inside_the_department_costs_less_and_small_classes_count_more() -> None:
    names = {"a": [("Home", "Lamps")], "b": [("Home", "Chairs")], "c": [("Food", "Tea")]}
    departments = departments_of(names, ["a", "b", "c", "unknown"])
    assert departments.tolist() == [0, 0, 1, 2]
    labels, rows = np.array([0, 0, 0, 2]), np.arange(4)
    inside, outside = torch.tensor([[0.0, 4.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 4.0, 0.0]])

    def loss(logits: torch.Tensor, row: int, **knobs: Any) -> float:
        settings = TuningSettings(**knobs)
        objective = make_objective(labels, np.ones(4, np.float32), 4, departments, rows, settings, "cpu")
        return float(objective.loss(logits, torch.tensor([row])))

    for kind in ("balanced", "adjusted"):
        plain = {"tail_loss": kind, "tail_strength": 0.0}
        assert loss(inside, 0, department_share=0.3, **plain) < loss(outside, 0, department_share=0.3, **plain) - 0.5
        assert loss(inside, 0, department_share=0.0, **plain) == pytest.approx(
            loss(outside, 0, department_share=0.0, **plain)
        )
        flat = torch.zeros(1, 4)
        assert loss(flat, 3, tail_loss=kind, department_share=0.0) > loss(flat, 0, tail_loss=kind, department_share=0.0)
