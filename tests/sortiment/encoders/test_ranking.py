"""Ranking encoders on a tiny synthetic market, with a tiny encoder of random weights."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.encoders import FeatureCache, resolve_encoder
from sortiment.encoders.ranking import RANKING_FILE, find_encoder_versions, rank_encoders
from sortiment.encoders.ranking_candidates import Budget, embed_within
from sortiment.encoders.ranking_models import fit_ngram_svm, fit_probe
from sortiment.encoders.ranking_offers import draw_ranking_offers, even_shares
from sortiment.encoders.ranking_weights import count_weights, open_token_table
from sortiment.errors import EncoderError, TrainingError
from sortiment.feeds import load_parts, load_spec, write_offers
from sortiment.market import generate_market
from sortiment.progress import silent
from sortiment.report.figures import plot_ranking
from sortiment.report.rows import RankingRow, read_rows
from sortiment.sampling import OfferPart, draw_sample, keep_state
from sortiment.settings import EncoderSettings, FeedSettings, MarketSettings, RankingSettings, SamplingSettings
from sortiment.taxonomy import read_taxonomy

DEPARTMENTS = ("electronics", "garden")
COUNTRIES = ("DE", "GB")
SETTINGS = RankingSettings(train_offers=200, test_offers=80, first_layers=(1,), timing_offers=16)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first assets' work on a market of two countries and two departments."""
    root = tmp_path_factory.mktemp("market")
    wanted = MarketSettings(offers=1_200, countries=COUNTRIES, departments=DEPARTMENTS, rare_categories=2)
    market = generate_market(wanted, root / "market")
    store = ArtifactStore(LocalBlobs(root / "store"), root / "scratch")
    taxonomy = read_taxonomy(root / "market" / "taxonomy.json")
    parts = load_parts([load_spec(spec) for spec in market.specs], taxonomy, store, FeedSettings(), silent)
    folders = {}
    for country in COUNTRIES:
        offers = root / "offers" / country
        offers.mkdir(parents=True)
        write_offers(parts, country, offers)
        listed = [OfferPart(part.uris[country], part.version) for part in parts if country in part.uris]
        state = keep_state(store, country, listed, SamplingSettings())
        mine = {name: root / "samples" / f"{country}-{name}" for name in (*DEPARTMENTS, "unlabelled")}
        for folder in mine.values():
            folder.mkdir(parents=True)
        draw_sample(state, SamplingSettings(), mine)
        folders |= {f"{country}|{name}": folder for name, folder in mine.items()}
    return folders


@pytest.fixture(scope="module")
def encoder(samples: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of 16; its vocabulary is the words of the market's titles."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    titles = [title for sample in samples.values() for title in read(sample)["title"].to_pylist()]
    words = sorted({word for title in titles for word in title.lower().split()})
    vocabulary = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=80, initializer_range=0.5, **sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder_settings(encoder: Path) -> EncoderSettings:
    return EncoderSettings(reference=str(encoder), engine="torch", precision="fp32")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def ranked(samples: dict[str, Path], encoder_settings: EncoderSettings, home: Path) -> tuple[dict[str, Any], Path]:
    out = home / "ranking"
    out.mkdir()
    return rank(samples, encoder_settings, SETTINGS, out, home), out


def rank(
    samples: dict[str, Path], encoder: EncoderSettings, settings: RankingSettings, out: Path, home: Path
) -> dict[str, Any]:
    cache, features, finished = home / "cache", home / "features", out / "finished"
    weights = find_encoder_versions(encoder, settings, cache)
    return rank_encoders(samples, encoder, settings, out, cache, features, finished, weights)


@pytest.fixture
def rank_here(
    samples: dict[str, Path], encoder_settings: EncoderSettings, home: Path, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """`rank_here(settings, encoder=...)`: a ranking of the same offers in the test's own folder."""

    def run(settings: RankingSettings = SETTINGS, encoder: EncoderSettings = encoder_settings) -> dict[str, Any]:
        return rank(samples, encoder, settings, tmp_path, home)

    return run


def read(sample: Path) -> pa.Table:
    return pq.read_table(sample / "sample.parquet")


def without_speed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "offers_per_s"} for row in rows]


