"""`sortiment classify`: a file's offers into categories, with the champion of a market."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from catalog_assets.predictions import live_champion, served_engine
from resources.profiles import Profile
from resources.progress import TerminalProgress
from sortiment.errors import StorageError


def classify_with_champion(profile: Profile, source: Path, target: Path, country: str | None = None) -> None:
    """Write `target` (Parquet) and print what was done. Raises a SortimentError where it cannot be done."""
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
        country=country,
        inputs=market.settings.encoder.inputs,
        progress=TerminalProgress(console),
    )
    table = Table(title=f"{source.name} → {target}", show_header=False)
    for name, value in vars(report).items():
        if value is not None and not isinstance(value, dict | list | tuple):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
