"""Where artifacts are kept: a local folder, or `s3://` through dagster-aws.

Only this module knows S3. Everything else sees `sortiment.blobs.Blobs`: seven operations on keys.
"""

import shutil
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import dagster as dg

from sortiment.artifacts import MANIFEST, ArtifactStore
from sortiment.blobs import TEMPORARY, Blobs, LocalBlobs, has_size
from sortiment.errors import StorageError
from sortiment.sampling.parts import S3Options


class S3Blobs:
    """A bucket's prefix. `client` is a boto3 S3 client; fetched files are cached under `cache`, by key."""

    def __init__(self, client: Any, root: str, cache: Path) -> None:
        parsed = urlparse(root)
        if parsed.scheme != "s3" or not parsed.netloc:
            raise StorageError("not an S3 location", value=root, allowed="s3://BUCKET/PREFIX")
        self.client, self.bucket, self.cache = client, parsed.netloc, cache
        self.prefix = parsed.path.strip("/")

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._full(key)}"

    def read(self, key: str) -> bytes | None:
        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=self._full(key))["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return body

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self._full(key), Body=data)

    def create(self, key: str, data: bytes) -> bool:
        """A conditional put: S3 itself decides which of two writers was first."""
        try:
            self.client.put_object(Bucket=self.bucket, Key=self._full(key), Body=data, IfNoneMatch="*")
        except self.client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise
        return True

    def publish(self, folder: Path, key: str) -> None:
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        for name in sorted(names, key=lambda name: name == MANIFEST):
            self.client.upload_file(str(folder / name), self.bucket, self._full(f"{key}/{name}"))
        cached = self.cache / key
        if cached.exists():
            shutil.rmtree(cached)
        cached.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(cached)

    def holds(self, key: str, sizes: Mapping[str, int]) -> bool:
        """What the bucket holds decides, not what was fetched before: others read the bucket itself."""
        stored = self._sizes(f"{key}/")
        return all(stored.get(f"{key}/{name}") == size for name, size in sizes.items())

    def fetch(self, key: str, sizes: Mapping[str, int], anew: bool = False) -> Path:
        folder = self.cache / key
        for name, size in sizes.items():
            if anew or not has_size(folder / name, size):
                self._download(f"{key}/{name}", folder / name)
        return folder

    def _download(self, key: str, target: Path) -> None:
        """Under a name of its own first: two runs on one machine may fetch the same file at once."""
        target.parent.mkdir(parents=True, exist_ok=True)
        arriving = target.with_name(f".{target.name}.{uuid.uuid4().hex}{TEMPORARY}")
        try:
            self.client.download_file(self.bucket, self._full(key), str(arriving))
            arriving.replace(target)
        finally:
            arriving.unlink(missing_ok=True)

    def list(self, prefix: str) -> list[str]:
        return sorted(self._sizes(prefix))

    def _sizes(self, prefix: str) -> dict[str, int]:
        """The size of every object whose key starts with the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._full(prefix))
        skip = len(self.prefix) + 1 if self.prefix else 0
        return {entry["Key"][skip:]: entry["Size"] for page in pages for entry in page.get("Contents", [])}


class StorageResource(dg.ConfigurableResource[ArtifactStore]):
    """The artifact store of one market.

    root: a local folder or `s3://BUCKET/PREFIX`. scratch: a local folder for unfinished work and fetched copies.
    s3_endpoint, s3_region: for S3-compatible servers; credentials come from the environment, as boto3 finds them.
    """

    root: str
    scratch: str
    s3_endpoint: str | None = None
    s3_region: str | None = None

    @cached_property
    def blobs(self) -> Blobs:
        if "://" not in self.root:
            return LocalBlobs(Path(self.root))
        return S3Blobs(self._s3_client(), self.root, Path(self.scratch) / "fetched")

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.blobs, Path(self.scratch))

    def _s3_client(self) -> Any:
        try:
            from dagster_aws.s3 import S3Resource
        except ImportError as error:
            raise StorageError(
                "storage on S3 needs the extra `aws`", value=self.root, fix="pip install 'sortiment[aws]'"
            ) from error
        return S3Resource(endpoint_url=self.s3_endpoint, region_name=self.s3_region).get_client()

    def s3_options(self) -> S3Options | None:
        """How stages that stream offers open this root themselves; None for a local root."""
        return None if "://" not in self.root else S3Options(endpoint=self.s3_endpoint, region=self.s3_region)
