"""Post-training int8 quantization by NNCF, in a process of its own: `python -m sortiment.engines.nncf_worker JOB`.

A process of its own, because NNCF imports torch, takes seconds to load, draws progress bars on standard output and
keeps its memory; and because its usage statistics are switched off by making their optional package unavailable, which
must not happen to the process that called.

JOB is a JSON file: model (ONNX), tokens (.npz: flat, start), ignored (node names), out
(OpenVINO .xml).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sortiment.engines.processes import end_with_parent


def quantize(job: dict[str, Any]) -> None:
    """Write the int8 model: weights per channel, activation ranges from the tokens, smoothed and bias-corrected.

    The token table is not quantized but stored in 16 bits: OpenVINO then reads it from the file's pages, where it would
    unfold int8 in memory (250,000 tokens: 118 against 950 MB resident).
    The biases are corrected layer after layer, each with the layers before it quantized: on a student whose margins are
    narrow the fast correction lost 2.5 points macro-F1 and this one nothing (docs/experiments.md).
    On one core: sums over several threads round differently, and the same student must give the same bytes.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import nncf
    import openvino

    with np.load(job["tokens"], allow_pickle=False) as stored:
        flat, start = stored["flat"], stored["start"]
    texts = [flat[start[row] : start[row + 1]][None, :] for row in range(start.size - 1)]
    core = openvino.Core()
    halved = Path(job["out"]).with_suffix(".half.xml")
    openvino.save_model(core.read_model(job["model"]), halved, compress_to_fp16=True)
    model = nncf.quantize(
        core.read_model(halved),
        nncf.Dataset([{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in texts]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(texts),
        fast_bias_correction=False,
        ignored_scope=nncf.IgnoredScope(names=job["ignored"]),
    )
    openvino.save_model(model, job["out"], compress_to_fp16=False)
    del model
    for part in (halved, halved.with_suffix(".bin")):
        part.unlink()


if __name__ == "__main__":
    end_with_parent()
    quantize(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
