"""Starting one of this package's worker modules in a process of its own."""

import logging
import subprocess
import sys
from pathlib import Path

from sortiment.errors import EngineError

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
logger = logging.getLogger("sortiment.engines")


def worker_command(module: str, *arguments: str) -> list[str]:
    """To be started in PACKAGE_PARENT, so that the module is found however this package was installed."""
    return [sys.executable, "-X", "utf8", "-m", module, *arguments]


def run_worker(module: str, *arguments: str) -> None:
    """Run to its end; what it prints goes to the log. Raises EngineError with its last lines where it failed."""
    done = subprocess.run(
        worker_command(module, *arguments),
        cwd=PACKAGE_PARENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    for line in lines:
        logger.info("%s: %s", module, line)
    if done.returncode != 0:
        raise EngineError(
            f"{module} ended with code {done.returncode}",
            value=" | ".join(lines[-3:]),
            fix="the log has everything it printed; code -9 means that memory ran out",
        )
