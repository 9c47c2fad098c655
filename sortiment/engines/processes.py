"""Starting one of this package's worker modules in a process of its own."""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from sortiment.errors import EngineError

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
SECONDS_TO_ANSWER = 600
SECONDS_TO_END = 10
logger = logging.getLogger("sortiment.engines")


def worker_command(module: str, *arguments: str) -> list[str]:
    """To be started in PACKAGE_PARENT, so that the module is found however this package was installed."""
    return [sys.executable, "-X", "utf8", "-m", module, *arguments]


def run_worker(module: str, *arguments: str) -> None:
    """Run to its end; what it prints goes to the log. Raises EngineError with its last lines where it failed.

    The worker's standard input stays open and empty as long as this process lives: see `end_with_parent`.
    """
    lines = []
    with subprocess.Popen(
        worker_command(module, *arguments),
        cwd=PACKAGE_PARENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.strip():
                lines.append(line.strip())
                logger.info("%s: %s", module, line.strip())
    if process.returncode != 0:
        raise EngineError(
            f"{module} ended with code {process.returncode}",
            value=lines[-1] if lines else None,
            fix="the log has everything it printed; code -9 means that memory ran out",
        )


def end_with_parent() -> None:
    """In a worker: end when the process that started it does, however that ended. A worker that outlives a killed run
    would write into the folder that the next run builds."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: a thread that holds its lock breaks the interpreter's own end
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Worker:
    """A worker process that answers one JSON line per request. Use as a context manager: it ends with the block."""

    def __init__(self, module: str, name: str, *arguments: str) -> None:
        self.name = name
        self.errors: list[str] = []
        self.answers: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            worker_command(module, *arguments),
            cwd=PACKAGE_PARENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self.readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout and self.process.stderr
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises EngineError where the process ends or hangs."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            logger.info("%s: ended before it was asked", self.name)
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """The next answer."""
        try:
            line = self.answers.get(timeout=SECONDS_TO_ANSWER)
        except queue.Empty as error:
            raise EngineError(
                f"{self.name} did not answer in {SECONDS_TO_ANSWER} s", fix="try with fewer engines.benchmark_offers"
            ) from error
        if not line:
            self.process.wait()
            raise EngineError(
                f"the process of {self.name} ended with code {self.process.returncode}",
                value=self.errors[-1] if self.errors else None,
                fix="the log has everything it printed; code -9 means that memory ran out",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _read_answers(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.answers.put(line)
        self.readers[1].join()
        self.answers.put("")

    def _read_errors(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            if line.strip():
                self.errors.append(line.strip())
                logger.info("%s: %s", self.name, line.strip())
