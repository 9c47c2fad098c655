"""The market that is being sorted: its feeds, its taxonomy, its settings, read from one `market.yaml`.

    name: synthetic
    synthetic: true
    feeds: ["feeds/*.yaml"]        feed specs, globs relative to this file
    taxonomy: taxonomy.json        or nothing: the tree comes from the label paths
    truth: truth.parquet           or nothing: only a synthetic market knows the truth
    settings: {student: {layers: 3}}

Settings live here, not in the launchpad, because a run that a sensor launches must use the same ones (decision 3).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, ValidationError

from sortiment.encoders import EncoderFolder, resolve_encoder
from sortiment.errors import SettingsError
from sortiment.feeds import FeedSpec, load_spec, natural_key
from sortiment.misfits import list_misfits, told
from sortiment.progress import Progress
from sortiment.sampling.parts import S3Options, open_s3
from sortiment.settings import Settings
from sortiment.settings_file import parse_settings
from sortiment.yaml_files import YAML_ERRORS, read_yaml

MARKET_FILE = "market.yaml"


class MarketFile(BaseModel):
    """What `market.yaml` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    synthetic: bool = False
    feeds: list[str]
    taxonomy: str | None = None
    truth: str | None = None
    settings: dict[str, Any] = {}


class MarketResource(dg.ConfigurableResource[MarketFile]):
    """folder: holds `market.yaml`. encoder_cache: converted encoders, shared by all markets of a home.

    s3_endpoint, s3_region: how `s3://` feeds are reached; credentials are found as the AWS SDK finds them.
    """

    folder: str
    encoder_cache: str
    s3_endpoint: str | None = None
    s3_region: str | None = None

    @cached_property
    def file(self) -> MarketFile:
        path = Path(self.folder) / MARKET_FILE
        if not path.is_file():
            raise SettingsError("there is no market here yet", value=str(path), fix="run `sortiment demo` first")
        try:
            return MarketFile.model_validate(read_yaml(path) or {})
        except YAML_ERRORS as error:
            raise SettingsError(f"{path} is not a market file", value=str(error), fix=f"correct {path}") from error
        except ValidationError as error:
            raise SettingsError(
                f"{path} is not a market file",
                fix=f"correct {path}",
                **told(list_misfits(error, MarketFile)),
            ) from error

    @cached_property
    def settings(self) -> Settings:
        return parse_settings(self.file.settings, str(Path(self.folder) / MARKET_FILE))

    @property
    def taxonomy_file(self) -> Path | None:
        return Path(self.folder, self.file.taxonomy) if self.file.taxonomy else None

    @property
    def truth_files(self) -> list[Path]:
        return sorted(Path(self.folder).glob(self.file.truth)) if self.file.truth else []

    @property
    def features(self) -> Path:
        """The cache of encoder features: nothing is embedded twice."""
        return Path(self.encoder_cache) / "features"

    def specs(self) -> list[FeedSpec]:
        """Every feed spec, in the order of `natural_key`. Read anew each time: feeds arrive while we run."""
        paths = {path for pattern in self.file.feeds for path in Path(self.folder).glob(pattern)}
        return [load_spec(path) for path in sorted(paths, key=lambda path: natural_key(str(path)))]

    @property
    def remote_files(self) -> fs.FileSystem | None:
        """The store that holds `s3://` feeds; None where no feed lies there."""
        return open_feed_store(self.specs(), self.s3_endpoint, self.s3_region)

    def encoder(self, progress: Progress) -> EncoderFolder:
        """The teacher's encoder as a Hugging Face directory, converted or fetched on first use."""
        return resolve_encoder(self.settings.encoder.reference, Path(self.encoder_cache), progress)


def open_feed_store(specs: Sequence[FeedSpec], endpoint: str | None, region: str | None) -> fs.FileSystem | None:
    """The file system for the specs whose path is `s3://`; None where there is none, and nothing is asked of AWS."""
    if not any(spec.remote for spec in specs):
        return None
    return open_s3(S3Options(endpoint=endpoint, region=region))
