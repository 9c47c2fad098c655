"""The kinds of candidate: each learns the same offers, answers the test offers, and is timed from text to category.

Encoders are frozen under a linear probe: that shows what their vectors hold, in seconds instead of a fine-tuning's
hours. It does not show what a fine-tuning would add.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sortiment.encoders.embedding import load_tokenizer
from sortiment.encoders.feature_cache import FeatureCache
from sortiment.encoders.prompts import prompted
from sortiment.encoders.ranking_models import Classes, Floats, fit_fasttext, fit_ngram_svm, fit_probe
from sortiment.encoders.ranking_offers import RankingOffers
from sortiment.encoders.ranking_weights import count_weights, open_token_table
from sortiment.encoders.references import EncoderFolder
from sortiment.errors import EncoderError, SortimentError
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, RankingSettings

FIRST_TEXTS = 16
LEAST_SECONDS = 0.2  # what is faster is repeated
SECONDS_PER_LOOK = 10.0  # how often a slow encoder is held against the time budget


@dataclass(frozen=True)
class Result:
    """answers: class index of each test offer; None where the time budget ended before all offers were embedded.
    memory_mb: what its numbers take where it is loaded, counted from their number and type."""

    answers: Classes | None
    offers_per_s: float
    size_mb: float
    note: str
    memory_mb: float


@dataclass(frozen=True)
class Budget:
    """Seconds that a ranking may take, from `started` (time.monotonic) on."""

    started: float
    seconds: float

    @property
    def left(self) -> float:
        return self.started + self.seconds - time.monotonic()


def try_ngrams(offers: RankingOffers, settings: RankingSettings) -> Result:
    """The baseline without an encoder: TF-IDF of word and character n-grams, linear SVM."""
    texts = offers.test_texts
    model = fit_ngram_svm(offers.train_texts, offers.train_labels, offers.train_weights, settings.seed)
    return Result(
        answers=model.answer(texts),
        offers_per_s=measure_speed(model.answer, texts, len(texts), settings.timing_seconds),
        size_mb=4 * model.weights / 1e6,
        note=f"words, word pairs, 3 and 4 characters; {model.weights / 1e6:,.1f} million weights, 4 bytes each",
        memory_mb=model.svm.coef_.nbytes / 1e6,
    )


def try_fasttext(offers: RankingOffers, settings: RankingSettings) -> Result:
    """The other baseline without an encoder. Raises EncoderError where its library is not installed."""
    texts = offers.test_texts
    model = fit_fasttext(offers.train_texts, offers.train_labels, settings.seed)
    return Result(
        answers=model.answer(texts),
        offers_per_s=measure_speed(model.answer, texts, len(texts), settings.timing_seconds),
        size_mb=model.bytes / 1e6,
        note="words and pairs of words, weights of offers not used; speed on one core",
        memory_mb=model.bytes / 1e6,
    )


def try_token_table(
    encoder: EncoderFolder, offers: RankingOffers, encoder_settings: EncoderSettings, settings: RankingSettings
) -> Result:
    """The encoder without its layers: the mean of its word embeddings (no prompt, no special tokens) under a probe."""
    texts, table = offers.test_texts, open_token_table(encoder)
    tokenizer = load_tokenizer(encoder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(encoder_settings.max_tokens)

    def pool(some: Sequence[str]) -> Floats:
        encodings = tokenizer.encode_batch_fast(list(some), add_special_tokens=False)
        return table.pool([encoding.ids for encoding in encodings])

    probe = fit_probe(pool(offers.train_texts), offers.train_labels, offers.train_weights, settings.probe_decay)
    return Result(
        answers=probe.answer(pool(texts)),
        offers_per_s=measure_speed(lambda some: probe.answer(pool(some)), texts, len(texts), settings.timing_seconds),
        size_mb=table.bytes / 1e6,
        note=f"no layers; {table.numbers / 1e6:,.0f} million parameters",
        memory_mb=table.bytes / 1e6,
    )


def try_encoder(
    encoder: EncoderFolder,
    layers: int | None,
    offers: RankingOffers,
    encoder_settings: EncoderSettings,
    settings: RankingSettings,
    features: Path,
    budget: Budget,
    progress: Progress,
) -> Result:
    """The encoder, or its first layers, frozen under a probe. What the feature cache holds is not embedded again.

    The speed is taken first, on texts that bypass the cache. Where the rest would pass the budget, embedding stops
    there, and what was embedded stays in the cache. Raises EncoderError where the encoder cannot be run here.
    """
    if layers is not None and layers >= encoder.layers:
        raise EncoderError(
            f"it has {encoder.layers} layers: its first {layers} are all that it is", allowed="fewer layers"
        )
    cache = FeatureCache(features, encoder, encoder_settings, layers)
    train = prompted(offers.train_texts, encoder.family, encoder_settings, offers.train_countries)
    test = prompted(offers.test_texts, encoder.family, encoder_settings, offers.test_countries)
    _load(cache, test)
    with silent("time") as step:
        speed = measure_speed(
            lambda texts: cache.embedder.embed(texts, step), test, settings.timing_offers, settings.timing_seconds
        )
    parameters, size = count_weights(encoder, layers)
    memory = parameters * (2 if str(cache.space["engine"]).endswith("bf16") else 4) / 1e6
    about = f"frozen, {cache.space['engine']}; {parameters / 1e6:,.0f} million parameters"
    vectors = embed_within(budget, cache, [*train, *test], speed, progress)
    if len(vectors) < len(train) + len(test):
        stopped = (
            f"time budget of {settings.budget_s:g} s ended at offer {len(vectors):,} of {len(train) + len(test):,}"
        )
        return Result(None, speed, size / 1e6, f"not scored: {stopped}; {about}", memory)
    probe = fit_probe(vectors[: len(train)], offers.train_labels, offers.train_weights, settings.probe_decay)
    held = vectors[len(train) :]
    probe_speed = measure_speed(lambda texts: probe.answer(held[: len(texts)]), test, len(test), LEAST_SECONDS)
    return Result(probe.answer(held), 1 / (1 / speed + 1 / probe_speed), size / 1e6, about, memory)


def measure_speed(call: Callable[[list[str]], object], texts: Sequence[str], at_most: int, seconds: float) -> float:
    """Texts per second of a call that is warm: its model is loaded and has seen texts of these lengths.

    On `at_most` texts, evenly out of all of them; on fewer where those would take longer than `seconds`.
    """
    first = list(texts[:FIRST_TEXTS])
    call(first)
    started = time.monotonic()
    call(first)
    rate = len(first) / max(time.monotonic() - started, 1e-6)
    count = min(len(texts), at_most, max(len(first), int(rate * seconds)))
    chosen = [texts[row] for row in np.linspace(0, len(texts) - 1, count).astype(int)]
    call(chosen)
    done, started = 0, time.monotonic()
    while done == 0 or time.monotonic() - started < LEAST_SECONDS:
        call(chosen)
        done += len(chosen)
    return done / (time.monotonic() - started)


def _load(cache: FeatureCache, texts: Sequence[str]) -> None:
    """Load and try the encoder. Whatever a stranger's weights make a library raise, the ranking says and goes on."""
    try:
        with silent("load") as step:
            cache.embedder.embed(list(texts[:1]), step)
    except SortimentError:
        raise
    except Exception as error:  # converters and tokenizers raise what they like; it becomes this candidate's note
        raise EncoderError(
            "the encoder cannot be run here", value=f"{type(error).__name__}: {error}", fix="see its model card"
        ) from error


def embed_within(budget: Budget, cache: FeatureCache, texts: Sequence[str], speed: float, progress: Progress) -> Floats:
    """Vectors of the first texts, all of them where the budget allows."""
    at_once = max(FIRST_TEXTS, int(speed * SECONDS_PER_LOOK))
    parts = []
    for start in range(0, len(texts), at_once):
        if start and budget.left <= 0:
            break
        parts.append(cache.features(texts[start : start + at_once], progress))
    vectors: Floats = np.concatenate(parts)
    return vectors
