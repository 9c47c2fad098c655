"""What tests share: the shared data's place, and nothing that hides a real part."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
NOBODY = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nobody",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real offers that are not part of the project; tests that need them skip where they are absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real offers in {folder}, which this machine does not have")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A real HTTP server that speaks S3 (moto), on loopback; credentials are those of nobody."""
    from moto.server import ThreadedMotoServer

    before = {name: os.environ.get(name) for name in NOBODY}
    os.environ.update(NOBODY)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
