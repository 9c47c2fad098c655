"""The machine that this process runs on: what a measurement was taken on, and how much work fits."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
MEMORY_INFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
TELLING_FLAGS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16", "sve",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One computer. `flags` are the instruction sets that decide the speed of a matrix product."""

    cpu: str
    cores: int
    flags: tuple[str, ...]
    memory_gb: float | None
    system: str
    architecture: str

    def __str__(self) -> str:
        flags = f" ({', '.join(self.flags)})" if self.flags else ""
        return f"{self.cpu}, {self.cores} cores{flags}"


def describe_machine() -> Machine:
    """The machine this process runs on; what the system does not tell is None or empty."""
    facts = _read_facts(CPU_INFO)
    cpu = facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine()
    present = set((facts.get("flags") or facts.get("Features") or "").split())
    memory = _read_facts(MEMORY_INFO).get("MemTotal", "").split()
    return Machine(
        cpu=cpu,
        cores=count_cores(),
        flags=tuple(flag for flag in TELLING_FLAGS if flag in present),
        memory_gb=round(int(memory[0]) / 1e6, 1) if memory else None,
        system=platform.system(),
        architecture=platform.machine(),
    )


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float | None:
    """This process' own peak of resident memory. Not getrusage's, which a child inherits from its parent."""
    high = _read_facts(STATUS).get("VmHWM", "").split()
    return int(high[0]) / 1e3 if high else None


def _read_facts(file: Path) -> dict[str, str]:
    """The first value of each `name: value` line; empty where the system has no such file."""
    if not file.is_file():
        return {}
    facts: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
    return facts