def test_each_candidate_is_a_row_that_the_report_can_show(ranked: tuple[dict[str, Any], Path]) -> None:
    rows = ranked[0]["rows"]
    assert [row["kind"] for row in rows] == ["baseline", "baseline", "static", "encoder", "first layers"]
    assert len({tuple(row) for row in rows}) == 1
    for row in read_rows(RankingRow, rows):
        assert row.low is not None and row.high is not None and row.macro_f1 is not None
        assert 0 < row.low <= row.macro_f1 <= row.high <= 1
        assert row.accuracy and row.offers_per_s and row.size_mb and row.memory_mb and row.note
    figure = plot_ranking(rows)
    assert figure.axes


def test_the_baseline_is_far_above_chance(ranked: tuple[dict[str, Any], Path]) -> None:
    assert ranked[0]["rows"][0]["accuracy"] > 10 / ranked[0]["classes"]


@pytest.mark.parametrize("classes", [2, 5])
def test_a_probe_finds_what_is_linear(classes: int) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(200) % classes
    features = draw.normal(size=(200, 12)).astype(np.float32) * 3 + 100
    features[np.arange(200), labels] += 40
    probe = fit_probe(features, labels, np.ones(200, np.float32), SETTINGS.probe_decay)
    assert (probe.answer(features) == labels).all()


def test_two_categories_are_enough_for_the_baseline() -> None:
    texts = ["red phone", "blue phone", "green tea", "black tea"]
    svm = fit_ngram_svm(texts, np.array([0, 0, 1, 1]), np.array([1, 0, 1, 0], np.float32), 0)
    assert svm.answer(["white tea", "old phone"]).tolist() == [1, 0]


def test_the_chosen_one_is_a_whole_encoder_even_where_a_baseline_scores_more(
    ranked: tuple[dict[str, Any], Path], encoder: Path
) -> None:
    assert ranked[0]["chosen"] == str(encoder)
    assert [row["kind"] for row in ranked[0]["rows"] if row["chosen"]] == ["encoder"]
    assert ranked[0]["rows"][0]["macro_f1"] > ranked[0]["rows"][3]["macro_f1"]


def test_the_ranking_is_on_disk_with_scores_by_country(ranked: tuple[dict[str, Any], Path]) -> None:
    summary, out = ranked
    written = json.loads((out / RANKING_FILE).read_text(encoding="utf-8"))
    assert {name: written[name] for name in summary} == summary
    assert set(written["by_country"]["n-gram SVM"]) == set(COUNTRIES)
    assert len(list((out / "finished").glob("*.json"))) == len(summary["rows"])


def test_scores_repeat_and_only_speeds_differ(
    ranked: tuple[dict[str, Any], Path],
    samples: dict[str, Path],
    encoder_settings: EncoderSettings,
    home: Path,
    tmp_path: Path,
) -> None:
    turned = dict(reversed(samples.items()))
    again = rank(turned, encoder_settings, SETTINGS, tmp_path, home)
    assert without_speed(again["rows"]) == without_speed(ranked[0]["rows"])


def test_a_killed_ranking_goes_on_after_its_finished_candidates(
    ranked: tuple[dict[str, Any], Path],
    samples: dict[str, Path],
    encoder_settings: EncoderSettings,
    home: Path,
    tmp_path: Path,
) -> None:
    script = (
        "import sys, json; from pathlib import Path; from sortiment.encoders.ranking import rank_encoders;"
        "from sortiment.settings import EncoderSettings as E, RankingSettings as R; a = json.loads(sys.argv[1]);"
        "rank_encoders({k: Path(v) for k, v in a['samples'].items()}, E(**a['encoder']), R(**a['settings']),"
        "*(Path(a[name]) for name in ('out', 'cache', 'features', 'finished')), a['weights'])"
    )
    arguments = {
        "samples": {key: str(folder) for key, folder in samples.items()},
        "encoder": encoder_settings.model_dump(mode="json"),
        "settings": SETTINGS.model_dump(mode="json"),
        "out": str(tmp_path),
        "cache": str(home / "cache"),
        "features": str(tmp_path / "features"),
        "finished": str(tmp_path / "finished"),
        "weights": find_encoder_versions(encoder_settings, SETTINGS, home / "cache"),
    }
    child = subprocess.Popen([sys.executable, "-c", script, json.dumps(arguments)])
    while not (done := list((tmp_path / "finished").glob("*.json"))):
        assert child.poll() is None, "the ranking ended before it was killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / RANKING_FILE).exists()
    first, kept = done[0], done[0].read_bytes()
    resumed = rank(samples, encoder_settings, SETTINGS, tmp_path, home)
    assert first.read_bytes() == kept
    assert resumed["rows"][0] == json.loads(kept)["row"]
    assert without_speed(resumed["rows"]) == without_speed(ranked[0]["rows"])


