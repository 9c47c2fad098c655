"""Times engines against each other in one run, so that their ratios hold on a machine that others use too.

Each engine is loaded in a process of its own; the timings take turns (one round of all engines, then the next), and the
median of the rounds counts. The naive baseline is the same student in torch fp32, batches as they come, every text
padded to the longest allowed length. A slow engine is timed on fewer offers, and not again once its time is over.
"""

import contextlib
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.blobs import write_atomically
from sortiment.engines.bert_graph import read_bert_shape
from sortiment.engines.folders import EngineSpec, folder_size_mb, read_engine_spec
from sortiment.engines.processes import Worker
from sortiment.engines.quantize import compare_probabilities
from sortiment.engines.targets import REFERENCE
from sortiment.errors import EngineError
from sortiment.machine import describe_machine
from sortiment.progress import Progress
from sortiment.settings import EngineSettings

NAIVE = "torch-fp32 naive"
SPEED_FILE = "speed.json"
SOURCE = "measured here"
PARITY_OFFERS = 256
FIRST_OFFERS = 32
END_TO_END_SHARE, MODEL_SHARE, SINGLE_SHARE = 0.5, 0.3, 0.2
SINGLE_CALLS = (20, 200)


@dataclass(frozen=True)
class SpeedRow:
    """One engine on this machine; the figures are None where it was not built, and `reason` and `command` say why.

    offers_per_s: end to end with tokenization, median of the repeats; `lowest`, `highest` their spread.
    model_offers_per_s: ready batches to logits. p50_ms, p99_ms: one text at a time, end to end, over `single_calls`.
    peak_memory_mb: resident peak of the engine's own process. ratio_to_naive: to the naive baseline of the same run.
    agreement, max_probability_difference: to torch-fp32 on the same texts, calibrated probabilities.
    mean_tokens, bucket_tokens: of the texts, as they are and padded to Neuron's buckets; with layers, hidden and
    intermediate they give the arithmetic per offer. tokenizer_offers_per_s: tokenization alone, on all cores.
    """

    engine: str
    built: bool
    source: str
    machine: str
    date: str
    offers_per_s: float | None = None
    lowest_offers_per_s: float | None = None
    highest_offers_per_s: float | None = None
    model_offers_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    single_calls: int = 0
    peak_memory_mb: float | None = None
    size_mb: float | None = None
    load_seconds: float | None = None
    ratio_to_naive: float | None = None
    agreement: float | None = None
    max_probability_difference: float | None = None
    offers: int = 0
    repeats: int = 0
    cores: int = 0
    architecture: str = ""
    layers: int = 0
    hidden: int = 0
    intermediate: int = 0
    tokenizer_offers_per_s: float | None = None
    mean_tokens: float | None = None
    bucket_tokens: float | None = None
    baseline: bool = False
    note: str = ""
    reason: str | None = None
    command: str | None = None


@dataclass
class _Turn:
    """One engine's worker and what it measured so far."""

    name: str
    worker: Worker
    offers: int = 0
    model_offers: int = 0
    naive_offers: int = 0
    single_calls: int = 0
    started: dict[str, Any] = field(default_factory=dict)
    memory: float | None = None
    texts: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    rates: dict[str, list[float]] = field(default_factory=lambda: {"end_to_end": [], "model": [], "naive": []})
    milliseconds: list[float] = field(default_factory=list)

    def rate(self, what: str, offers: int) -> float:
        seconds = float(self.worker.ask(do=what, offers=offers)["seconds"])
        self.seconds += seconds
        return offers / max(seconds, 1e-9)

    def time_single(self, calls: int) -> None:
        milliseconds = self.worker.ask(do="single", calls=calls)["milliseconds"]
        self.seconds += sum(milliseconds) / 1e3
        self.milliseconds += milliseconds


