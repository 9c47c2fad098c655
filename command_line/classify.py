"""`sortiment classify`: a file's offers into categories, with the champion of a market."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog_assets.predictions import live_champion, served_engine
from resources.profiles import Profile
from resources.progress import TerminalProgress
from sortiment.errors import StorageError


def classify_with_champion(
    profile: Profile,
    source: Path,
    target: Path,
    country: str | None = None,
    title: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> None:
    """Write `target` (Parquet) and print what was done. Raises a SortimentError where it cannot be done.

    country: of all offers. title, delimiter, encoding: for what the file's beginning does not tell.
    """
    from sortiment.engines import load_engine
    from sortiment.predictions import classify_file

    console = Console()
    market, storage = profile.market_resource(), profile.storage()
    champion = live_champion(storage)
    tree = storage.store.find("taxonomy", champion.artifacts["taxonomy"])
    if tree is None:
        raise StorageError("the champion's category tree is gone", value=champion.artifacts["taxonomy"])
    report = classify_file(
        load_engine(served_engine(storage, champion).path),
        source,
        target,
        taxonomy=tree.path,
        model_version=champion.model_version,
        settings=market.settings.predictions,
        columns={"title": title} if title else None,
        country=country,
        delimiter=delimiter,
        encoding=encoding,
        progress=TerminalProgress(console),
    )
    table = Table(title=escape(f"{source.name} → {target}"), show_header=False)
    for name, value in vars(report).items():
        if value not in (None, {}):
            table.add_row(name.replace("_", " "), escape(_show(value)))
    console.print(table)


def _show(value: Any) -> str:
    """A field of the report: a count, how the file was read, or what was read as what."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_show(part)}" for name, part in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    return str(value) if str(value).isprintable() else repr(value)
