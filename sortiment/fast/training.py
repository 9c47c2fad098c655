"""Training a fast student: read, weigh, count, solve, teach, calibrate, write."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor

from sortiment.encoders import FeatureCache
from sortiment.errors import TrainingError
from sortiment.fast import FastReport, passes_for
from sortiment.fast.averaging import Averaging, teach_averaging
from sortiment.fast.classifier import CLASSES_FILE, FAST_FILE, WEIGHTS_FILE, WORDS_FILE, pack_weights
from sortiment.fast.features import Features, collect_features
from sortiment.fast.naming import Prior, fit_prior
from sortiment.fast.network import DenseLayers, FastNetwork, Floats, Tables
from sortiment.fast.solving import NUMBERS_AT_MOST, Ridge, Solution
from sortiment.fast.words import count_words
from sortiment.machine import count_cores
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, FastSettings, StudentSettings
from sortiment.student.alignment import Embeddings, read_embeddings
from sortiment.student.calibration import best_temperature
from sortiment.student.corpus import NO_CLASS, Corpus, add_names, add_transfer_titles, read_corpus
from sortiment.student.directory import write_json
from sortiment.student.measures import choose_calibrated, measure_validation
from sortiment.student.targets import Targets, weigh_targets
from sortiment.student.tokens import usual_length
from sortiment.teacher.names import CategoryNames, NameTexts, write_names

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SMALLEST_WEIGHT = 1e-3
EXPECTED_TEMPERATURES = (0.4, 0.9)  # of class scores and layers, where validation offers are few


def run_fast_distillation(
    samples: Mapping[str, Path],
    soft_labels: Mapping[str, Path],
    teacher_classes: Sequence[str],
    settings: FastSettings,
    out: Path,
    student: StudentSettings,
    encoder: EncoderSettings,
    progress: Progress,
    names: CategoryNames,
    embedded: FeatureCache | None,
) -> FastReport:
    """See `sortiment.fast.distill_fast`."""
    started = time.monotonic()
    torch.set_num_threads(count_cores())  # sums over other numbers of threads round differently
    corpus = read_corpus(samples, soft_labels, teacher_classes, encoder.inputs)
    train = corpus.rows("train")
    if not len(train):
        raise TrainingError("the samples hold no offers to train on", value=len(corpus), fix="sample more offers")
    named = write_names(names, corpus.classes, settings.most_names)
    lesson = add_names(add_transfer_titles(corpus, soft_labels), named)
    targets = weigh_targets(lesson, student.label_noise, student.label_share)
    made_up = np.flatnonzero(lesson.made_up) if settings.width else train[:0]
    room = settings.most_weights // (len(corpus.classes) + settings.width)
    texts = [corpus.texts[row] for row in train.tolist()]
    max_words = usual_length(count_words(texts), settings.read_share, settings.max_words)
    features = collect_features(
        [*texts, *(named.texts if named is not None else [])],
        max_words,
        settings.least_offers,
        room,
        further=[lesson.texts[row] for row in made_up.tolist()],
    )
    pull = settings.alignment if settings.width else 0.0
    embeddings = read_embeddings(lesson, np.concatenate([train, made_up]), embedded, pull, progress)
    teaching = time.monotonic()
    wanted = _as_matrix(targets, train, len(corpus.classes))
    solved, prior = _solve(features, named, wanted, settings, progress)
    averaging = None
    if settings.width:
        averaging = _teach(features, lesson, targets, train, made_up, named, embeddings, settings, progress)
    rate = len(train) / max(time.monotonic() - teaching, 1e-9)
    lift = _lift_small(wanted, settings.tail_emphasis)
    tables = _join(features, solved, averaging, lift, corpus, max_words)
    layers = averaging.layers if averaging else None
    network = FastNetwork(features.words, tables, layers, max_words)
    calibration, scores = measure_validation(corpus, lambda rows: network.score(_texts(corpus, rows)))
    out.mkdir(parents=True, exist_ok=True)
    _write_weights(out, tables, layers)
    write_json(out / WORDS_FILE, features.words)
    write_json(out / CLASSES_FILE, list(corpus.classes))
    calibration.write(out)
    report = FastReport(
        offers=len(train),
        transfer_titles=len(made_up),
        labelled_offers=int((corpus.labels[train] != NO_CLASS).sum()),
        left_out_offers=corpus.left_out_offers,
        kept_repeats=corpus.kept_repeats,
        classes=len(corpus.classes),
        max_words=max_words,
        words=len(features.words),
        pairs=features.pairs.size,
        runs=features.runs.size,
        bytes=(out / WEIGHTS_FILE).stat().st_size,
        iterations=solved.iterations,
        residual=round(solved.residual, 6),
        name_strength=None if prior is None else round(prior.strength, 4),
        losses=averaging.losses if averaging else (),
        opinion_temperatures=tuple(round(each, 4) for each in network.temperatures) if averaging else (),
        temperature=calibration.temperature,
        entropy_slope=calibration.entropy_slope,
        seconds=time.monotonic() - started,
        offers_per_s=rate,
        **scores,
    )
    facts: dict[str, Any] = report.summary()
    write_json(out / FAST_FILE, facts | {"inputs": list(encoder.inputs)})
    return report


def _texts(corpus: Corpus, rows: npt.NDArray[np.int64]) -> list[str]:
    return [corpus.texts[row] for row in rows.tolist()]


def _solve(
    features: Features, named: NameTexts | None, wanted: "csr_matrix", settings: FastSettings, progress: Progress
) -> tuple[Solution, Prior | None]:
    """The class scores of the offers' targets `wanted`, pulled towards what the names say."""
    weights = _balance(wanted, settings.class_balance)
    solver: dict[str, Any] = {"tolerance": settings.tolerance, "iterations": settings.iterations}
    solves, (offers, classes) = 1 if named is None else 2, wanted.shape
    total = solves * settings.iterations * classes
    with progress("distill the fast student", total=total, unit="iterations of a class") as step:
        prior = None
        if named is not None:
            penalty = settings.name_regularization
            some = replace(features, texts=features.texts[: offers + len(named.texts)])
            prior = fit_prior(some, named, wanted, weights, regularization=penalty, **solver, step=step)
        ridge = Ridge(replace(features, texts=features.texts[:offers]), weights, settings.regularization)
        rows = np.zeros((features.table_rows, classes), np.float32)
        runs = np.zeros((features.runs.size, classes), np.float32)

        def left_for(block: slice) -> Floats:
            dense: Floats = wanted[:, block].toarray()
            return dense if prior is None else dense - prior.answer(ridge.features.texts, block)

        def keep(block: slice, solution: Floats) -> None:
            of_rows, of_runs = ridge.spread(solution)
            rows[:, block], runs[:, block] = of_rows[: len(rows)], of_runs
            if prior is not None:
                of_rows, of_runs = prior.spread(block)
                rows[:, block] += of_rows[: len(rows)]
                runs[:, block] += of_runs

        residual, iterations = ridge.solve(left_for, classes, keep, **solver, step=step)
    return Solution(rows, runs, residual, iterations), prior