def test_a_ranking_goes_on_where_the_time_of_the_last_ended(
    ranked: tuple[dict[str, Any], Path], rank_here: Callable[..., dict[str, Any]]
) -> None:
    without = SETTINGS.model_copy(update={"budget_s": 0.0})
    first = rank_here(without)
    assert first["left_by_budget"] == 2
    whole = rank_here()
    assert whole["left_by_budget"] == 0
    assert whole["rows"][:3] == first["rows"][:3], "not measured again, speeds included"
    assert without_speed(whole["rows"]) == without_speed(ranked[0]["rows"])


def test_a_finished_candidate_of_other_settings_or_weights_is_not_taken(
    ranked: tuple[dict[str, Any], Path],
    rank_here: Callable[..., dict[str, Any]],
    encoder_settings: EncoderSettings,
    tmp_path: Path,
) -> None:
    shutil.copytree(ranked[1] / "finished", tmp_path / "finished")
    other = SETTINGS.model_copy(update={"train_offers": 60, "budget_s": 0.0})
    svm = rank_here(other)["rows"][0]
    assert svm["macro_f1"] < ranked[0]["rows"][0]["macro_f1"]
    moved = tmp_path / "moved"
    shutil.copytree(encoder_settings.reference, moved)
    weights = load_file(moved / "model.safetensors")
    save_file({name: value * 0.5 for name, value in weights.items()}, moved / "model.safetensors")
    other_weights = encoder_settings.model_copy(update={"reference": str(moved)})
    before = len(list((tmp_path / "finished").glob("*.json")))
    assert rank_here(encoder=other_weights)["chosen"] == str(moved)
    assert len(list((tmp_path / "finished").glob("*.json"))) == before + 3, "the baselines are the same"


def test_a_reference_that_cannot_be_loaded_is_a_row_with_the_reason(
    ranked: tuple[dict[str, Any], Path],
    samples: dict[str, Path],
    encoder_settings: EncoderSettings,
    encoder: Path,
    home: Path,
    tmp_path: Path,
) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(encoder, torn)
    weights = load_file(torn / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "layer.0" not in name}, torn / "model.safetensors")
    references = (str(torn), "no such encoder", encoder_settings.reference)
    out = tmp_path / "out"
    out.mkdir()
    settings = SETTINGS.model_copy(update={"references": references, "first_layers": (2,)})
    summary = rank(samples, encoder_settings, settings, out, home)
    notes = {row["encoder"]: row["note"] for row in summary["rows"] if row["macro_f1"] is None}
    assert "do not fill its transformer" in notes[str(torn)]
    assert "names nothing that can be loaded" in notes["no such encoder"]
    assert "its first 2 are all that it is" in notes[f"{encoder}, first 2 layers"]
    assert summary["chosen"] == str(encoder)
    assert len(summary["rows"]) == 7, "the market's own encoder is not ranked twice"
    assert len(list((out / "finished").glob("*.json"))) == 4, "what failed is tried again next time"


def test_without_time_the_baselines_run_and_the_encoders_say_that_they_did_not(
    samples: dict[str, Path], encoder_settings: EncoderSettings, home: Path, tmp_path: Path
) -> None:
    summary = rank(samples, encoder_settings, SETTINGS.model_copy(update={"budget_s": 0.0}), tmp_path, home)
    assert [row["note"] for row in summary["rows"][3:]] == ["not run: time budget"] * 2
    assert all(row["macro_f1"] for row in summary["rows"][:3])
    assert summary["chosen"] is None


def test_a_slow_encoder_stops_at_the_end_of_the_budget(
    encoder_settings: EncoderSettings, encoder: Path, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path, resolve_encoder(str(encoder), tmp_path, silent), encoder_settings)
    texts = [f"title {number}" for number in range(40)]
    over = Budget(time.monotonic() - 2.0, 1.0)
    assert len(embed_within(over, cache, texts, speed=1.0, progress=silent)) == 16
    assert len(embed_within(Budget(time.monotonic(), 600.0), cache, texts, speed=1.0, progress=silent)) == 40


