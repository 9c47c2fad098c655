"""Training one arm on one split, and its answers on the test offers, with its speed on one core."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.calibration import Calibration
from sortiment.encoders import Embedder, FeatureCache, offer_texts, prompted
from sortiment.evaluation import score_unknown
from sortiment.progress import silent
from sortiment.quality.arms import Arm, Probe
from sortiment.quality.baselines import FASTTEXT, SVM_CANDIDATES, UNJUDGED, Baseline, fit_fasttext, fit_tfidf
from sortiment.quality.baselines import Lesson as BaselineLesson
from sortiment.quality.flips import Scored, asked_teacher, flips_of
from sortiment.quality.lessons import Bench, make_lesson, make_teacher
from sortiment.quality.refusals import refuse_wordless
from sortiment.quality.splits import SplitOffers
from sortiment.sampling import SAMPLE_FILE
from sortiment.student.calibration import fit_calibration
from sortiment.teacher import SOFT_LABELS_FILE, load_teacher
from sortiment.teacher.offers import offers_of
from sortiment.teacher.ridge import Floats

Ids = npt.NDArray[np.object_]

TIMED_SECONDS = 2.0
TIMED_EMBEDDINGS = 192
TIMED_OFFERS = 2_048
LEARNING = "learning"


@dataclass(frozen=True)
class Answers:
    """predicted: category id of each test offer. confidence: its calibrated probability. offers_per_s: on one core,
    from text to category. facts: what else is worth keeping (what validation chose, sizes). unknown: how unlike
    everything known each test offer looks, where that was asked."""

    predicted: Ids
    confidence: npt.NDArray[np.float64]
    offers_per_s: float
    facts: dict[str, Any]
    unknown: npt.NDArray[np.float64] | None = None


def read_split(split: SplitOffers) -> pa.Table:
    """All labelled and unlabelled offers of the split, countries in order."""
    tables = [pq.read_table(folder / SAMPLE_FILE) for folder in split.samples.values()]
    return pa.concat_tables(tables).combine_chunks()


def labelled_side(table: pa.Table, side: str) -> pa.Table:
    """The labelled offers of one side."""
    return table.filter(pc.and_(pc.equal(table["split"], side), pc.is_valid(table["category_id"])))


def answer_test_offers(bench: Bench, split: SplitOffers, arm: Arm, out: Path, probe: Probe | None = None) -> Answers:
    """Train the arm and answer. out: a folder that a killed run left as it was, for what can be resumed.

    Raises FeedError where no labelled training offer has a text.
    """
    table = read_split(split)
    nobody = f"no labelled training offer of the feed {split.feed}"
    refuse_wordless(labelled_side(table, "train"), bench.settings.encoder.inputs, nobody)
    test = labelled_side(table, "test")
    if arm.model == "teacher":
        return _answer_as_teacher(bench, split, test, probe)
    if arm.model in ("tfidf", "fasttext"):
        return _answer_as_baseline(bench, split, table, test, arm, probe)
    return _answer_as_student(bench, split, test, arm, out / LEARNING, probe)


def texts_of(bench: Bench, table: pa.Table) -> list[str]:
    """The offers' texts, the same for every arm."""
    inputs = bench.settings.encoder.inputs
    return offer_texts({name: table[name].to_pylist() for name in inputs}, inputs)


def _answer_as_teacher(bench: Bench, split: SplitOffers, test: pa.Table, probe: Probe | None) -> Answers:
    made = make_teacher(bench, split)
    teacher = load_teacher(made.path / "teacher", bench.encoder, bench.settings.encoder, bench.features)
    soft = [pq.read_table(made.path / "labels" / country / SOFT_LABELS_FILE) for country in split.samples]
    labels = pa.concat_tables(soft).combine_chunks()
    rows = pc.index_in(test["offer_key"], labels["offer_key"].combine_chunks())
    labels = labels.take(rows)
    best = np.array([index[0] for index in labels["top_index"].to_pylist()], np.int64)
    confidence = np.exp([logit[0] for logit in labels["top_logit"].to_pylist()])
    texts = texts_of(bench, test)[:TIMED_EMBEDDINGS]
    countries = test["country"].to_pylist()[: len(texts)]
    with one_core():
        embedder = Embedder(teacher.encoder, bench.settings.encoder)
        ready = prompted(texts, teacher.encoder.family, bench.settings.encoder, countries)
        with silent("", None) as step:
            embedder.embed(ready[:16], step)

        def answer(some: Sequence[str]) -> None:
            vectors: Floats | None = None
            for name, expert in teacher.experts.items():
                if name == "encoder":
                    with silent("", None) as step:
                        vectors = embedder.embed(ready[: len(some)], step)
                    expert.scores(vectors)  # type: ignore[arg-type]
                else:
                    expert.scores(some)  # type: ignore[arg-type]

        speed = measure_speed(answer, texts)
    facts: dict[str, Any] = {"link": vars(teacher.link)}
    unknown = None
    if probe == "behaviour":
        facts |= flips_of(bench, test, asked_teacher(teacher, bench))
    if probe == "unknown":
        offers = offers_of(test, bench.settings.encoder.inputs)
        unknown = score_unknown(np.exp(teacher.log_probabilities(offers, silent)))
    return Answers(np.array(teacher.classes, object)[best], confidence, speed, facts, unknown)


