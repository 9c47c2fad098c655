"""What every asset tells about the artifact that it made: version, size, place, and whether it was there already."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from sortiment.artifacts import Artifact, ArtifactStore, Recipe, content_version

OWNERS = ["team:sortiment"]
SHOWN = 20
"""Members of a group of numbers, and names of a list."""


def describe_artifact(artifact: Artifact, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Dagster metadata of one artifact. Its summary's numbers are shown as they are, over time as plots; so are those
    of groups, like offers by split, as `splits_train`; names as a list."""
    shown: dict[str, Any] = {
        "version": artifact.version,
        "path": dg.MetadataValue.path(artifact.uri),
        "size_mb": round(artifact.bytes / 1e6, 3),
        "reused": artifact.reused,
    }
    for name, value in artifact.summary.items():
        if isinstance(value, bool | int | float | str):
            shown[name] = value
        elif isinstance(value, Mapping) and all(isinstance(number, int | float) for number in value.values()):
            shown |= {f"{name}_{key}": number for key, number in list(value.items())[:SHOWN]}
        elif isinstance(value, Sequence) and value and all(isinstance(one, str) for one in value):
            more_names = f" and {len(value) - SHOWN:,} more" if len(value) > SHOWN else ""
            shown[name] = ", ".join(value[:SHOWN]) + more_names
    return {**shown, **(more or {})}


def describe_partition(context: dg.AssetExecutionContext, key: str, metadata: Mapping[str, Any]) -> None:
    """Metadata of one partition of a run that makes many.

    `context.add_asset_metadata` does the same after asking the instance, for each partition, which partitions the run
    has: half of what an event costs, and more with every partition. Here they come from the run itself. The door is
    private; the versions are pinned, and a test reads the metadata back.
    """
    step = context.get_step_execution_context()
    step._metadata_accumulator = step._metadata_accumulator.with_additional_asset_metadata(
        asset_key=context.asset_key, metadata=metadata, partition_key=key
    )


def materialized(artifact: Artifact, more: Mapping[str, Any] | None = None) -> dg.MaterializeResult[Any]:
    """The result of an asset that made one artifact."""
    return dg.MaterializeResult(
        metadata=describe_artifact(artifact, more), data_version=dg.DataVersion(artifact.version)
    )


def versions_of(artifacts: Mapping[str, Artifact]) -> str:
    """One version for many partitions of an upstream asset."""
    return content_version({partition: artifact.version for partition, artifact in artifacts.items()})


def build_and_point(
    store: ArtifactStore,
    asset: str,
    recipe: Recipe,
    write: Callable[[Any], Mapping[str, Any] | None],
    partition: str | None = None,
    resumable: bool = False,
) -> Artifact:
    """Find or build an artifact, and make it the one that the next stage reads."""
    artifact = store.build(asset, recipe, write, partition, resumable)
    store.point(artifact)
    return artifact


def partition_paths(artifacts: Mapping[str, Artifact]) -> dict[str, Path]:
    """Partition key to local folder, as the stages take it."""
    return {partition: artifact.path for partition, artifact in artifacts.items()}


def markdown_table(rows: Sequence[Mapping[str, Any]], limit: int = 30) -> dg.MarkdownMetadataValue:
    """Rows of equal keys as a Markdown table; more than `limit` rows are counted, not shown."""
    if not rows:
        return dg.MetadataValue.md("nothing to show")
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in rows[:limit]]
    if len(rows) > limit:
        lines.append(f"\n{len(rows) - limit:,} more rows in the artifact.")
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