def _teach(
    features: Features,
    lesson: Corpus,
    targets: Targets,
    train: npt.NDArray[np.int64],
    made_up: npt.NDArray[np.int64],
    named: NameTexts | None,
    embeddings: Embeddings | None,
    settings: FastSettings,
    progress: Progress,
) -> Averaging:
    """The vectors and dense layers, of offers, names and made-up titles; of names that count as one, the first."""
    first = np.zeros(0, np.int64) if named is None else np.unique(named.groups, return_index=True)[1]
    count = 0 if named is None else len(named.texts)
    behind = len(train) + count + np.arange(len(made_up))
    places = np.concatenate([np.arange(len(train)), len(train) + first, behind])
    rows = np.concatenate([train, np.flatnonzero(lesson.is_name), made_up])
    every = replace(features, texts=features.texts[places])
    total = len(places) * passes_for(len(places), settings)
    with progress("teach the fast student's network", total=total, unit="texts") as step:
        return teach_averaging(every, rows, targets.of, len(lesson.classes), settings, step, embeddings)


def _join(
    features: Features,
    solved: Solution,
    averaging: Averaging | None,
    lift: Tensor,
    corpus: Corpus,
    max_words: int,
) -> Tables:
    """Both opinions' tables, each at the temperature that validation offers ask for. Weights in half precision,
    of the rows that are kept."""
    kept = features.table_rows
    vectors, run_vectors = (averaging.rows, averaging.runs) if averaging else (solved.rows[:0, :0], solved.runs[:0, :0])
    tables = Tables(
        table=torch.from_numpy(solved.rows).half(),
        spelling=torch.from_numpy(solved.runs).half(),
        vectors=torch.from_numpy(vectors).half(),
        run_vectors=torch.from_numpy(run_vectors).half(),
        mass=torch.from_numpy(features.mass[:kept]),
        rarity=torch.from_numpy(features.rarity),
        pair_buckets=torch.from_numpy(features.pairs),
        run_buckets=torch.from_numpy(features.runs),
        new_rarity=torch.tensor([features.new_rarity]),
        temperatures=torch.tensor(EXPECTED_TEMPERATURES),
        lift=lift,
    )
    if averaging is None:
        return tables
    network = FastNetwork(features.words, tables, averaging.layers, max_words)
    rows = corpus.labelled_rows("validation")
    rows = rows[choose_calibrated(len(rows), len(corpus.classes))]
    temperatures = [
        best_temperature(opinion.numpy(), corpus.labels[rows], expected)
        for opinion, expected in zip(network.listen(_texts(corpus, rows)), EXPECTED_TEMPERATURES, strict=True)
        if opinion is not None
    ]
    return replace(tables, temperatures=torch.tensor(temperatures))


