"""The fast student end to end, its words and their spelling."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sortiment.artifacts import file_sha256
from sortiment.errors import TrainingError
from sortiment.fast import FastReport, distill_fast, load_fast_classifier, passes_for
from sortiment.fast.averaging import Averaging, teach_averaging
from sortiment.fast.features import collect_features
from sortiment.fast.spelling import pair_buckets, spell
from sortiment.fast.words import WordReader, cut_words, list_words
from sortiment.progress import silent
from sortiment.settings import FastSettings
from sortiment.student.alignment import Embeddings
from sortiment.student.tokens import LEAST_READ

TITLES = ["red smartphone mini", "case for mini", "espresso", "best matcha tea set", "lantern 2x", "xl armchair pro"]
TRUTH = ["phones", "cases", "coffee", "tea", "lamps", "chairs"]
UNSEEN = ["quirk", "wodge", "vexil", "zymurg", "fjord", "nymph"]


@pytest.fixture(scope="module")
def trained(tiny_market: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FastReport]:
    out = tmp_path_factory.mktemp("fast")
    return out, _distill(tiny_market, out)


def test_a_fast_student_learns_what_its_teacher_knows(trained: tuple[Path, FastReport]) -> None:
    folder, report = trained
    assert report.summary()["macro_f1"] > 0.95
    assert report.residual < 0.02
    assert 0 < report.words < report.runs < 5_000
    classifier = load_fast_classifier(folder)
    assert [classifier.classes[index] for index in classifier.classify(TITLES).index] == TRUTH


def test_the_same_inputs_give_the_same_bytes(
    trained: tuple[Path, FastReport], tiny_market: Any, tmp_path: Path
) -> None:
    _distill(tiny_market, tmp_path)
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


def test_what_a_shop_adds_behind_a_title_is_read_no_further_than_titles_are_long(
    trained: tuple[Path, FastReport],
) -> None:
    folder, report = trained
    classifier = load_fast_classifier(folder)
    assert LEAST_READ <= report.max_words < FastSettings().max_words
    short, long = (" ".join([TITLES[0], *["free delivery"] * times]) for times in (20, 300))
    np.testing.assert_allclose(classifier.score([short]), classifier.score([long]))


def test_probabilities_are_calibrated_and_best_first(trained: tuple[Path, FastReport]) -> None:
    answer = load_fast_classifier(trained[0]).classify(TITLES, ["GB"] * 6, top_k=6)
    np.testing.assert_allclose(answer.top_probability.sum(1), 1, atol=1e-5)
    assert (np.diff(answer.top_probability, axis=1) <= 0).all()
    np.testing.assert_array_equal(answer.confidence, answer.top_probability[:, 0])


def test_a_word_that_training_never_saw_is_known_by_its_spelling(trained: tuple[Path, FastReport]) -> None:
    classifier = load_fast_classifier(trained[0])
    unseen = ["smartphonesx", "espressoz", "armchairly"]
    assert not set(unseen) & set(classifier.network.reader.words)
    found = [classifier.classes[index] for index in classifier.classify(unseen).index]
    assert found == ["phones", "coffee", "chairs"]


def test_words_are_runs_of_letters_and_digits_in_any_case_and_form() -> None:
    reader = WordReader(["galaxy", "s8", "stra\u00dfe".casefold()])
    texts = ["Galaxy-S8,  STRASSE", "", "new \uff33\uff18 new other"]
    reading = reader.read(texts, 64)
    assert reading.words.tolist() == [0, 1, 2, 3, 1, 3, 4]
    assert reading.lengths.tolist() == [3, 0, 4]
    assert reader.read(texts, 2).lengths.tolist() == [2, 0, 2]
    assert list_words(texts) == ["galaxy", "new", "other", "s8", "strasse"]


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("AZÚCAR Ñora crème", ["azucar", "nora", "creme"]),
        ("Ärmel f\u00fcr fu\u0308r", ["armel", "fur", "fur"]),
        ("Й ΆΛΦΑ", ["и", "αλφα"]),
        ("ガム カム 한국어", ["ガム", "カム", "한국어"]),  # a mark that is no accent makes another word
    ],
)
def test_accents_make_no_other_word(title: str, words: list[str]) -> None:
    assert cut_words(title) == words


def test_what_a_reader_learned_is_forgotten_when_it_is_too_much() -> None:
    reader = WordReader(["tea"], chunks_at_most=2)
    assert reader.read(["a b c tea"], 64).words.tolist() == [1, 2, 3, 0]
    assert reader.read(["c tea"], 64).words.tolist() == [1, 0]
    assert len(reader.spellings) == 1


def test_a_spelling_marks_where_a_word_begins_and_ends() -> None:
    assert spell("ab").size == 3 + 2 + 1
    assert set(spell("tea").tolist()) - set(spell("teapot").tolist())  # its end is another
    assert set(spell("a\ud800").tolist())  # half a character is no reason to fail


def test_pairs_fall_into_the_same_bucket_wherever_they_stand_and_their_order_counts() -> None:
    one = pair_buckets(np.array([5, 7, 5, 7], np.int32))
    assert one[0] == one[2] != one[1]


def test_the_sum_of_a_text_equals_the_product_of_its_features(tiny_market: Any, tmp_path: Path) -> None:
    texts = ["red tea set", "tea pot", "red red lamp", ""]
    features = collect_features(texts, 64, 1, 10_000)
    squares = features.texts @ np.diag(features.mass) @ features.texts.T.toarray()
    assert np.diag(squares)[:2] == pytest.approx(1, abs=1e-5)
    values = np.random.default_rng(0).normal(size=(features.own.size, 2)).astype(np.float32)
    rows, runs = features.spread(values)
    np.testing.assert_allclose(rows, features.own[:, None] ** 2 * values + features.spelling @ runs, atol=1e-4)


def test_further_texts_get_features_and_no_rows() -> None:
    texts = ["red tea set", "tea pot"]
    alone = collect_features(texts, 64, 1, 10_000)
    more = collect_features(texts, 64, 1, 10_000, further=["pot set", "red tea"])
    assert (more.words, more.pairs.tolist(), more.runs.tolist()) == (
        alone.words,
        alone.pairs.tolist(),
        alone.runs.tolist(),
    )
    np.testing.assert_array_equal(more.texts[:2].toarray(), alone.texts.toarray())
    assert (more.texts[2:].toarray() != 0).sum(1).tolist() == [
        2,
        3,
    ]  # two words, of which no offer has the pair; one has


def test_what_a_text_is_composed_of_sums_to_its_rows() -> None:
    features = collect_features(["red tea set", "tea pot", ""], 64, 1, 10_000)
    parts = features.composed()
    vectors = np.random.default_rng(0).normal(size=(parts.shape[1], 3)).astype(np.float32)
    own, runs = vectors[: features.table_rows], vectors[features.table_rows :]
    rows = features.own[: features.table_rows, None] * own + features.spelling[: features.table_rows] @ runs
    np.testing.assert_allclose(parts @ vectors, features.texts[:, : features.table_rows] @ rows, atol=1e-4)


def test_the_network_learns_what_no_sum_of_words_says() -> None:
    """Of two words each alone says nothing: their product does. A linear model is right on half of them."""
    fillers = [f"filler{number}" for number in range(40)]
    chance = np.random.default_rng(0)
    signs = chance.integers(2, size=(600, 2))
    titles = [f"{'qq' if a else 'ww'} {chance.choice(fillers)} {'zz' if b else 'xx'}" for a, b in signs]
    truth = signs.sum(1) % 2
    features = collect_features(titles, 64, 1, 10_000)
    settings = FastSettings(width=32, hidden=32, least_steps=600, batch_offers=64, learning_rate=1e-2)

    def answers(rows: Any) -> Any:
        sure = np.ones((len(rows), 1), np.float32)
        return truth[rows, None], sure, np.zeros(len(rows), np.float32)

    taught = teach_averaging(features, np.arange(600), answers, 2, settings, silent("", None).__enter__())
    assert (_layered(features, taught).argmax(1) == truth).mean() > 0.98
    assert taught.losses[-1] < 0.1 < taught.losses[0]
    assert len(taught.losses) == passes_for(600, settings) == 60


def _layered(features: Any, taught: Averaging) -> Any:
    import torch

    vectors = torch.from_numpy(features.texts[:, : features.table_rows] @ taught.rows)
    return taught.layers(vectors).numpy()


def test_its_states_are_drawn_to_the_embeddings() -> None:
    """Titles of two kinds, which no class tells apart and the embeddings do, also where a word was never seen."""
    chance = np.random.default_rng(1)
    kinds = chance.integers(2, size=300)
    things, colours = np.array(["lampion", "teapot"])[kinds], chance.choice(["red", "blue", "old"], 300)
    titles = [f"{thing} {colour} {n}" for n, (thing, colour) in enumerate(zip(things, colours, strict=True))]
    features = collect_features(titles, 64, 1, 10_000)
    towards = np.where(kinds[:, None] == 1, [[1.0, 0.0, 0.5]], [[0.0, 1.0, -0.5]]).astype(np.float16)
    embeddings = Embeddings(towards, np.arange(300), {})

    def answers(rows: Any) -> Any:
        return np.zeros((len(rows), 1), np.int64), np.ones((len(rows), 1), np.float32), np.zeros(len(rows), np.float32)

    spread = []
    for given in (None, embeddings):
        settings = FastSettings(width=16, hidden=16, least_steps=200, batch_offers=64, alignment=5.0)
        taught = teach_averaging(features, np.arange(300), answers, 2, settings, silent("", None).__enter__(), given)
        vectors = torch.from_numpy(features.texts[:, : features.table_rows] @ taught.rows)
        states = taught.layers.states(vectors).numpy()
        states /= np.linalg.norm(states, axis=1, keepdims=True)
        cosines, same = states @ states.T, kinds[:, None] == kinds
        spread.append(cosines[same].mean() - cosines[~same].mean())
    assert spread[1] > spread[0] + 0.2


def test_an_alignment_without_a_cache_of_embeddings_is_refused(tiny_market: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no cache of them was given; seen: 1\.0"):
        _distill(tiny_market, tmp_path / "out", alignment=1.0)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_a_number_is_told_with_what_to_do() -> None:
    features = collect_features(["tea set", "red lamp"], 64, 1, 10_000)

    def answers(rows: Any) -> Any:
        return np.zeros((len(rows), 1), np.int64), np.full((len(rows), 1), np.nan, np.float32), np.zeros(len(rows))

    with pytest.raises(TrainingError, match=r"not a number at step 0") as found:
        teach_averaging(features, np.arange(2), answers, 2, FastSettings(), silent("", None).__enter__())
    assert "fast.width 0" in str(found.value)


def test_the_answer_is_the_mean_of_both_opinions(trained: tuple[Path, FastReport]) -> None:
    import torch

    network = load_fast_classifier(trained[0]).network
    scored, layered = network.listen(TITLES)
    assert layered is not None
    first, second = network.temperatures
    mean = (torch.softmax(scored / first, 1) + torch.softmax(layered / second, 1)) / 2
    found = torch.softmax(torch.from_numpy(network.score(TITLES)) - network.lift, 1)
    np.testing.assert_allclose(found.numpy(), mean.numpy(), atol=1e-5)


def test_without_vectors_the_class_scores_stand_alone(tiny_market: Any, tmp_path: Path) -> None:
    report = _distill(tiny_market, tmp_path, width=0)
    assert report.summary()["macro_f1"] > 0.95
    assert (report.losses, report.opinion_temperatures, report.transfer_titles) == ((), (), 0)
    classifier = load_fast_classifier(tmp_path)
    assert [classifier.classes[index] for index in classifier.classify(TITLES).index] == TRUTH


def test_what_repeats_another_countrys_test_is_not_learned(workshop: Any, tmp_path: Path) -> None:
    truth = ["tea", "coffee"] * 20
    titles = {country: [f"{name} {country} {row}" for row, name in enumerate(truth)] for country in ("at", "de")}
    splits = [("train", "train", "train", "validation", "test")[row % 5] for row in range(len(truth))]
    titles["at"][0] = titles["de"][4]  # training here, test there
    samples = {
        f"{country}|food": workshop.sample(tmp_path / country, country.upper(), own, truth, splits)
        for country, own in titles.items()
    }
    soft = {key: workshop.soft_labels(tmp_path / key, samples[key], truth, ["coffee", "tea"]) for key in samples}
    report = distill_fast(samples, soft, ["coffee", "tea"], FastSettings(alignment=0.0), tmp_path / "out")
    assert (report.offers, report.left_out_offers, report.kept_repeats) == (2 * 24 - 1, 1, 0)


def test_beyond_the_most_weights_rare_words_lose_their_rows_and_are_spelled(tiny_market: Any, tmp_path: Path) -> None:
    report = _distill(tiny_market, tmp_path, most_weights=600 * (len(tiny_market.classes) + FastSettings().width))
    assert report.words + report.pairs + report.runs <= 600
    assert report.summary()["macro_f1"] > 0.9


def test_names_teach_words_that_no_offer_has_and_codes_teach_nothing(tiny_market: Any, tmp_path: Path) -> None:
    names = {category: [("Shop", f"{category} {word}")] for category, word in zip(TRUTH, UNSEEN, strict=True)}
    codes = {category: [("Shop", f"Q{number}")] for number, category in enumerate(TRUTH)}
    share = (tiny_market.samples, tiny_market.soft_labels, tiny_market.classes, FastSettings(alignment=0.0))
    with_names = distill_fast(*share, tmp_path / "names", names=names)
    with_codes = distill_fast(*share, tmp_path / "codes", names=codes)
    assert with_names.name_strength == pytest.approx(1.0)
    assert with_codes.name_strength is not None
    assert with_codes.name_strength < 0.1
    classifier = load_fast_classifier(tmp_path / "names")
    assert [classifier.classes[index] for index in classifier.classify(UNSEEN).index] == TRUTH
    assert with_codes.macro_f1 > 0.95


def test_files_of_different_runs_are_refused(trained: tuple[Path, FastReport], tmp_path: Path) -> None:
    for file in trained[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "classes.json").write_text(json.dumps(["one", "two"]), encoding="utf-8")
    with pytest.raises(TrainingError, match="do not fit together"):
        load_fast_classifier(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"fast\.json is missing"):
        load_fast_classifier(tmp_path)


def _distill(market: Any, out: Path, **changes: Any) -> FastReport:
    return distill_fast(
        market.samples, market.soft_labels, market.classes, FastSettings(**({"alignment": 0.0} | changes)), out
    )
