"""The int8 branch: one student in two int8 forms, from which both int8 targets are compiled.

    student ─► bert_graph (ONNX, fp32) ─┬─ NNCF, fixed ranges ─► int8.xml, int8.bin     ─► openvino-int8
                                        └─ ONNX Runtime, ranges per batch ─► int8.onnx  ─► onnx-int8

Two forms, because neither engine runs the other's well: NNCF can also write ONNX with fixed ranges, but ONNX Runtime
ran that at half the speed of its own dynamic int8 (docs/experiments.md, engines). The reference for agreement is the
fp32 graph on offers that were not used for the ranges, and the graph itself is compared with torch first.
"""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sortiment.blobs import write_atomically
from sortiment.calibration import Calibration
from sortiment.engines.bert_graph import BertShape, float_nodes, write_bert_graph
from sortiment.engines.folders import (
    EngineSpec,
    copy_companions,
    folder_size_mb,
    read_classes,
    read_json,
    read_max_tokens,
)
from sortiment.engines.processes import run_worker
from sortiment.engines.sessions import OnnxSession, OpenvinoSession, Session, TorchSession
from sortiment.engines.tokens import Batch, Floats, TextTokenizer, plan_spec
from sortiment.errors import EngineError
from sortiment.progress import Progress
from sortiment.settings import EngineSettings

OPENVINO_FILES = ("int8.xml", "int8.bin")
ONNX_FILES = ("int8.onnx",)
REPORT_FILE = "quantize.json"
GRAPH_TOLERANCE = 1e-2
GRAPH_OFFERS = 32
UNCALIBRATED = Calibration()
ONE_THREAD = 1  # the report is part of the artifact: sums over several threads round differently
logger = logging.getLogger("sortiment.engines")


@dataclass(frozen=True)
class Parity:
    """One model against the fp32 reference on the same offers. `agreement`: share with the same class."""

    model: str
    offers: int
    agreement: float
    max_probability_difference: float
    mean_probability_difference: float
    size_mb: float


@dataclass(frozen=True)
class QuantizeReport:
    """What quantizing did to the student. `graph_difference`: largest logit difference of the fp32 graph to torch.

    seen_in_calibration: there were too few texts, so agreement was measured on offers that also set the ranges.
    """

    calibration_offers: int
    agreement_offers: int
    seen_in_calibration: bool
    graph_difference: float
    fp32_mb: float
    parity: tuple[Parity, ...]

    @property
    def agreement(self) -> dict[str, float]:
        return {row.model: row.agreement for row in self.parity}


def quantize_student(
    student: Path,
    calibration_texts: Sequence[str],
    settings: EngineSettings,
    out: Path,
    progress: Progress,
    *,
    max_tokens: int | None = None,
) -> QuantizeReport:
    """Write the int8 forms of `student`, its tokenizer, classes and calibration to `out`.

    calibration_texts: model inputs as the student was trained on, prompt included, in a stable order. Some of them,
    evenly spaced, set the int8 ranges, others measure agreement. max_tokens: None = as the student's tokenizer says.
    Raises EngineError: too few texts, a student of another architecture, or a graph that differs from torch.
    """
    max_tokens = max_tokens or read_max_tokens(student)
    fitting, checking, seen = _split_texts(calibration_texts, settings)
    out.mkdir(parents=True, exist_ok=True)
    # in the artifact's own folder, so that what a killed run leaves behind goes with it
    with progress("quantize", total=4, unit="steps") as step, tempfile.TemporaryDirectory(dir=out) as scratch:
        graph = Path(scratch) / "model.onnx"
        shape = write_bert_graph(student, graph)
        copy_companions(student, out)
        tokenizer = TextTokenizer(student, max_tokens)
        tokens = tokenizer.tokenize(checking)
        spec = _session_spec(student, max_tokens, settings, graph)
        difference = _compare_with_torch(student, graph, tokens[:GRAPH_OFFERS], spec)
        step.advance(note=f"graph equals torch to {difference:.1g}")
        with ThreadPoolExecutor(1) as background:  # NNCF computes in a process of its own, on one core
            made = background.submit(
                _quantize_for_openvino,
                graph,
                shape,
                tokenizer.tokenize(fitting),
                Path(scratch),
                out / OPENVINO_FILES[0],
            )
            _quantize_for_onnx(graph, out / ONNX_FILES[0])
            step.advance(note="ONNX Runtime int8")
            reference = compute_probabilities(OnnxSession(graph.parent, spec, ONE_THREAD), tokens, spec)
            made.result()
        step.advance(note="OpenVINO int8")
        parity = []
        for name, files in (("openvino-int8", OPENVINO_FILES), ("onnx-int8", ONNX_FILES)):
            session = _open(name, out, files, spec)
            shares = compute_probabilities(session, tokens, spec)
            parity.append(compare_probabilities(name, reference, shares, folder_size_mb(out, files)))
        step.advance(note=", ".join(f"{row.model} {row.agreement:.1%}" for row in parity))
    report = QuantizeReport(
        len(fitting),
        len(checking),
        seen,
        difference,
        (student / "model.safetensors").stat().st_size / 1e6,
        tuple(parity),
    )
    write_atomically(out / REPORT_FILE, (json.dumps(asdict(report), indent=1, sort_keys=True) + "\n").encode())
    return report