def _answer_as_baseline(
    bench: Bench, split: SplitOffers, table: pa.Table, test: pa.Table, arm: Arm, probe: Probe | None
) -> Answers:
    train, validation = labelled_side(table, "train"), labelled_side(table, "validation")
    classes = sorted(set(train["category_id"].to_pylist()))
    position = {category: index for index, category in enumerate(classes)}
    lesson = BaselineLesson(
        texts=texts_of(bench, train),
        labels=np.array([position[category] for category in train["category_id"].to_pylist()], np.int64),
        validation_texts=texts_of(bench, validation),
        validation_labels=np.array(
            [position.get(category, -1) for category in validation["category_id"].to_pylist()], np.int64
        ),
        classes=len(classes),
        seed=split.seed,
    )
    fit, candidates = (fit_tfidf, SVM_CANDIDATES) if arm.model == "tfidf" else (fit_fasttext, len(FASTTEXT))
    with bench.progress(f"tune {arm.model}", total=candidates if lesson.judged else 1, unit="candidates") as step:
        baseline = fit(lesson, step)
    calibration = _calibrate(baseline, lesson)
    texts = texts_of(bench, test)
    with one_core():
        scores = baseline.score(texts)
        speed = measure_speed(baseline.score, texts)
    shares = _shares(scores, calibration)
    best = shares.argmax(1)
    confidence = shares.max(1).astype(np.float64)
    facts: dict[str, Any] = {"chosen": baseline.chosen if lesson.judged else {**baseline.chosen, **UNJUDGED}}
    if probe == "behaviour":
        asked = Scored(lambda some, _: _shares(baseline.score(some), calibration), bench.settings.encoder.inputs)
        facts |= flips_of(bench, test, asked)
    unknown = score_unknown(shares) if probe == "unknown" else None
    return Answers(np.array(classes, object)[best], confidence, speed, facts, unknown)


def _shares(scores: Floats, calibration: Calibration) -> Floats:
    """Calibrated probabilities of each row."""
    return calibration.probabilities(scores, calibration.of(None, len(scores)))


def _calibrate(baseline: Baseline, lesson: BaselineLesson) -> Calibration:
    """On the validation offers of classes that were trained, whatever their country; none without such offers."""
    if not lesson.judged:
        return Calibration()
    rows = np.flatnonzero(lesson.validation_labels >= 0)
    scores = baseline.score([lesson.validation_texts[row] for row in rows.tolist()])
    return fit_calibration(scores, lesson.validation_labels[rows].astype(np.int32), ["any"] * len(rows))


def _answer_as_student(
    bench: Bench, split: SplitOffers, test: pa.Table, arm: Arm, out: Path, probe: Probe | None
) -> Answers:
    lesson = make_lesson(bench, split, distilled=arm.taught)
    settings, path = bench.settings, bench.encoder.path
    learned = (lesson.samples, lesson.soft_labels, lesson.classes)
    shared: dict[str, Any] = {
        "encoder": settings.encoder,
        "progress": bench.progress,
        "names": split.category_names,
        "features": FeatureCache(bench.features, bench.encoder, settings.encoder),
    }
    classifier: Any
    if arm.model == "fast":
        from sortiment.fast import distill_fast, load_fast_classifier

        distill_fast(*learned, arm.fast_settings(settings.fast), out, settings.student, **shared)
        classifier = load_fast_classifier(out)
    else:
        from sortiment.student import distill_student, load_classifier

        own = arm.student_settings(settings.student)
        distill_student(*learned, path, own, out, **shared)
        classifier = load_classifier(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    texts, countries = texts_of(bench, test), test["country"].to_pylist()
    found = classifier.classify(texts, countries)
    predicted = np.array(classifier.classes, object)[found.index]
    with one_core():
        speed = measure_speed(classifier.classify, texts)
    facts: dict[str, Any] = {"size_mb": round(size / 1e6, 1)}
    unknown = None
    if probe == "behaviour":
        facts |= flips_of(bench, test, classifier)
    if probe == "unknown":
        every = classifier.classify(texts, countries, top_k=len(classifier.classes))
        unknown = score_unknown(every.top_probability)
    shutil.rmtree(out)
    return Answers(predicted, found.confidence.astype(np.float64), speed, facts, unknown)


def measure_speed(answer: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float:
    """Offers per second from text to answer; little is repeated until it has taken long enough."""
    sample = list(texts[:TIMED_OFFERS])
    answer(sample[:16])
    started, done = time.perf_counter(), 0
    while True:
        answer(sample)
        done += len(sample)
        passed = time.perf_counter() - started
        if passed >= TIMED_SECONDS or done >= 50 * TIMED_OFFERS:
            return done / passed


@contextmanager
def one_core() -> Iterator[None]:
    """This thread, and what it starts, on one core."""
    import torch

    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
