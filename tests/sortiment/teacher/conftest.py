"""What the tests of a trained teacher share: the tiny encoder, ready to embed, and a folder for a module's teachers."""

from pathlib import Path

import pytest

from sortiment.encoders import EncoderFolder, resolve_encoder
from sortiment.progress import silent


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderFolder:
    return resolve_encoder(str(tiny_encoder), tmp_path_factory.mktemp("cache"), silent)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")
