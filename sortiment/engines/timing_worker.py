"""One engine in a process of its own, timed on request: `python -m sortiment.engines.timing_worker JOB`.

JOB is a JSON file: folder, texts. A request is a line of JSON on standard input, its answer a line on standard output;
what libraries print goes to standard error. The process holds only this engine, so its peak memory is the engine's.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.engines.engine import Engine, load_engine
from sortiment.engines.tokens import Batch, Floats, needed_buckets, plan_batches, plan_spec, round_up_lengths
from sortiment.machine import peak_memory_mb


class Stopwatch:
    """Times one engine on evenly spaced texts of the job."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        started = time.perf_counter()
        self.engine: Engine = load_engine(folder)
        self.load_seconds = time.perf_counter() - started
        self.texts = texts

    def time_end_to_end(self, offers: int) -> dict[str, Any]:
        """Tokenize, batch, compute, calibrate."""
        texts = self._pick(offers)
        return self._timed(offers, lambda: self.engine.classify(texts))

    def time_model(self, offers: int) -> dict[str, Any]:
        """Batches that are ready, to logits."""
        batches = list(plan_spec(self.engine.tokenizer.tokenize(self._pick(offers)), self.engine.spec))
        return self._timed(offers, lambda: self.engine.session.run(batches, _drop))

    def time_naive(self, offers: int) -> dict[str, Any]:
        """As tutorials do it: batches as they come, every text padded to the longest that is allowed."""
        texts, spec = self._pick(offers), self.engine.spec

        def run() -> None:
            tokens = self.engine.tokenizer.tokenize(texts)
            batches = plan_batches(
                tokens,
                batch_offers=spec.batch_offers,
                token_multiple=spec.max_tokens,
                max_tokens=spec.max_tokens,
                pad_id=spec.pad_id,
                sort=False,
            )
            self.engine.session.run(batches, _drop)

        return self._timed(offers, run)

    def time_single(self, calls: int) -> dict[str, Any]:
        """Milliseconds of each call with one text."""
        milliseconds = []
        for text in self._pick(calls):
            started = time.perf_counter()
            self.engine.classify([text])
            milliseconds.append((time.perf_counter() - started) * 1e3)
        return {"milliseconds": milliseconds}

    def save_probabilities(self, offers: int, out: str) -> dict[str, Any]:
        np.save(out, self.engine.score(self._pick(offers)))
        return {"offers": offers}

    def measure_texts(self, buckets: Sequence[int]) -> dict[str, Any]:
        """Mean tokens of the texts, and after padding to these length buckets; texts tokenized per second."""
        spec = self.engine.spec
        self.engine.tokenizer.tokenize(self.texts)
        started = time.perf_counter()
        tokens = self.engine.tokenizer.tokenize(self.texts)
        rate = len(tokens) / max(time.perf_counter() - started, 1e-9)
        lengths = np.array([len(ids) for ids in tokens], np.int64)
        padded = round_up_lengths(
            lengths, spec.token_multiple, spec.max_tokens, needed_buckets(buckets, spec.max_tokens)
        )
        return {"mean_tokens": float(lengths.mean()), "bucket_tokens": float(padded.mean()), "rate": rate}

    def read_memory(self) -> dict[str, Any]:
        return {"peak_memory_mb": peak_memory_mb()}

    def _pick(self, offers: int) -> list[str]:
        """Evenly spaced texts; they repeat only where more are asked for than there are."""
        places = np.linspace(0, len(self.texts) - 1, offers).round().astype(int)
        return [self.texts[place] for place in places.tolist()]

    def _timed(self, offers: int, run: Callable[[], Any]) -> dict[str, Any]:
        started = time.perf_counter()
        run()
        return {"offers": offers, "seconds": time.perf_counter() - started}


def _drop(batch: Batch, logits: Floats) -> None:
    return None


def serve(job: dict[str, Any]) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    stopwatch = Stopwatch(Path(job["folder"]), job["texts"])
    answer({"load_seconds": stopwatch.load_seconds, "note": stopwatch.engine.session.note})
    actions: dict[str, Callable[..., dict[str, Any]]] = {
        "end_to_end": stopwatch.time_end_to_end,
        "model": stopwatch.time_model,
        "naive": stopwatch.time_naive,
        "single": stopwatch.time_single,
        "probabilities": stopwatch.save_probabilities,
        "memory": stopwatch.read_memory,
        "texts": stopwatch.measure_texts,
    }
    for line in sys.stdin:
        request = json.loads(line)
        answer(actions[request.pop("do")](**request))


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
