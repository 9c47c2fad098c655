"""One measurement of the scale bench in a process of its own, so that its peak memory is its own."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from sortiment.errors import SamplingError

SHORT_OF_MEMORY = re.compile(
    "MemoryError|OutOfMemory|Out of Memory|bad_alloc|annot allocate memory|memory allocation of"
)
"""What Python, Arrow, DuckDB, C++, the system and Rust say where they get no memory."""

EXCEPTION = re.compile(r"[\w.]+: ")
"""How the line starts in which Python names an exception; DuckDB's have lines of advice after it."""


def run_task(task: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
    """What the task found. One that takes too long is stopped and says so: `seconds` is then how long it was let run.

    Raises SamplingError where it fails.
    """
    path = Path(task["scratch"]) / "task.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    command = [sys.executable, "-m", "sortiment.sampling.bench_tasks", str(path)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"seconds": timeout_s, "stopped": True}
    if done.returncode:
        raise explain_failure(task["task"], done.returncode, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def explain_failure(task: str, code: int, printed: str) -> SamplingError:
    """The error of a task that ended with this exit code (-9: killed by signal 9) and printed this."""
    lines = printed.strip().splitlines()
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    reason = next((line for line in reversed(lines) if EXCEPTION.match(line)), lines[-1] if lines else ended)
    if code == -signal.SIGKILL:
        return SamplingError(
            f"the measurement {task} was killed, as systems do that run out of memory",
            value=ended,
            fix="run the bench with fewer rows or more memory",
        )
    if SHORT_OF_MEMORY.search(reason):
        return SamplingError(
            f"the measurement {task} got no more memory",
            value=reason,
            fix="run the bench with fewer rows or more memory",
        )
    return SamplingError(
        f"the measurement {task} failed",
        value=reason,
        fix="mend what was seen and run the bench again; what --keep keeps is not generated again",
    )
