"""What computes an encoder's pooled vectors: OpenVINO on CPUs, torch on GPUs and where asked for.

OpenVINO runs the same weights about 1.4 times as fast as torch on a CPU with AVX-512 BF16 (docs/experiments.md), needs
neither torch nor transformers in the process once the encoder was converted, and gives a text the same bits whatever
batch it stands in. The conversion takes seconds and is kept beside the encoder.
"""

import fcntl
import os
import shutil
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sortiment.artifacts import content_version
from sortiment.encoders.quiet import quiet_transformers
from sortiment.encoders.references import EncoderFolder
from sortiment.errors import EncoderError
from sortiment.settings import EncoderSettings

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

CONVERSION = "1"  # raise it when the same encoder would be converted to another graph


class Runner(Protocol):
    """Computes pooled vectors. `name` says with what, and is part of a cached vector's address."""

    name: str

    def run(self, batches: Iterable[tuple[Rows, Ids, Ids]]) -> Iterator[tuple[Rows, Vectors]]:
        """Batches of (row numbers, padded ids [b, t], lengths [b]) to (row numbers, vectors [b, hidden])."""


def open_runner(encoder: EncoderFolder, settings: EncoderSettings, layers: int | None = None) -> Runner:
    """The fastest runner of this machine, or the one that the settings ask for. `layers`: keep the first so many."""
    name = runner_name(settings)
    if name.startswith("openvino"):
        return OpenVinoRunner(encoder, name, layers)
    return TorchRunner(encoder, name, layers)


def runner_name(settings: EncoderSettings) -> str:
    """`engine-precision` that `open_runner` would choose, without loading anything heavy on a CPU."""
    engine = settings.engine
    if engine == "auto":
        engine = "torch" if _gpu() else "openvino"
    precision = settings.precision
    if precision == "auto":
        native = _gpu_has_bf16() if engine == "torch" and _gpu() else _cpu_has_bf16()
        precision = "bf16" if native else "fp32"
    return f"{engine}-{precision}"


class OpenVinoRunner:
    """One stream per core, each with its own request, fed by threads; answers come in the order of the batches."""

    def __init__(self, encoder: EncoderFolder, name: str, layers: int | None) -> None:
        import openvino

        self.name = name
        precision = name.split("-")[1]
        graph = convert_to_openvino(encoder, precision, layers)
        self.streams = len(os.sched_getaffinity(0))
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": self.streams,
        }
        compiled = openvino.Core().compile_model(graph, "CPU", hints)
        self.requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            request = compiled.create_infer_request()
            # Once in this thread: the bindings set themselves up at the first numpy array that they see, and two
            # threads doing that at the same time wait for each other for ever (OpenVINO 2026.4).
            request.infer([np.zeros((1, 1), np.int64), np.ones((1, 1), np.int64)])
            self.requests.put(request)

    def run(self, batches: Iterable[tuple[Rows, Ids, Ids]]) -> Iterator[tuple[Rows, Vectors]]:
        pending: deque[Future[tuple[Rows, Vectors]]] = deque()
        with ThreadPoolExecutor(self.streams, thread_name_prefix="embed") as pool:
            for rows, ids, lengths in batches:
                pending.append(pool.submit(self._run_one, rows, ids, lengths))
                if len(pending) > 2 * self.streams:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _run_one(self, rows: Rows, ids: Ids, lengths: Ids) -> tuple[Rows, Vectors]:
        mask = (np.arange(ids.shape[1])[None, :] < lengths[:, None]).astype(np.int64)
        request = self.requests.get()
        try:
            return rows, np.array(request.infer([ids, mask])[0], np.float32)
        finally:
            self.requests.put(request)