def compare_probabilities(name: str, reference: Floats, shares: Floats, size_mb: float = 0.0) -> Parity:
    """Parity of two [offers, classes] arrays of probabilities."""
    difference = np.abs(reference - shares)
    same = reference.argmax(1) == shares.argmax(1)
    return Parity(
        name, len(reference), float(same.mean()), float(difference.max()), float(difference.mean()), size_mb
    )  # fmt: skip


def compute_probabilities(session: Session, tokens: Sequence[Sequence[int]], spec: EngineSpec) -> Floats:
    """Probabilities at temperature 1, [offers, known classes]."""
    shares = np.zeros((len(tokens), spec.classes), np.float32)

    def take(batch: Batch, logits: Floats) -> None:
        shares[batch.rows] = UNCALIBRATED.probabilities(
            logits[:, : spec.classes], UNCALIBRATED.of(None, len(batch.rows))
        )

    session.run(plan_spec(tokens, spec), take)
    return shares


def _split_texts(texts: Sequence[str], settings: EngineSettings) -> tuple[list[str], list[str], bool]:
    """Offers for the ranges and other offers for the agreement, both evenly spaced over the texts."""
    wanted = settings.calibration_offers + settings.agreement_offers
    if len(texts) < 2:
        raise EngineError(
            "there are too few texts to set int8 ranges",
            value=len(texts),
            allowed=f"2 or more; {wanted} are used",
            fix="pass texts of the training sample",
        )
    chosen = [texts[row] for row in np.linspace(0, len(texts) - 1, min(wanted, len(texts))).round().astype(int)]
    for_ranges = max(1, round(len(chosen) * settings.calibration_offers / wanted))
    if len(texts) < 20:
        return chosen, chosen, True
    places = set(np.linspace(0, len(chosen) - 1, for_ranges).round().astype(int).tolist())
    fitting = [text for place, text in enumerate(chosen) if place in places]
    return fitting, [text for place, text in enumerate(chosen) if place not in places], False


def _session_spec(student: Path, max_tokens: int, settings: EngineSettings, graph: Path) -> EngineSpec:
    """Runs the fp32 graph and torch with the shapes that the int8 models will see."""
    return EngineSpec(
        target="fp32",
        engine="onnx",
        precision="fp32",
        built=True,
        max_tokens=max_tokens,
        classes=len(read_classes(student)),
        pad_id=int(read_json(student, "config.json").get("pad_token_id") or 0),
        batch_offers=settings.batch_offers,
        token_multiple=settings.token_multiple,
        sort_window=settings.sort_window,
        streams=settings.streams,
        files=(graph.name,),
    )


def _open(name: str, out: Path, files: tuple[str, ...], spec: EngineSpec) -> Session:
    kind = OpenvinoSession if name.startswith("openvino") else OnnxSession
    return kind(out, EngineSpec(**{**asdict(spec), "files": files, "precision": "int8"}), ONE_THREAD)


def _compare_with_torch(student: Path, graph: Path, tokens: Sequence[Sequence[int]], spec: EngineSpec) -> float:
    """Largest difference of logits of known classes. Raises EngineError where the graph is not the student."""
    found: list[Floats] = []
    with _one_torch_thread():
        for session in (TorchSession(student, spec, None), OnnxSession(graph.parent, spec, ONE_THREAD)):
            logits = np.zeros((len(tokens), spec.classes), np.float32)

            def take(batch: Batch, values: Floats, logits: Floats = logits) -> None:
                logits[batch.rows] = values[:, : spec.classes]

            session.run(plan_spec(tokens, spec), take)
            found.append(logits)
    student_logits, graph_logits = found
    difference = float(np.abs(student_logits - graph_logits).max())
    if not difference <= GRAPH_TOLERANCE * max(1.0, float(np.abs(student_logits).max())):
        raise EngineError(
            "the exported graph does not compute what the student computes",
            value=f"largest logit difference {difference:.4g}",
            allowed=f"{GRAPH_TOLERANCE:g} of the largest logit",
            fix="report it with the student's config.json: sortiment/engines/bert_graph.py must learn this variant",
        )
    return difference


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(ONE_THREAD)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quantize_for_openvino(graph: Path, shape: BertShape, tokens: list[list[int]], scratch: Path, out: Path) -> None:
    start = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])]).astype(np.int64)
    np.savez(scratch / "tokens.npz", flat=np.concatenate([np.array(ids, np.int64) for ids in tokens]), start=start)
    job = {
        "model": str(graph),
        "tokens": str(scratch / "tokens.npz"),
        "ignored": float_nodes(shape),
        "out": str(out.resolve()),
    }
    (scratch / "job.json").write_text(json.dumps(job), encoding="utf-8")
    run_worker("sortiment.engines.nncf_worker", str(scratch / "job.json"))


def _quantize_for_onnx(graph: Path, out: Path) -> None:
    """Weights in int8 per output channel, the token table too; activations are scaled per batch at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    advice = _WithoutAdvice()
    logging.getLogger().addFilter(advice)
    try:
        quantize_dynamic(graph, out, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.getLogger().removeFilter(advice)


class _WithoutAdvice(logging.Filter):
    """Drops ONNX Runtime's advice to pre-process a graph first: this one has its shapes and nothing to fold.

    With its pre-processing the int8 student gives the same logits in the same time.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "run pre-processing before quantization" not in record.getMessage()