def test_offers_are_drawn_evenly_from_the_right_split(samples: dict[str, Path]) -> None:
    offers = draw_ranking_offers(samples, ("title",), SETTINGS)
    assert len(offers.train_texts) == 200 and len(offers.test_texts) == 80
    assert offers.train_countries.count("DE") == offers.test_countries.count("DE") + 60 == 100
    tables = pa.concat_tables([read(folder) for key, folder in samples.items() if "unlabelled" not in key])
    test_titles = set(tables.filter(pc.equal(tables["split"], "test"))["title"].to_pylist())
    assert set(offers.test_texts) <= test_titles
    taught = tables.filter(pc.equal(tables["split"], "train"))["category_id"].to_pylist()
    assert set(offers.classes) == set(taught), "few offers teach all categories: they are taken category by category"


def test_samples_without_test_offers_cannot_rank(samples: dict[str, Path]) -> None:
    unlabelled = {key: folder for key, folder in samples.items() if "unlabelled" in key}
    for nothing in (unlabelled, {}):
        with pytest.raises(TrainingError, match="cannot be ranked"):
            draw_ranking_offers(nothing, ("title",), SETTINGS)


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 200))
def test_shares_are_even_as_far_as_there_is_room(rooms: list[int], total: int) -> None:
    shares = even_shares(rooms, total)
    assert sum(shares) == min(total, sum(rooms))
    assert all(0 <= share <= room for share, room in zip(shares, rooms, strict=True))
    not_full = [share for share, room in zip(shares, rooms, strict=True) if share < room]
    assert not not_full or max(shares) - min(not_full) <= 1


def test_the_token_table_is_read_from_the_file_in_every_float_format(encoder: Path, tmp_path: Path) -> None:
    stored = load_file(encoder / "model.safetensors")
    name = next(name for name in stored if name.endswith("word_embeddings.weight"))
    tokens = [[4, 5, 5], [], [6]]
    for number, kind in enumerate((torch.float32, torch.float16, torch.bfloat16)):
        folder = tmp_path / str(number)
        shutil.copytree(encoder, folder)
        save_file({key: value.to(kind) for key, value in stored.items()}, folder / "model.safetensors")
        pooled = open_token_table(resolve_encoder(str(folder), tmp_path, silent)).pool(tokens)
        rows = stored[name].to(kind).float().numpy()
        expected = [rows[[4, 5, 5]].mean(0), np.zeros(16), rows[6]]
        np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_an_encoder_without_a_known_token_table_says_so(encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(encoder, folder)
    stored = load_file(folder / "model.safetensors")
    renamed = {name.replace("word_embeddings", "words").replace("embeddings", "e"): stored[name] for name in stored}
    save_file(renamed, folder / "model.safetensors")
    with pytest.raises(EncoderError, match="token table was not recognized"):
        open_token_table(resolve_encoder(str(folder), tmp_path, silent))


def test_the_first_layers_weigh_less_than_the_whole(encoder: Path, tmp_path: Path) -> None:
    folder = resolve_encoder(str(encoder), tmp_path, silent)
    parameters, size = count_weights(folder)
    fewer, smaller = count_weights(folder, 1)
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 16 + 32 + 4 * 16
    assert parameters == folder.parameters and parameters - fewer == layer
    assert size - smaller == 4 * layer


def test_importing_the_ranking_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "sklearn", "scipy", "openvino")
    script = f"import sys, sortiment.encoders.ranking; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout.strip() == b"[]"


def test_an_encoder_of_other_weights_under_the_same_name_has_another_version(encoder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(encoder, own)
    settings = RankingSettings(references=("no such encoder", str(own)))

    def versions() -> dict[str, str]:
        return find_encoder_versions(EncoderSettings(reference=str(encoder)), settings, tmp_path / "cache")

    before = versions()
    assert before[str(encoder)] == before[str(own)]
    (own / "config.json").write_text((own / "config.json").read_text(encoding="utf-8") + "\n", encoding="utf-8")
    after = versions()
    assert after[str(own)] != before[str(own)]
    assert after["no such encoder"] == before["no such encoder"] == "absent"