def _as_matrix(targets: Targets, train: npt.NDArray[np.int64], classes: int) -> "csr_matrix":
    """The targets of the training offers, sparse [offers, classes]; mass of classes that the teacher did not name is
    left."""
    from scipy.sparse import csr_matrix

    index, probability, _ = targets.of(train)
    named = index >= 0
    return csr_matrix((probability[named], (np.nonzero(named)[0], index[named])), shape=(len(train), classes))


def _balance(wanted: "csr_matrix", balance: float) -> Floats:
    """Weight of each offer, mean 1: the size of its likeliest class to the power of minus `balance`."""
    at_once = max(NUMBERS_AT_MOST // wanted.shape[1], 1)
    parts = (wanted[start : start + at_once].toarray() for start in range(0, wanted.shape[0], at_once))
    likeliest = np.concatenate([part.argmax(1) for part in parts])
    weights = np.maximum(_sizes(wanted)[likeliest], 1.0) ** -balance
    scaled: Floats = np.maximum(weights / weights.mean(), SMALLEST_WEIGHT).astype(np.float32)
    return scaled


def _lift_small(wanted: "csr_matrix", emphasis: float) -> Tensor:
    """What is added to each class's logit: minus `emphasis` times the logarithm of its share of the offers."""
    sizes = np.maximum(_sizes(wanted), 1.0)
    return torch.from_numpy((-emphasis * np.log(sizes / sizes.sum())).astype(np.float32))


def _sizes(wanted: "csr_matrix") -> npt.NDArray[np.float64]:
    """Of the classes: the sum of their targets."""
    return np.bincount(wanted.indices, wanted.data, minlength=wanted.shape[1]).astype(np.float64)


def _write_weights(out: Path, tables: Tables, layers: DenseLayers | None) -> None:
    temporary = out / f".{WEIGHTS_FILE}.tmp"
    safetensors.torch.save_file(pack_weights(tables, layers), temporary)
    temporary.replace(out / WEIGHTS_FILE)