def benchmark_engines(
    engines: Mapping[str, Path],
    texts: Sequence[str],
    settings: EngineSettings,
    progress: Progress,
    *,
    date: str,
) -> list[SpeedRow]:
    """One row per engine in the order given, then the naive baseline where torch-fp32 is among them.

    engines: name to folder of `compiled_student`, built or not. texts: model inputs, as many as there are up to
    `benchmark_offers` are timed. date: ISO 8601, recorded. Raises EngineError where a process fails or texts are empty.
    """
    if not texts:
        raise EngineError("there are no texts to time engines on", allowed="1 or more", fix="pass offers of the market")
    specs = {name: read_engine_spec(folder) for name, folder in engines.items()}
    built = [name for name in engines if specs[name].built]
    steps = len(built) * (settings.benchmark_repeats + 3)
    with (
        contextlib.ExitStack() as stack,
        progress("time engines", total=steps, unit="timings") as step,
    ):
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sample = [texts[place] for place in _spread(len(texts), settings.benchmark_offers)]
        turns = [_start(name, engines[name], sample, scratch, stack) for name in built]
        for turn in turns:
            turn.started = turn.worker.wait()
            step.advance(note=f"{turn.name} loaded")
        for turn in turns:
            turn.texts = turn.worker.ask(do="texts", buckets=settings.neuron_buckets)
            _warm_up(turn, settings)
            step.advance(note=f"{turn.name} warm")
        for _ in range(settings.benchmark_repeats):
            for turn in turns:
                if turn.seconds > settings.benchmark_seconds:
                    step.advance(note=f"{turn.name}: its time is over")
                    continue
                _measure(turn)
                step.advance(note=f"{turn.name} {turn.rates['end_to_end'][-1]:,.0f} offers/s")
        checked = min(PARITY_OFFERS, len(texts))
        for turn in turns:
            turn.worker.ask(do="probabilities", offers=checked, out=str(scratch / f"{turn.name}.npy"))
            step.advance(note=f"{turn.name} compared")
        rows = {turn.name: _describe(turn, engines[turn.name], specs[turn.name], date, scratch) for turn in turns}
    naive = _describe_naive(turns, rows)
    baseline = naive.offers_per_s if naive else None
    if baseline:
        rows = {
            name: replace(row, ratio_to_naive=row.offers_per_s / baseline) if row.offers_per_s else row
            for name, row in rows.items()
        }
    missing = {name: _describe_missing(name, specs[name], date) for name in engines if name not in rows}
    return [*({**rows, **missing}[name] for name in engines), *([naive] if naive else [])]


def _spread(there: int, wanted: int) -> list[int]:
    """Evenly spaced places among those that are there."""
    places: list[int] = np.linspace(0, there - 1, min(there, wanted)).round().astype(int).tolist()
    return places


def _start(name: str, folder: Path, texts: Sequence[str], scratch: Path, stack: contextlib.ExitStack) -> _Turn:
    """All workers load at the same time; nothing is timed before the last is ready."""
    file = scratch / f"{name}.json"
    file.write_text(json.dumps({"folder": str(folder.resolve()), "texts": texts}), encoding="utf-8")
    return _Turn(name, stack.enter_context(Worker("sortiment.engines.timing_worker", name, str(file))))


def _warm_up(turn: _Turn, settings: EngineSettings) -> None:
    """Find out how many offers fill the time, and run them once: engines prepare kernels per shape."""
    first = min(FIRST_OFFERS, settings.benchmark_offers)
    turn.rate("end_to_end", first)
    seconds = settings.benchmark_seconds / settings.benchmark_repeats
    rate = turn.rate("end_to_end", first)

    def fill(share: float) -> int:
        return round(min(max(rate * seconds * share, first), settings.benchmark_offers))

    turn.offers, turn.model_offers = fill(END_TO_END_SHARE), fill(MODEL_SHARE)
    if turn.offers > first:
        turn.rate("end_to_end", turn.offers)
    turn.time_single(2)
    calls = settings.benchmark_seconds * SINGLE_SHARE / max(turn.milliseconds[-1] / 1e3, 1e-6)
    turn.single_calls = round(min(max(calls, SINGLE_CALLS[0]), SINGLE_CALLS[1]) / settings.benchmark_repeats) + 1
    turn.memory = turn.worker.ask(do="memory")["peak_memory_mb"]
    if turn.name == REFERENCE:
        turn.naive_offers = first
    turn.milliseconds.clear()
    turn.seconds = 0.0


