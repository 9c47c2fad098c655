"""Two simulated days to compare."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from simulated_days import write_day

from sortiment.drift import DriftSide


@pytest.fixture
def make_day(tmp_path: Path) -> Callable[..., DriftSide]:
    return partial(write_day, tmp_path)
