"""A measurement that fails says why, and advises what would help."""

from pathlib import Path

import pytest

from sortiment.errors import SamplingError
from sortiment.sampling.bench_processes import explain_failure, run_task

DUCKDB = """Traceback (most recent call last):
  File "bench_tasks.py", line 1, in full_read_duckdb
_duckdb.OutOfMemoryException: Out of Memory Error: failed to allocate data of size 16.0 MiB

Possible solutions:
* Reducing the number of threads (SET threads=X)
See also https://duckdb.org/docs/stable/guides/performance/how_to_tune_workloads"""


def test_a_task_that_fails_for_a_missing_part_is_not_told_to_use_more_memory(tmp_path: Path) -> None:
    task = {"task": "warm_up", "parts": [str(tmp_path / "gone.parquet")], "threads": 1, "scratch": str(tmp_path)}
    with pytest.raises(SamplingError, match="the measurement warm_up failed") as caught:
        run_task(task, None)
    assert "FileNotFoundError" in caught.value.value and "gone.parquet" in caught.value.value
    assert caught.value.fix is not None and "memory" not in caught.value.fix


def test_a_task_that_takes_too_long_is_stopped_and_says_so(tmp_path: Path) -> None:
    task = {"task": "warm_up", "parts": [], "threads": 1, "scratch": str(tmp_path)}
    assert run_task(task, 0.001) == {"seconds": 0.001, "stopped": True}


@pytest.mark.parametrize(
    ("code", "printed", "seen"),
    [
        (-9, "", "killed by signal 9"),
        (1, "Traceback (most recent call last):\n  ...\nMemoryError", "MemoryError"),
        (1, "pyarrow.lib.ArrowMemoryError: malloc of size 64 failed", "malloc of size 64"),
        (1, DUCKDB, "failed to allocate data of size 16.0 MiB"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc", "bad_alloc"),
        (-6, "memory allocation of 800000 bytes failed", "800000 bytes"),
    ],
)
def test_a_task_that_got_no_memory_or_was_killed_is_told_to_use_fewer_rows_or_more_memory(
    code: int, printed: str, seen: str
) -> None:
    error = explain_failure("sample", code, printed)
    assert error.fix == "run the bench with fewer rows or more memory"
    assert seen in error.value and "memory" in error.what


@pytest.mark.parametrize(("code", "seen"), [(-11, "killed by signal 11"), (2, "exit code 2")])
def test_a_task_that_ended_without_a_word_is_told_by_how_it_ended(code: int, seen: str) -> None:
    error = explain_failure("sample", code, "")
    assert error.value == seen and error.what == "the measurement sample failed"
