"""A teacher is trained on all partitions, scored on what it did not see, and labels every offer of a sample."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sortiment.encoders import EncoderFolder, resolve_encoder
from sortiment.errors import TrainingError
from sortiment.progress import silent
from sortiment.settings import EncoderSettings, TeacherSettings
from sortiment.teacher import Teacher, TeacherReport, label_samples, load_teacher, train_teacher
from sortiment.teacher.labelling import answer_in_parts, top_classes
from sortiment.teacher.transfer import TransferTitles
from tests.sortiment.teacher.samples import write_sample

FP32 = EncoderSettings(precision="fp32")
SETTINGS = TeacherSettings(label_top_k=3, most_transfer_titles=2)
WORDS = {"a" * 12: "lamp bulb", "b" * 12: "phone galaxy", "c" * 12: "tea matcha", "d" * 12: "coffee espresso"}
THINGS = [
    ("lamp", "bulb"),
    ("phone", "galaxy"),
    ("tea", "matcha"),
    ("coffee", "espresso"),
    ("cactus", "ficus"),
    ("sofa", "couch"),
]
ONCE, TEST_ONLY = "e" * 12, "f" * 12


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, draw = tmp_path_factory.mktemp("samples"), np.random.default_rng(0)
    folders = {}
    for at, country in enumerate(("DE", "GB")):
        rows: list[tuple[str, str | None, str]] = []
        for label, words in WORDS.items():
            for number in range(60):
                own = [draw.choice(words.split()), *draw.choice(["red", "new", "set"], 2)]
                title = " ".join([*draw.permutation(own), country.lower()])
                wrong = number == 0  # a training offer with the next category's label
                shown = list(WORDS)[(list(WORDS).index(label) + 1) % 4] if wrong else label
                rows.append((title, shown, ("train", "train", "train", "validation", "test")[number % 5]))
        folders[f"{country}|all"] = write_sample(root / country / "all", country, rows, 10_000 * at)
        unlabelled: list[tuple[str, str | None, str]] = [("new phone 2x", None, "train"), ("red tea", None, "train")]
        folders[f"{country}|unlabelled"] = write_sample(
            root / country / "none", country, unlabelled, 10_000 * at + 5_000
        )
    rare: list[tuple[str, str | None, str]] = [("cactus xl", ONCE, "train"), ("mini ficus", TEST_ONLY, "test")]
    folders["GB|rare"] = write_sample(root / "rare", "GB", rare, 90_000)
    return folders


@pytest.fixture(scope="module")
def report(samples: dict[str, Path], encoder: EncoderFolder, home: Path) -> TeacherReport:
    return train_teacher(samples, encoder, FP32, SETTINGS, home / "teacher", home / "features")


@pytest.fixture(scope="module")
def teacher(report: TeacherReport, encoder: EncoderFolder, home: Path) -> Teacher:
    return load_teacher(home / "teacher", encoder, FP32, home / "features")


@pytest.fixture(scope="module")
def labels(teacher: Teacher, samples: dict[str, Path], home: Path) -> Path:
    label_samples(teacher, samples, {key: home / "labels" / key for key in samples}, SETTINGS)
    return home / "labels"


def test_categories_with_training_offers_are_taught_and_the_others_are_named(report: TeacherReport) -> None:
    assert report.classes == 5
    assert report.untaught == (TEST_ONLY,)
    assert report.single_offer_classes == 1


def test_a_training_offer_that_repeats_another_countrys_test_is_not_learned(
    samples: dict[str, Path], encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    held_out = pq.read_table(samples["DE|all"] / "sample.parquet").filter(pc.field("split") == "test")
    title, label = held_out["title"][0].as_py(), held_out["category_id"][0].as_py()
    rows: list[tuple[str, str | None, str]] = [(title.upper(), label, "train"), ("tea from here", label, "train")]
    lent = samples | {
        "AT|all": write_sample(tmp_path / "all", "AT", rows, 200_000),
        "AT|unlabelled": write_sample(tmp_path / "none", "AT", [(title, None, "train")], 300_000),
    }
    report = train_teacher(lent, encoder, FP32, SETTINGS, tmp_path / "teacher", home / "features")
    assert (report.left_out_offers, report.kept_repeats) == (2, 0)
    teacher = load_teacher(tmp_path / "teacher", encoder, FP32, home / "features")
    assert teacher.training.find(np.array([200_000, 200_001], np.uint64))[0].tolist() == [1]
    assert report.unlabelled_offers == 4


def test_both_held_out_splits_are_scored(report: TeacherReport) -> None:
    assert report.scores["validation"]["teacher"]["offers"] == 96
    assert report.scores["test"]["teacher"]["offers"] == 97
    assert report.scores["test"]["teacher"]["accuracy"] > 0.95
    assert set(report.scores["test"]) == {"teacher", "encoder", "ngrams"}
    assert report.summary()["link"]["shares"]["ngrams"] > 0
    json.dumps(report.summary())


def test_soft_labels_are_in_the_samples_order_and_hold_all_probability(labels: Path, samples: dict[str, Path]) -> None:
    for key, sample in samples.items():
        soft, offers = pq.read_table(labels / key / "soft_labels.parquet"), pq.read_table(sample / "sample.parquet")
        assert soft["offer_key"].equals(offers["offer_key"])
        logits = np.array(soft["top_logit"].to_pylist())
        assert logits.shape == (len(offers), 3)
        assert (np.diff(logits, axis=1) <= 0).all()
        np.testing.assert_allclose(np.exp(logits).sum(1) + soft["rest_mass"].to_numpy(), 1.0, atol=1e-4)
        assert json.loads((labels / key / "classes.json").read_text(encoding="utf-8")) == sorted([*WORDS, ONCE])


def test_a_wrong_label_that_was_trained_on_does_not_leak_into_the_soft_label(
    labels: Path, samples: dict[str, Path]
) -> None:
    soft = pq.read_table(labels / "DE|all" / "soft_labels.parquet")
    offers = pq.read_table(samples["DE|all"] / "sample.parquet")
    classes = sorted([*WORDS, ONCE])
    best = [classes[index[0]] for index in soft["top_index"].to_pylist()]
    wrong = list(range(0, 240, 60))
    assert all(offers["split"][row].as_py() == "train" for row in wrong)
    assert not any(best[row] == offers["category_id"][row].as_py() for row in wrong)
    assert [best[row] for row in wrong] == list(WORDS)


def test_a_teacher_is_as_sure_of_its_training_offers_as_of_others(labels: Path, samples: dict[str, Path]) -> None:
    soft = pq.read_table(labels / "DE|all" / "soft_labels.parquet")
    split = np.array(pq.read_table(samples["DE|all"] / "sample.parquet")["split"].to_pylist())
    sure = np.exp([logit[0] for logit in soft["top_logit"].to_pylist()])
    assert abs(sure[split == "train"].mean() - sure[split == "test"].mean()) < 0.05


def test_made_up_titles_get_the_answer_that_the_teacher_gives_such_a_title(
    teacher: Teacher, samples: dict[str, Path], labels: Path
) -> None:
    for key, sample in samples.items():
        made, offers = pq.read_table(labels / key / "transfer_labels.parquet"), pq.read_table(sample / "sample.parquet")
        train = [
            title
            for title, split in zip(*offers.select(["title", "split"]).to_pydict().values(), strict=True)
            if split == "train"
        ]
        texts = made["text"].to_pylist()
        assert {word for text in texts for word in text.split()} <= {word for text in train for word in text.split()}
        assert not set(texts) & set(train)
        if made.num_rows:
            asked = teacher.log_probabilities_of(TransferTitles(texts, made["country"].to_pylist(), []), silent)
            logits = np.array(made["top_logit"].to_pylist())
            np.testing.assert_allclose(logits, -np.sort(-asked, 1)[:, :3], atol=1e-3)
            found = np.take_along_axis(asked, np.array(made["top_index"].to_pylist()), 1)
            np.testing.assert_allclose(found, logits, atol=1e-3)
    report = json.loads((labels / "DE|all" / "report.json").read_text(encoding="utf-8"))
    assert report["transfer_titles"] == pq.read_table(labels / "DE|all" / "transfer_labels.parquet").num_rows > 100


def test_so_many_titles_are_made_for_each_offer_as_make_the_wanted_number_in_all(
    teacher: Teacher, samples: dict[str, Path], tmp_path: Path
) -> None:
    wanted = SETTINGS.model_copy(update={"transfer_titles": teacher.offers_read // 2})
    made = label_samples(teacher, samples, {key: tmp_path / key for key in samples}, wanted)
    total = sum(report["transfer_titles"] for report in made.values())
    # titles of three words of a handful often come out twice, or as some offer's own
    assert 0.2 * teacher.offers_read < total <= 0.5 * teacher.offers_read
    none = SETTINGS.model_copy(update={"transfer_titles": 0})
    made = label_samples(teacher, samples, {"DE|all": tmp_path / "none"}, none)
    assert made["DE|all"]["transfer_titles"] == 0
    assert pq.read_table(tmp_path / "none" / "transfer_labels.parquet").num_rows == 0


def test_the_same_samples_give_the_same_bytes(
    samples: dict[str, Path], encoder: EncoderFolder, report: TeacherReport, home: Path, tmp_path: Path
) -> None:
    train_teacher(dict(reversed(samples.items())), encoder, FP32, SETTINGS, tmp_path / "again", tmp_path / "features")
    for file in sorted((home / "teacher").iterdir()):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_what_a_killed_run_labelled_is_kept(teacher: Teacher, samples: dict[str, Path], labels: Path) -> None:
    done = labels / "DE|all" / "soft_labels.parquet"
    before = done.stat().st_mtime_ns
    out = {key: labels / key for key in samples}
    files = ("soft_labels.parquet", "transfer_labels.parquet")
    whole = [(out["GB|all"] / file).read_bytes() for file in files]
    shutil.rmtree(out["GB|all"])
    again = label_samples(teacher, samples, out, SETTINGS)
    assert done.stat().st_mtime_ns == before
    # Alone it gets what it got in the company of the other partitions.
    assert [(out["GB|all"] / file).read_bytes() for file in files] == whole
    assert again["GB|all"]["offers"] == 240
    assert again["GB|unlabelled"]["agreement"] is None


def test_a_teacher_can_be_of_one_expert(samples: dict[str, Path], encoder: EncoderFolder, tmp_path: Path) -> None:
    alone = SETTINGS.model_copy(update={"experts": ("ngrams",)})
    report = train_teacher(samples, encoder, FP32, alone, tmp_path / "teacher", tmp_path / "features")
    assert report.link.shares == {"ngrams": 1.0}
    assert not (tmp_path / "features").exists()


def test_beyond_the_limit_of_landmarks_a_teacher_still_teaches(
    samples: dict[str, Path], encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    few = SETTINGS.model_copy(update={"exact_offers": 100, "landmarks": 40})
    report = train_teacher(samples, encoder, FP32, few, tmp_path / "teacher", home / "features")
    assert report.scores["test"]["teacher"]["accuracy"] > 0.9
    teacher = load_teacher(tmp_path / "teacher", encoder, FP32, home / "features")
    made = label_samples(teacher, samples, {"DE|all": tmp_path / "labels"}, few)
    assert made["DE|all"]["left_out"] == 144


def test_categories_too_many_for_the_memory_are_refused_before_anything_is_embedded(
    encoder: EncoderFolder, tmp_path: Path
) -> None:
    rows: list[tuple[str, str | None, str]] = [
        (f"thing {number} {split}", f"{number:012d}", split)
        for number in range(150)
        for split in ("train", "train", "test")
    ]
    samples = {"GB|many": write_sample(tmp_path / "many", "GB", rows, 1)}
    names = {f"{number:012d}": [("Things", f"thing {number}"), ("Dinge", f"ding {number}")] for number in range(150)}
    small = SETTINGS.model_copy(update={"exact_offers": 100, "landmarks": 10, "kernel_mb": 1})
    share = (samples, encoder, FP32)
    told = r"landmarks are too many; seen: '300, which take about 2 MB'; allowed: 1 MB, by teacher\.kernel_mb"
    with pytest.raises(TrainingError, match=told):
        train_teacher(*share, small, tmp_path / "teacher", tmp_path / "features")
    exact = small.model_copy(update={"exact_offers": 300, "name_landmarks": 1_000})
    with pytest.raises(TrainingError, match=r"category names are too many.*lower teacher\.name_landmarks"):
        train_teacher(*share, exact, tmp_path / "teacher", tmp_path / "features", names=names)
    assert not (tmp_path / "features").exists() and not (tmp_path / "teacher").exists()


def test_answers_in_parts_are_stored_as_those_of_the_whole() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), 2_500)
    answers = np.log(probabilities).astype(np.float32)
    asked: list[slice] = []

    def answer(part: slice) -> np.ndarray:
        asked.append(part)
        return answers[part]

    found = answer_in_parts(2_500, 7, 3, answer, numbers_at_most=7 * 1_100)
    assert len(asked) == 3
    for part, whole in zip(found, top_classes(answers, 3), strict=True):
        np.testing.assert_array_equal(part, whole)
    assert [part.shape for part in answer_in_parts(0, 7, 3, answer)] == [(0, 3), (0, 3), (0,)]


def test_without_validation_offers_the_link_is_fitted_on_left_out_training_offers(
    samples: dict[str, Path], encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    alone = {
        "GB|rare": samples["GB|rare"],
        "more": write_sample(tmp_path / "more", "GB", [("red lamp", "a" * 12, "train")], 1),
    }
    report = train_teacher(alone, encoder, FP32, SETTINGS, tmp_path / "teacher", home / "features")
    assert report.linked_on == "validation and left-out train"


def test_names_help_where_offers_are_few_and_are_left_out_where_they_say_nothing(
    samples: dict[str, Path], encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    draw = np.random.default_rng(1)
    things = {f"{number:012d}": f"{thing} {kind}" for number, (thing, kind) in enumerate(THINGS)}
    rows: list[tuple[str, str | None, str]] = []
    for label, thing in things.items():
        for number in range(30):
            title = " ".join([*draw.choice(["new", "set", "xl", "red"], 2), draw.choice(thing.split())])
            rows.append((title, label, "train" if number < 2 else ("validation", "test")[number % 2]))
    folder = {"GB|few": write_sample(tmp_path / "few", "GB", rows, 1)}
    named = {label: [("Everything", *thing.split())] for label, thing in things.items()}
    codes = {label: [("A1", f"Q{number}")] for number, label in enumerate(things)}

    def train(name: str, names: dict[str, list[tuple[str, ...]]]) -> TeacherReport:
        return train_teacher(folder, encoder, FP32, SETTINGS, tmp_path / name, home / "features", names=names)

    without, with_names, with_codes = train("without", {}), train("names", named), train("codes", codes)
    assert with_names.names
    right = [each.scores["test"]["teacher"]["accuracy"] for each in (without, with_names, with_codes)]
    assert right[1] > right[0] + 0.05
    assert with_codes.names == {}
    assert right[2] == right[0]
    teacher = load_teacher(tmp_path / "names", encoder, FP32, home / "features")
    made = label_samples(teacher, folder, {"GB|few": tmp_path / "labels"}, SETTINGS)
    assert made["GB|few"]["agreement"] > right[0]


def test_unlabelled_offers_tell_what_is_frequent_and_a_country_without_labels_has_its_own_lift(
    samples: dict[str, Path], encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    tea = "c" * 12
    phones: list[tuple[str, str | None, str]] = [(f"new phone {number}x", None, "train") for number in range(300)]
    given = samples | {
        "DE|more": write_sample(tmp_path / "more", "DE", phones, 30_000),
        "FR|unlabelled": write_sample(tmp_path / "fr", "FR", [(title, None, "train") for title, *_ in phones], 40_000),
    }

    def train(name: str, settings: TeacherSettings) -> tuple[TeacherReport, Teacher]:
        report = train_teacher(given, encoder, FP32, settings, tmp_path / name, home / "features")
        return report, load_teacher(tmp_path / name, encoder, FP32, home / "features")

    report, corrected = train("corrected", SETTINGS)
    assert report.countries_without_labels == ("FR",)
    assert report.unlabelled_offers == 604
    plain = train("plain", SETTINGS.model_copy(update={"share_offers": 0}))[1]
    rise = corrected.lifts.common - plain.lifts.common
    assert rise.argmax() == corrected.classes.index("b" * 12)
    own = corrected.lifts.of_country["FR"] - plain.lifts.common
    assert own.argmin() == corrected.classes.index("b" * 12)
    assert own[corrected.classes.index(tea)] > 0


def test_one_category_is_not_enough(samples: dict[str, Path], encoder: EncoderFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="two categories"):
        train_teacher({"GB|rare": samples["GB|rare"]}, encoder, FP32, SETTINGS, tmp_path / "t", tmp_path / "f")
    with pytest.raises(TrainingError, match="no samples"):
        train_teacher({}, encoder, FP32, SETTINGS, tmp_path / "t", tmp_path / "f")
    assert not (tmp_path / "t").exists()


def test_without_an_offer_to_test_on_nothing_is_trained(encoder: EncoderFolder, tmp_path: Path) -> None:
    rows: list[tuple[str, str | None, str]] = [(f"thing {number}", f"{number:012d}", "train") for number in range(10)]
    single = {"GB|all": write_sample(tmp_path / "single", "GB", rows, 0)}
    with pytest.raises(TrainingError, match=r"no labelled offer is in the test split.*10 categories"):
        train_teacher(single, encoder, FP32, SETTINGS, tmp_path / "t", tmp_path / "f")
    assert not (tmp_path / "f").exists()  # before anything was embedded


def test_a_teacher_is_not_read_with_another_encoder_or_other_texts(
    teacher: Teacher, encoder: EncoderFolder, home: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(encoder.path, tmp_path / "copy"))
    config = (copy / "config.json").read_text(encoding="utf-8")
    (copy / "config.json").write_text(
        config.replace('"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-6'), encoding="utf-8"
    )
    with pytest.raises(TrainingError, match="another encoder"):
        load_teacher(home / "teacher", resolve_encoder(str(copy), tmp_path, silent), FP32, home / "features")
    with pytest.raises(TrainingError, match=r"encoder\.inputs"):
        load_teacher(home / "teacher", encoder, EncoderSettings(inputs=("title", "brand")), home / "features")
