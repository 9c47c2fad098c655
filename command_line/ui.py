"""Starts the Dagster webserver and daemon on one market, on this machine only."""

import os
import subprocess
import sys

import yaml

from definitions import LOCATION_NAME
from resources.profiles import Profile
from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError


def open_ui(profile: Profile, port: int) -> None:
    """Run `dagster dev` in the foreground until it is interrupted."""
    if not profile.dagster_home.is_dir():
        raise SettingsError(
            "there is nothing to show yet", value=str(profile.dagster_home), fix="run `make demo` first"
        )
    environment = os.environ | {
        "DAGSTER_HOME": str(profile.dagster_home),
        "SORTIMENT_HOME": str(profile.home),
        "SORTIMENT_MARKET": profile.market,
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    # The location's name is part of what Dagster files ticks and cursors under: the demo's are found again.
    location = {"python_module": {"module_name": "definitions", "location_name": LOCATION_NAME}}
    workspace = profile.dagster_home / "workspace.yaml"
    write_atomically(workspace, yaml.safe_dump({"load_from": [location]}).encode())
    print(f"Dagster on market {profile.market}: http://127.0.0.1:{port} (Ctrl-C ends it)")  # noqa: T201
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    sys.exit(subprocess.call(command, env=environment))
