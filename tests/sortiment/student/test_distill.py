"""Training a student end to end, on a tiny network."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sortiment.errors import TrainingError
from sortiment.settings import StudentSettings
from sortiment.student import StudentReport, epochs_for, load_classifier
from sortiment.student.corpus import add_transfer_titles, read_corpus
from sortiment.student.tokens import LEAST_READ
from sortiment.teacher.labelling import TRANSFER_SCHEMA
from tests.sortiment.student.distilling import distill, hashes_of, market_of

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
    return out, distill(tiny_market, tiny_encoder, quick_settings, out)


def test_a_student_learns_what_its_teacher_knows(trained: tuple[Path, StudentReport]) -> None:
    _, report = trained
    assert report.summary()["macro_f1"] > 0.95
    assert report.summary()["teacher_agreement"] > 0.95
    assert report.losses[-1] < report.losses[0]
    assert report.classes == 6
    assert report.offers == 2 * 6 * (36 + 60)
    assert report.labelled_offers == 2 * 6 * 36


def test_words_that_only_category_names_have_are_learned_from_them(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    words = [f"{first}{second}" for first in ("zul", "vek", "mor") for second in ("ano", "ibi")]
    names = {
        category: [("root", word), ("wurzel", f"{word} {word}")]
        for category, word in zip(tiny_market.classes, words, strict=True)
    }
    report = distill(tiny_market, tiny_encoder, quick_settings, tmp_path / "named", names=names)
    assert report.names == 6 * 4
    assert report.offers == 2 * 6 * (36 + 60)
    assert report.summary()["macro_f1"] > 0.95
    found = load_classifier(tmp_path / "named", device="cpu", precision="fp32").classify(words)
    assert [tiny_market.classes[best] for best in found.index] == list(names)
    few = quick_settings.model_copy(update={"most_names": 10})
    assert distill(tiny_market, tiny_encoder, few, tmp_path / "few", names=names).names == 6
    none = quick_settings.model_copy(update={"most_names": 0})
    assert distill(tiny_market, tiny_encoder, none, tmp_path / "none", names=names).names == 0


def test_made_up_titles_teach_what_no_offer_says_and_count_as_no_offer(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    soft = {key: shutil.copytree(folder, tmp_path / "soft" / key) for key, folder in tiny_market.soft_labels.items()}
    classes = tiny_market.classes
    texts = [f"{word} {noise}" for word in ("cactus", "ficus") for noise in ("red", "new", "set", "pro", "xl", "mini")]
    lamps = [classes.index("lamps")] * len(texts)
    answers = {"top_index": [[best] for best in lamps], "top_logit": [[-0.05]] * len(texts)}
    own = {"text": texts, "country": ["DE"] * len(texts), "first_key": [1] * len(texts), "second_key": [2] * len(texts)}
    columns = {**own, **answers, "rest_mass": [1 - np.exp(-0.05)] * len(texts)}
    made = pa.table(columns, schema=TRANSFER_SCHEMA)
    pq.write_table(made, soft["DE|home"] / "transfer_labels.parquet")
    market = market_of(tiny_market.samples, soft, classes)
    report = distill(market, tiny_encoder, quick_settings, tmp_path / "taught")
    assert report.transfer_titles == len(texts)
    assert report.offers == 2 * 6 * (36 + 60)
    found = load_classifier(tmp_path / "taught", device="cpu", precision="fp32").classify(["cactus 2x", "best ficus"])
    assert [classes[best] for best in found.index] == ["lamps", "lamps"]


def test_what_repeats_another_countrys_test_is_not_learned_nor_what_was_made_of_it(
    tiny_encoder: Path, quick_settings: StudentSettings, workshop: Any, tmp_path: Path
) -> None:
    truth = ["tea", "coffee"] * 20
    titles = {country: [f"{name} {country} {row}" for row, name in enumerate(truth)] for country in ("at", "de")}
    splits = [("train", "train", "train", "validation", "test")[row % 5] for row in range(len(truth))]
    titles["at"][0], titles["at"][1] = titles["de"][4].upper(), titles["de"][3]  # training here, held out there
    samples, soft = {}, {}
    for country, own in titles.items():
        key = f"{country.upper()}|food"
        samples[key] = workshop.sample(tmp_path / "sample" / country, country.upper(), own, truth, splits)
        soft[key] = workshop.soft_labels(tmp_path / "soft" / country, samples[key], truth, ["coffee", "tea"])
    made = {"text": ["tea one", "tea two", "tea three"], "country": ["AT"] * 3, "rest_mass": [0.0] * 3}
    made |= {"first_key": [0, 2, 2], "second_key": [5, 1, 5], "top_index": [[1]] * 3, "top_logit": [[0.0]] * 3}
    pq.write_table(pa.table(made, schema=TRANSFER_SCHEMA), soft["AT|food"] / "transfer_labels.parquet")
    market = market_of(samples, soft, ["coffee", "tea"])
    corpus = add_transfer_titles(read_corpus(samples, soft, market.classes, ["title"]), soft)
    train = [corpus.texts[row] for row in corpus.rows("train")]
    assert not {titles["at"][0], titles["at"][1], "tea one", "tea two"} & set(train)
    assert {titles["at"][2], titles["de"][0], "tea three"} < set(train)
    assert len(corpus.rows("test")) == 16
    report = distill(market, tiny_encoder, quick_settings, tmp_path / "out")
    assert (report.offers, report.left_out_offers, report.kept_repeats) == (2 * 24 - 2, 2, 0)
    assert report.transfer_titles == 1


def test_soft_labels_of_an_earlier_version_are_refused(
    tiny_market: Any, tiny_encoder: Path, quick_settings: StudentSettings, tmp_path: Path
) -> None:
    soft = {key: shutil.copytree(folder, tmp_path / "soft" / key) for key, folder in tiny_market.soft_labels.items()}
    file = soft["DE|home"] / "transfer_labels.parquet"
    pq.write_table(TRANSFER_SCHEMA.empty_table().drop_columns(["first_key", "second_key"]), file)
    market = market_of(tiny_market.samples, soft, tiny_market.classes)
    with pytest.raises(TrainingError, match=r"what their titles were made from.*materialize teacher_soft_labels"):
        distill(market, tiny_encoder, quick_settings, tmp_path / "out")
    file.unlink()
    with pytest.raises(TrainingError, match=r"transfer_labels\.parquet is missing.*materialize the artifact again"):
        distill(market, tiny_encoder, quick_settings, tmp_path / "out")


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


def test_what_a_shop_adds_behind_a_title_is_read_no_further_than_titles_are_long(
    trained: tuple[Path, StudentReport],
) -> None:
    folder, report = trained
    student = load_classifier(folder, device="cpu", precision="fp32")
    assert LEAST_READ <= student.max_tokens == report.max_tokens < 64
    assert AutoTokenizer.from_pretrained(folder).model_max_length == report.max_tokens
    short, long = (" ".join([TITLES[0], *["free delivery"] * times]) for times in (20, 300))
    np.testing.assert_allclose(student.score([short]), student.score([long]))


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
    settings = StudentSettings(epochs=3, batch_offers=32, least_steps=1_000, alignment=0.0)
    assert epochs_for(3_200, settings) == 10
    assert epochs_for(320_000, settings) == 3
    assert epochs_for(0, settings) == 1_000
    assert epochs_for(10, settings.model_copy(update={"least_steps": 0})) == 3


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
    distill(tiny_market, tiny_encoder, quick_settings, tmp_path)
    assert hashes_of(tmp_path) == hashes_of(trained[0])
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
    report = distill(tiny_market, tiny_encoder, quick_settings, tmp_path)
    assert report.resumed_epochs == 1
    assert hashes_of(tmp_path) == hashes_of(trained[0])


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
    market = market_of(
        old.samples | {"DE|garden": new.samples["DE|garden"]},
        old.soft_labels | {"DE|garden": new.soft_labels["DE|garden"]},
        old.classes,
    )
    settings = quick_settings.model_copy(update={"retrain_learning_rate": 1e-3, "retrain_epochs": 4})
    report = distill(market, tiny_encoder, settings, tmp_path / "out", start_from=trained[0])
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
    report = distill(tiny_market, tiny_encoder, settings, tmp_path / "out", start_from=trained[0], changed=[changed])
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
    market = market_of(
        old.samples | {"DE|food": new.samples["DE|food"]},
        old.soft_labels | {"DE|food": new.soft_labels["DE|food"]},
        old.classes,
    )
    settings = quick_settings.model_copy(update={"retrain_learning_rate": 1e-3})
    report = distill(market, tiny_encoder, settings, tmp_path / "out", start_from=trained[0], changed=["DE|food"])
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
