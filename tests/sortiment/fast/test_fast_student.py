"""The fast student end to end, its segmentation and its n-grams."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortiment.artifacts import file_sha256
from sortiment.errors import TrainingError
from sortiment.fast import FastReport, distill_fast, load_fast_classifier
from sortiment.fast.ngrams import assign_rows, hash_ngrams
from sortiment.fast.pieces import Segmenter
from sortiment.settings import FastSettings

TITLES = ["red smartphone mini", "case for galaxy", "espresso", "best matcha tea set", "lantern 2x", "xl armchair pro"]
TRUTH = ["phones", "cases", "coffee", "tea", "lamps", "chairs"]


@pytest.fixture(scope="module")
def trained(tiny_market: Any, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FastReport]:
    out = tmp_path_factory.mktemp("fast")
    return out, _distill(tiny_market, tiny_encoder, out)


def test_a_fast_student_learns_what_its_teacher_knows(trained: tuple[Path, FastReport]) -> None:
    folder, report = trained
    assert report.macro_f1 > 0.95
    assert report.residual < 0.02
    assert 0 < report.ngrams < 2_000
    classifier = load_fast_classifier(folder)
    assert [classifier.classes[index] for index in classifier.classify(TITLES).index] == TRUTH


def test_the_same_inputs_give_the_same_bytes(
    trained: tuple[Path, FastReport], tiny_market: Any, tiny_encoder: Path, tmp_path: Path
) -> None:
    _distill(tiny_market, tiny_encoder, tmp_path)
    assert {file.name: file_sha256(file) for file in tmp_path.iterdir()} == {
        file.name: file_sha256(file) for file in trained[0].iterdir()
    }


def test_scores_do_not_depend_on_the_batch(trained: tuple[Path, FastReport]) -> None:
    classifier = load_fast_classifier(trained[0])
    texts = [*TITLES, "", "äß 漢字 unknown", " ".join(["tea"] * 500)]
    whole = classifier.score(texts)
    np.testing.assert_allclose(np.concatenate([classifier.score([text]) for text in texts]), whole, atol=1e-5)
    assert classifier.classify(texts, ["DE"] * len(texts), batch=2).index.tolist() == whole.argmax(1).tolist()
    assert classifier.classify([]).index.shape == (0,)


def test_probabilities_are_calibrated_and_best_first(trained: tuple[Path, FastReport]) -> None:
    answer = load_fast_classifier(trained[0]).classify(TITLES, ["GB"] * 6, top_k=6)
    np.testing.assert_allclose(answer.top_probability.sum(1), 1, atol=1e-5)
    assert (np.diff(answer.top_probability, axis=1) <= 0).all()
    np.testing.assert_array_equal(answer.confidence, answer.top_probability[:, 0])


def test_pieces_are_those_of_the_best_segmentation_in_any_case() -> None:
    segmenter = Segmenter([("▁", -2.0), ("▁tea", -3.0), ("▁te", -3.0), ("a", -4.0), ("m", -4.0), ("▁team", -9.0)])
    ids, lengths = segmenter.cut(["tea TEAM", "", "Té"], max_pieces=10)
    names = ["<unk>", *(text for text, _ in segmenter.pieces)]
    assert [names[index] for index in ids[:3]] == ["▁tea", "▁tea", "m"]
    assert lengths[:2].tolist() == [3, 0]


def test_equal_words_and_pairs_fall_into_equal_buckets_wherever_they_stand() -> None:
    starts = np.array([True, True, False, True])  # piece 2 goes on with a word
    one, one_count = hash_ngrams(np.array([1, 2, 3], np.int32), np.array([3]), starts)
    two, two_count = hash_ngrams(np.array([3, 3, 1, 2, 3, 1], np.int32), np.array([1, 4, 1]), starts)
    assert one_count.tolist() == [2]  # the word "1 2" and the pair of it with "3"
    assert two_count.tolist() == [0, 3, 0]  # no pair reaches over the end of a text
    assert set(one.tolist()) <= set(two.tolist())


def test_only_ngrams_that_repeat_get_a_row() -> None:
    rows = assign_rows(np.array([5, 9, 5, 7, 9, 9], np.int32), least=2)
    assert (rows[5], rows[9], rows[7]) == (0, 1, -1)


def test_files_of_different_runs_are_refused(trained: tuple[Path, FastReport], tmp_path: Path) -> None:
    for file in trained[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "classes.json").write_text(json.dumps(["one", "two"]), encoding="utf-8")
    with pytest.raises(TrainingError, match="do not fit together"):
        load_fast_classifier(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"fast\.json is missing"):
        load_fast_classifier(tmp_path)


def _distill(market: Any, encoder: Path, out: Path) -> FastReport:
    return distill_fast(market.samples, market.soft_labels, market.classes, encoder, FastSettings(), out)
