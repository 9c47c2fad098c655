"""Running batches on one engine: the same small interface over torch, OpenVINO and ONNX Runtime.

A session pulls batches and hands each one's logits to `take` as soon as they are there, so that memory holds a few
batches and never all logits. OpenVINO answers from its own threads, in any order.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sortiment.engines.folders import EngineSpec
from sortiment.engines.tokens import Batch, Take
from sortiment.errors import EngineError
from sortiment.machine import count_cores


class Session(Protocol):
    """A loaded model. `note` says what it runs with, for reports."""

    note: str

    def run(self, batches: Iterable[Batch], take: Take) -> None:
        """Call `take(batch, logits)` once per batch; logits are [rows, head width]."""


def open_session(folder: Path, spec: EngineSpec, threads: int | None) -> Session:
    """Load the folder's model. `threads`: None = every core. Raises EngineError, EngineUnavailable."""
    if spec.engine == "torch":
        return TorchSession(folder, spec, threads)
    if spec.engine == "openvino":
        return OpenvinoSession(folder, spec, threads)
    if spec.engine == "onnx":
        return OnnxSession(folder, spec, threads)
    if spec.engine == "neuron":
        from sortiment.engines.neuron import NeuronSession

        return NeuronSession(folder, spec)
    raise EngineError("engine.json names an unknown engine", value=spec.engine, allowed="torch, openvino, onnx, neuron")


class TorchSession:
    """The student as Hugging Face transformers runs it."""

    def __init__(self, folder: Path, spec: EngineSpec, threads: int | None) -> None:
        import torch
        from transformers import BertForSequenceClassification

        from sortiment.encoders.quiet import quiet_transformers

        if threads is not None:
            torch.set_num_threads(threads)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self.torch = torch
        model: Any = BertForSequenceClassification
        with quiet_transformers():
            self.model: Any = model.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()
        self.note = f"{spec.precision}, {torch.get_num_threads()} threads"

    def run(self, batches: Iterable[Batch], take: Take) -> None:
        with self.torch.inference_mode():
            for batch in batches:
                ids, mask = self.torch.from_numpy(batch.ids), self.torch.from_numpy(batch.mask)
                take(batch, self.model(input_ids=ids, attention_mask=mask).logits.float().numpy())


class OpenvinoSession:
    """An OpenVINO model with several infer requests in flight.

    bf16 arithmetic is used where the CPU has it, for the int8 model's parts between the int8 ones too.
    """

    def __init__(self, folder: Path, spec: EngineSpec, threads: int | None) -> None:
        import openvino

        core = openvino.Core()
        native_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        between = "bf16" if native_bf16 else "f32"
        streams = spec.streams or threads or count_cores()
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": between, "NUM_STREAMS": streams}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        compiled = core.compile_model(folder / spec.files[0], "CPU", options)
        # One inference in this thread first: two threads that meet numpy inside OpenVINO for the first time at the same
        # moment can wait for each other for ever (seen with gdb, OpenVINO 2026.4).
        blank = np.ones((1, spec.token_multiple), np.int64)
        next(iter(compiled({"input_ids": blank, "attention_mask": blank}).values())).copy()
        self.queue: Any = openvino.AsyncInferQueue(compiled, streams)
        self.note = f"{spec.precision}, {between} between, {streams} streams"

    def run(self, batches: Iterable[Batch], take: Take) -> None:
        failures: list[BaseException] = []
        lock = threading.Lock()

        def receive(request: Any, batch: Batch) -> None:
            try:
                logits = request.get_output_tensor(0).data.copy()
                with lock:
                    take(batch, logits)
            except BaseException as error:  # a callback's exception would be lost in OpenVINO's thread
                failures.append(error)

        self.queue.set_callback(receive)
        for batch in batches:
            if failures:
                break
            self.queue.start_async({"input_ids": batch.ids, "attention_mask": batch.mask}, batch)
        self.queue.wait_all()
        if failures:
            raise failures[0]


class OnnxSession:
    """An ONNX Runtime session on the CPU."""

    def __init__(self, folder: Path, spec: EngineSpec, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session: Any = onnxruntime.InferenceSession(
            folder / spec.files[0], options, providers=["CPUExecutionProvider"]
        )
        self.note = f"{spec.precision}, {threads or 'all'} threads"

    def run(self, batches: Iterable[Batch], take: Take) -> None:
        for batch in batches:
            logits = self.session.run(None, {"input_ids": batch.ids, "attention_mask": batch.mask})[0]
            take(batch, np.asarray(logits, np.float32))
