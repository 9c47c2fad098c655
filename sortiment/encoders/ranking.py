"""Which encoder: candidates on the market's own sample, quality against speed against size.

    n-gram SVM, fastText             the baselines that an encoder has to beat on titles
    token table of an encoder        what its vocabulary alone knows
    the market's encoder             frozen, under a linear probe
    its first layers                 what a student starts from
    every other reference given      a local directory or a hub id

All learn from the same training offers and are scored on the same test offers. Scores repeat; speeds are measurements
of the machine at that moment, and what the time budget left out depends on them.

    OUT/ranking.json             rows, which encoder is best, macro-F1 by country, the offers
    FINISHED/<version>.json      one finished candidate: a ranking that was killed, or whose time budget ended before
                                 all were tried, goes on after it; so does one with another budget or more references
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sortiment.artifacts import content_version
from sortiment.blobs import write_atomically
from sortiment.encoders.ranking_candidates import Budget, Result, try_encoder, try_fasttext, try_ngrams, try_token_table
from sortiment.encoders.ranking_offers import RankingOffers, draw_ranking_offers
from sortiment.encoders.references import EncoderFolder, resolve_encoder
from sortiment.errors import EncoderError
from sortiment.machine import describe_machine
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings, EvaluationSettings, RankingSettings

CODE_VERSION = "4"
RANKING_FILE = "ranking.json"
BASELINE, STATIC, ENCODER, LAYERS = "baseline", "static", "encoder", "first layers"
TAIL = "tail"


@dataclass(frozen=True)
class Candidate:
    """One row to be. reference: of the encoder that it is made of. always: it runs whatever the time budget says."""

    name: str
    kind: str
    run: Callable[[], Result]
    reference: str | None = None
    always: bool = False


@dataclass(frozen=True)
class RankedEncoder:
    """One row of a ranking; None where nothing was measured, and then `note` says why.

    low, high: 95 % bootstrap interval of macro_f1. macro_f1_tail: over test offers of tail categories. offers_per_s:
    end to end, from text to category. size_mb: weights as they are stored, in millions of bytes, without the probe.
    memory_mb: the same as they are computed with (counted, not measured).
    """

    encoder: str
    kind: str
    macro_f1: float | None = None
    low: float | None = None
    high: float | None = None
    macro_f1_tail: float | None = None
    accuracy: float | None = None
    offers_per_s: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None
    chosen: bool = False
    note: str | None = None


def rank_encoders(
    samples: Mapping[str, Path],
    encoder_settings: EncoderSettings,
    settings: RankingSettings,
    out: Path,
    cache: Path,
    features: Path,
    finished: Path,
    weights: Mapping[str, str],
    progress: Progress = silent,
) -> dict[str, Any]:
    """Rank and write `ranking.json`. Returns `{"rows": [...], "chosen": reference or None, "train_offers", ...}`.

    samples: partition key to artifact folder. cache: converted encoders. features: the cache of encoder features.
    finished: a folder in which finished candidates stay, for this machine. weights: what `find_encoder_versions` says.
    left_by_budget: how many the time budget left out; the next ranking goes on with them. chosen: the whole encoder of
    the highest macro-F1, which may be the teacher's; of equals the one named first, the market's own. A reference that
    cannot be loaded is a row that says so, and is tried again next time. Raises TrainingError where the samples hold
    nothing to learn or to test.
    """
    budget = Budget(time.monotonic(), settings.budget_s)
    offers = draw_ranking_offers(samples, encoder_settings.inputs, settings)
    made_from = {
        "code": CODE_VERSION,
        "machine": str(describe_machine()),
        "offers": offers.version,
        "encoder": encoder_settings.model_dump(mode="json", exclude={"reference"}),
        "settings": settings.model_dump(mode="json", exclude={"references", "first_layers", "budget_s"}),
    }
    rows, by_country, left = [], {}, 0
    for candidate in list_candidates(offers, encoder_settings, settings, cache, features, budget, progress):
        encoder = candidate.reference and weights[candidate.reference]
        version = content_version({**made_from, "candidate": [candidate.name, candidate.kind, encoder]})
        file = finished / f"{version}.json"
        ranked = json.loads(file.read_bytes()) if file.is_file() else None
        if ranked is None:
            ranked = _rank_one(candidate, offers, settings, budget, progress)
            if ranked["row"]["macro_f1"] is not None:
                write_atomically(file, _json(ranked))
        left += ranked["left_by_budget"]
        rows.append(RankedEncoder(**ranked["row"]))
        by_country[candidate.name] = ranked["by_country"]
    best = choose_encoder(rows)
    counts = {
        "train_offers": len(offers.train_texts),
        "test_offers": len(offers.test_texts),
        "classes": len(offers.classes),
        "untaught_test_offers": offers.untaught,
    }
    table = [asdict(replace(row, chosen=row is best)) for row in rows]
    summary: dict[str, Any] = {
        "rows": table, "chosen": best.encoder if best else None, "left_by_budget": left, **counts
    }  # fmt: skip
    write_atomically(out / RANKING_FILE, _json({**summary, "by_country": by_country}))
    return summary


def find_encoder_versions(
    encoder_settings: EncoderSettings, settings: RankingSettings, cache: Path, progress: Progress = silent
) -> dict[str, str]:
    """Reference to the version of its weights and tokenizer, for all that will be ranked; `absent` where it cannot be
    loaded. A directory keeps its name when its weights change, and a hub may answer tomorrow."""
    return {
        reference: _find_version(reference, cache, progress)
        for reference in dict.fromkeys([encoder_settings.reference, *settings.references])
    }


def list_candidates(
    offers: RankingOffers,
    encoder_settings: EncoderSettings,
    settings: RankingSettings,
    cache: Path,
    features: Path,
    budget: Budget,
    progress: Progress,
) -> list[Candidate]:
    """What will be ranked, in this order. Nothing is loaded yet."""
    own = encoder_settings.reference
    found: dict[str, EncoderFolder] = {}

    def resolve(reference: str) -> EncoderFolder:
        if reference not in found:  # the version is a hash of all weights
            found[reference] = resolve_encoder(reference, cache, progress)
        return found[reference]

    def frozen(reference: str, layers: int | None = None) -> Callable[[], Result]:
        return lambda: try_encoder(
            resolve(reference), layers, offers, encoder_settings, settings, features, budget, progress
        )

    def static() -> Result:
        return try_token_table(resolve(own), offers, encoder_settings, settings)

    others = [reference for reference in dict.fromkeys(settings.references) if reference != own]
    return [
        Candidate("n-gram SVM", BASELINE, lambda: try_ngrams(offers, settings), always=True),
        Candidate("fastText", BASELINE, lambda: try_fasttext(offers, settings), always=True),
        Candidate(f"{own}, token table", STATIC, static, own, always=True),
        Candidate(own, ENCODER, frozen(own), own),
        *(
            Candidate(f"{own}, first {layers} layers", LAYERS, frozen(own, layers), own)
            for layers in settings.first_layers
        ),
        *(Candidate(reference, ENCODER, frozen(reference), reference) for reference in others),
    ]


def choose_encoder(rows: list[RankedEncoder]) -> RankedEncoder | None:
    """The whole encoder of the highest macro-F1, of equals the first; None where none was scored."""
    able = [row for row in rows if row.kind == ENCODER and row.macro_f1 is not None]
    return max(able, key=lambda row: row.macro_f1 or 0.0, default=None)


def _rank_one(
    candidate: Candidate, offers: RankingOffers, settings: RankingSettings, budget: Budget, progress: Progress
) -> dict[str, Any]:
    """`{"row", "by_country", "left_by_budget"}` of one candidate, as JSON."""
    row = RankedEncoder(candidate.name, candidate.kind)
    if not candidate.always and budget.left <= 0:
        return {"row": asdict(replace(row, note="not run: time budget")), "by_country": {}, "left_by_budget": True}
    try:
        result = candidate.run()
    except EncoderError as error:
        return {"row": asdict(replace(row, note=str(error))), "by_country": {}, "left_by_budget": False}
    row = replace(
        row,
        offers_per_s=round(result.offers_per_s, 1),
        size_mb=round(result.size_mb, 1),
        memory_mb=round(result.memory_mb, 1),
        note=result.note,
    )
    if result.answers is None:
        return {"row": asdict(row), "by_country": {}, "left_by_budget": True}
    scored = _score(result, offers, settings)
    overall, tail = scored["overall"], scored["by_slice"].get(TAIL)
    row = replace(
        row,
        macro_f1=overall["macro_f1"],
        low=overall["low"],
        high=overall["high"],
        macro_f1_tail=tail["macro_f1"] if tail else None,
        accuracy=overall["accuracy"],
    )
    by_country = {country: leaf["macro_f1"] for country, leaf in scored["by_country"].items()}
    return {"row": asdict(row), "by_country": by_country, "left_by_budget": False}


def _find_version(reference: str, cache: Path, progress: Progress) -> str:
    try:
        return resolve_encoder(reference, cache, progress).version
    except EncoderError:  # its row says why
        return "absent"


def _score(result: Result, offers: RankingOffers, settings: RankingSettings) -> dict[str, Any]:
    from sortiment.evaluation import score

    assert result.answers is not None
    predicted = [offers.classes[index] for index in result.answers.tolist()]
    groups = {"slice": offers.test_slices, "country": offers.test_countries}
    return score(offers.test_ids, predicted, groups, EvaluationSettings(seed=settings.seed))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
