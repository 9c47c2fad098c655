"""Profiles: the only reader of the environment.

    SORTIMENT_HOME          where everything is kept; default `.sortiment` in the working directory
    SORTIMENT_MARKET        which market of the home; default the one that was last opened
    SORTIMENT_PROFILE       local (default) | aws
    SORTIMENT_S3_ROOT       aws: s3://BUCKET/PREFIX for artifacts
    SORTIMENT_S3_ENDPOINT   an S3-compatible server instead of AWS, for artifacts and for feeds on `s3://`
    AWS_REGION, AWS_...     read by the AWS SDKs themselves; credentials never pass through here

A home:

    report.html report.json     the last demo's
    current.json                the market that is open
    encoders/                   converted encoders and their features, shared by markets
    markets/<name>/             market.yaml, feeds/, dagster/ (the instance), store/ (artifacts), scratch/
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError, StorageError

PROFILES = ("local", "aws")
NO_MARKET = "none"


@dataclass(frozen=True)
class Profile:
    """Where this process reads and writes."""

    name: str
    home: Path
    market: str
    s3_root: str | None = None
    s3_endpoint: str | None = None
    s3_region: str | None = None

    @property
    def market_folder(self) -> Path:
        return self.home / "markets" / self.market

    def make_home(self) -> None:
        """Create the home where it is not there yet. Raises StorageError where it cannot be written."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            write_atomically(self.home / ".writable", b"")
            (self.home / ".writable").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                "the home cannot be written",
                value=f"{self.home}: {error.strerror}",
                allowed="a folder that this user may write",
                fix="set SORTIMENT_HOME",
            ) from error

    def markets(self) -> list[str]:
        """The markets that the home has."""
        return sorted(folder.name for folder in (self.home / "markets").glob("*/") if folder.is_dir())

    @property
    def dagster_home(self) -> Path:
        return self.market_folder / "dagster"

    @property
    def encoder_cache(self) -> Path:
        return self.home / "encoders"

    def storage(self) -> StorageResource:
        scratch = str(self.market_folder / "scratch")
        if self.s3_root is None:
            return StorageResource(root=str(self.market_folder / "store"), scratch=scratch)
        return StorageResource(
            root=f"{self.s3_root.rstrip('/')}/{self.market}",
            scratch=scratch,
            s3_endpoint=self.s3_endpoint,
            s3_region=self.s3_region,
        )

    def market_resource(self) -> MarketResource:
        return MarketResource(
            folder=str(self.market_folder),
            encoder_cache=str(self.encoder_cache),
            s3_endpoint=self.s3_endpoint,
            s3_region=self.s3_region,
        )

    def resources(self) -> dict[str, Any]:
        """Dagster's resources by the names that assets ask for."""
        return {"storage": self.storage(), "market": self.market_resource(), "progress": ProgressResource()}

    def open_market(self) -> None:
        """Remember this market as the one that `make ui` and the command line open."""
        write_atomically(self.home / "current.json", json.dumps({"market": self.market}).encode())


def read_profile(environment: Mapping[str, str] = os.environ, market: str | None = None) -> Profile:
    """The profile that the environment selects. Raises SettingsError naming the variable that is wrong."""
    name = environment.get("SORTIMENT_PROFILE", "local")
    if name not in PROFILES:
        raise SettingsError("SORTIMENT_PROFILE names no profile", value=name, allowed=", ".join(PROFILES))
    home = Path(environment.get("SORTIMENT_HOME") or ".sortiment").expanduser().absolute()
    market = market or environment.get("SORTIMENT_MARKET") or _last_market(home)
    endpoint, region = environment.get("SORTIMENT_S3_ENDPOINT"), environment.get("AWS_REGION")
    if name == "local":
        return Profile(name, home, market, None, endpoint, region)
    root = environment.get("SORTIMENT_S3_ROOT")
    if not root or not root.startswith("s3://"):
        raise SettingsError(
            "the profile aws needs a bucket", value=root, allowed="s3://BUCKET/PREFIX", fix="set SORTIMENT_S3_ROOT"
        )
    return Profile(name, home, market, root, endpoint, region)


def _last_market(home: Path) -> str:
    if home.exists() and not home.is_dir():
        raise SettingsError("SORTIMENT_HOME is no folder", value=str(home), allowed="a folder, or a name that is free")
    current = home / "current.json"
    try:
        return str(json.loads(current.read_text(encoding="utf-8"))["market"])
    except FileNotFoundError:
        return NO_MARKET
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            "it cannot be told which market was the last",
            value=f"{current}: {type(error).__name__}: {error}",
            allowed='{"market": "NAME"}',
            fix="name the market (--market or SORTIMENT_MARKET), or run the demo anew after deleting the file",
        ) from error
