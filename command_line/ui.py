"""Starts the Dagster webserver and daemon on one market, on this machine only."""

import os
import subprocess
import sys

from resources.profiles import Profile
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
    print(f"Dagster on market {profile.market}: http://127.0.0.1:{port} (Ctrl-C ends it)")  # noqa: T201
    command = [sys.executable, "-m", "dagster", "dev", "-m", "definitions", "-h", "127.0.0.1", "-p", str(port)]
    sys.exit(subprocess.call(command, env=environment))
