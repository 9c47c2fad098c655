"""Engines: a student quantized, compiled for each target, loaded, timed and compared.

Importing this is cheap: torch, transformers, OpenVINO, ONNX Runtime and NNCF are imported when they are first used.
"""

from sortiment.engines.benchmark import NAIVE, SpeedRow, benchmark_engines, write_benchmark
from sortiment.engines.compile import CompileReport, compile_student, probe_target
from sortiment.engines.engine import Engine, Predictions, load_engine
from sortiment.engines.folders import read_inputs
from sortiment.engines.quantize import Parity, QuantizeReport, quantize_student
from sortiment.engines.targets import REFERENCE, TARGETS, Target, find_target

CODE_VERSION = "3"

__all__ = [
    "CODE_VERSION",
    "NAIVE",
    "REFERENCE",
    "TARGETS",
    "CompileReport",
    "Engine",
    "Parity",
    "Predictions",
    "QuantizeReport",
    "SpeedRow",
    "Target",
    "benchmark_engines",
    "compile_student",
    "find_target",
    "load_engine",
    "probe_target",
    "quantize_student",
    "read_inputs",
    "write_benchmark",
]