def _measure(turn: _Turn) -> None:
    turn.rates["end_to_end"].append(turn.rate("end_to_end", turn.offers))
    turn.rates["model"].append(turn.rate("model", turn.model_offers))
    turn.time_single(turn.single_calls)
    if turn.naive_offers:
        turn.rates["naive"].append(turn.rate("naive", turn.naive_offers))


def _describe(turn: _Turn, folder: Path, spec: EngineSpec, date: str, scratch: Path) -> SpeedRow:
    machine, shape = describe_machine(), read_bert_shape(folder)
    rates = turn.rates["end_to_end"]
    row = SpeedRow(
        engine=turn.name,
        built=True,
        source=SOURCE,
        machine=str(machine),
        date=date,
        offers_per_s=statistics.median(rates),
        lowest_offers_per_s=min(rates),
        highest_offers_per_s=max(rates),
        model_offers_per_s=statistics.median(turn.rates["model"]),
        p50_ms=float(np.percentile(turn.milliseconds, 50)),
        p99_ms=float(np.percentile(turn.milliseconds, 99)),
        single_calls=len(turn.milliseconds),
        peak_memory_mb=turn.memory,
        size_mb=folder_size_mb(folder, spec.files),
        load_seconds=float(turn.started["load_seconds"]),
        offers=turn.offers,
        repeats=len(rates),
        cores=machine.cores,
        architecture=machine.architecture,
        layers=shape.layers,
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        tokenizer_offers_per_s=turn.texts["rate"],
        mean_tokens=turn.texts["mean_tokens"],
        bucket_tokens=turn.texts["bucket_tokens"],
        note=str(turn.started["note"]),
    )
    reference, own = scratch / f"{REFERENCE}.npy", scratch / f"{turn.name}.npy"
    if not reference.is_file():
        return row
    parity = compare_probabilities(turn.name, np.load(reference), np.load(own))
    return replace(row, agreement=parity.agreement, max_probability_difference=parity.max_probability_difference)


def _describe_naive(turns: list[_Turn], rows: Mapping[str, SpeedRow]) -> SpeedRow | None:
    """The baseline's row: speed alone, everything else is torch-fp32's own row."""
    turn = next((turn for turn in turns if turn.rates["naive"]), None)
    if turn is None:
        return None
    rates, row = turn.rates["naive"], rows[turn.name]
    return SpeedRow(
        engine=NAIVE,
        built=True,
        source=row.source,
        machine=row.machine,
        date=row.date,
        offers_per_s=statistics.median(rates),
        lowest_offers_per_s=min(rates),
        highest_offers_per_s=max(rates),
        ratio_to_naive=1.0,
        size_mb=row.size_mb,
        offers=turn.naive_offers,
        repeats=len(rates),
        cores=row.cores,
        baseline=True,
        note="batches as they come, padded to the longest allowed length",
    )


def _describe_missing(name: str, spec: EngineSpec, date: str) -> SpeedRow:
    return SpeedRow(
        engine=name,
        built=False,
        source="not measured",
        machine=str(describe_machine()),
        date=date,
        reason=spec.reason,
        command=spec.command,
    )


def write_benchmark(
    engines: Mapping[str, Path],
    texts: Sequence[str],
    settings: EngineSettings,
    out: Path,
    progress: Progress,
    *,
    date: str,
) -> dict[str, Any]:
    """Time engines and write `speed.json`. Returns its content: `rows` (one dictionary per SpeedRow) and `machine`."""
    rows = benchmark_engines(engines, texts, settings, progress, date=date)
    content = {"rows": [asdict(row) for row in rows], "machine": asdict(describe_machine())}
    write_atomically(out / SPEED_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    return content