class TorchRunner:
    """Torch on the GPU where there is one, else on the CPU."""

    def __init__(self, encoder: EncoderFolder, name: str, layers: int | None) -> None:
        import torch

        self.name = name
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if name.endswith("bf16") else torch.float32
        self.model = load_body(encoder, layers).to(device=self.device, dtype=dtype)

    def run(self, batches: Iterable[tuple[Rows, Ids, Ids]]) -> Iterator[tuple[Rows, Vectors]]:
        import torch

        for rows, ids, lengths in batches:
            with torch.inference_mode():
                tokens = torch.from_numpy(ids).to(self.device)
                counts = torch.from_numpy(lengths).to(self.device)[:, None]
                mask = torch.arange(ids.shape[1], device=self.device)[None, :] < counts
                padded = None if bool(mask.all()) else mask.long()
                hidden = self.model(input_ids=tokens, attention_mask=padded).last_hidden_state
                pooled = (hidden.float() * mask[:, :, None]).sum(1) / counts
                vectors: Vectors = pooled.cpu().numpy()
            yield rows, vectors


def load_body(encoder: EncoderFolder, layers: int | None = None) -> Any:
    """The encoder's transformer, fp32, in evaluation mode, without a pooler. Raises EncoderError for other weights."""
    import torch
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(encoder.path)
        if layers is not None:
            config.num_hidden_layers = min(layers, config.num_hidden_layers)
        with quiet_transformers():  # it tells of a missing pooler, which is expected; the rest is checked below
            model, loading = AutoModel.from_pretrained(
                encoder.path,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            "the encoder's weights cannot be loaded",
            value=f"{encoder.path}: {error}",
            allowed="a Hugging Face directory whose weights fit its config.json",
            fix="fetch the folder again, or name another encoder in encoder.reference",
        ) from error
    if misfits := sorted(loading["mismatched_keys"]):
        name, stored, wanted = misfits[0]
        raise EncoderError(
            "the encoder's weights do not fit its config.json",
            value=f"{encoder.path}: {name} is {tuple(stored)}"
            + (f", and {len(misfits) - 1} more" * (len(misfits) > 1)),
            allowed=f"{tuple(wanted)}, as config.json says",
            fix="take config.json and weights from the same model: fetch the folder again",
        )
    missing = sorted(name for name in loading["missing_keys"] if "pooler" not in name)
    if missing:
        raise EncoderError(
            "the encoder's weights do not fill its transformer",
            value=f"{len(missing)} missing, for example {missing[0]}",
            fix="give the folder of an encoder, not of another kind of model",
        )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval().requires_grad_(False)


def convert_to_openvino(encoder: EncoderFolder, precision: str, layers: int | None) -> Path:
    """The encoder as an OpenVINO graph: ids and mask [b, t] to mean-pooled vectors [b, hidden]; kept in its cache.

    For bf16 the weights are stored in fp16, which holds more of them than bf16 computes with.
    """
    import openvino

    content = {"encoder": encoder.version, "layers": layers, "precision": precision, "conversion": CONVERSION}
    target = encoder.cache / f"openvino-{content_version(content | {'openvino': openvino.__version__})}"
    graph = target / "encoder.xml"
    if graph.is_file():
        return graph
    encoder.cache.mkdir(parents=True, exist_ok=True)
    with (encoder.cache / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if graph.is_file():
            return graph
        building = encoder.cache / f".{target.name}.building"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        openvino.save_model(_pooled_graph(encoder, layers), building / graph.name, compress_to_fp16=precision == "bf16")
        building.rename(target)
    return graph


def _pooled_graph(encoder: EncoderFolder, layers: int | None) -> Any:
    import openvino
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self, body: Any) -> None:
            super().__init__()
            self.body = body

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask[:, :, None].to(hidden.dtype)
            pooled: torch.Tensor = (hidden * weights).sum(1) / weights.sum(1)
            return pooled

    example = torch.ones((2, 7), dtype=torch.long)
    with warnings.catch_warnings(), quiet_transformers():
        # tracing warns of every Python branch on a shape; the branches are for generation, which encoders do not do
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(Pooled(load_body(encoder, layers)), example_input=(example, example))
    graph.reshape({0: openvino.PartialShape([-1, -1]), 1: openvino.PartialShape([-1, -1])})
    return graph


def _gpu() -> bool:
    """Whether torch could use a GPU; machines without a driver's device file are not made to import torch."""
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available()


def _gpu_has_bf16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_has_bf16() -> bool:
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities
