"""The demo's market: synthetic offers, or anybody's feeds with a part held back as the second day."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from demo.undrifted import draw_undrifted, keep_undrifted
from resources.market import MARKET_FILE, open_feed_store
from resources.profiles import Profile
from sortiment import __version__
from sortiment.artifacts import ArtifactStore, content_version
from sortiment.blobs import LocalBlobs, write_atomically
from sortiment.errors import FeedError
from sortiment.feeds import (
    OFFER_SCHEMA,
    FeedSpec,
    departments_of,
    group_departments,
    list_feed_files,
    load_feeds,
    load_spec,
    read_listing,
)
from sortiment.market import generate_market, generate_second_day, inject_drift, write_drifted_feed
from sortiment.progress import Progress
from sortiment.settings import Settings
from sortiment.settings_file import parse_settings, read_stages
from sortiment.taxonomy import slugify
from sortiment.yaml_files import read_yaml

DEMO_VERSION = "2"
FIRST_DAY_SHARE = 0.85
SECOND_DAY = "day-2"
SCENARIO: Literal["new_vocabulary"] = "new_vocabulary"
DEMO_SETTINGS = Path(__file__).parent / "settings.yaml"


@dataclass(frozen=True)
class DemoMarket:
    """What the demo runs on. recipe: hash of all that was asked for. specs: of anybody's feeds; empty = synthetic."""

    profile: Profile
    recipe: str
    settings: Settings
    specs: tuple[FeedSpec, ...]

    @property
    def synthetic(self) -> bool:
        return not self.specs

    @property
    def folder(self) -> Path:
        return self.profile.market_folder


def plan_market(profile: Profile, feeds: list[Path], settings_file: Path | None) -> DemoMarket:
    """Read specs and settings, and name the market after them; nothing is written yet.

    Raises FeedError or SettingsError that names the file that cannot be used.
    """
    given = read_stages(DEMO_SETTINGS)
    if settings_file is not None:
        given = _merge(given, read_stages(settings_file))
    settings = parse_settings(given, str(settings_file or DEMO_SETTINGS))
    specs = name_apart([load_spec(path) for path in feeds])
    files = open_feed_store(specs, profile.s3_endpoint, profile.s3_region)
    content = {
        "demo": DEMO_VERSION,
        "version": __version__,
        "settings": given,
        "feeds": [
            [spec.name, spec.meaning(), [file.sha256 for file in list_feed_files(spec, files)]] for spec in specs
        ],
    }
    recipe = content_version(content)
    names = "-".join(spec.name for spec in specs)[:60] or "synthetic"
    return DemoMarket(replace(profile, market=f"{names}-{recipe[:8]}"), recipe, settings, specs)


def write_market(demo: DemoMarket, progress: Progress) -> dict[str, Any]:
    """The market's folder with its first day's feeds. Returns what to say about it."""
    if demo.synthetic:
        report = generate_market(demo.settings.market, demo.folder, progress)
        content = read_yaml(demo.folder / MARKET_FILE)
        content["settings"] = _given(demo.settings)
        _write_yaml(demo.folder / MARKET_FILE, content)
        return {"offers": report.offers, "shops": report.shops, "countries": len(report.by_country)}
    for spec in demo.specs:
        _write_yaml(demo.folder / "feeds" / f"{spec.name}.yaml", _copy_spec(spec, split_days(spec)[0]))
    content = {
        "name": demo.profile.market,
        "synthetic": False,
        "feeds": ["feeds/*.yaml"],
        "settings": _given(demo.settings),
    }
    _write_yaml(demo.folder / MARKET_FILE, content)
    return {"feeds": len(demo.specs)}


def write_second_day(demo: DemoMarket, partition: str | None, progress: Progress) -> dict[str, Any]:
    """A second feed with drift in one partition. partition: of a synthetic market; anybody's feeds choose their own.

    Returns `{partition, scenario, offers}`. Where anybody's feeds are too small to hold a second day back, nothing is
    written, `partition` is None and `why` says so.
    """
    if demo.synthetic:
        assert partition is not None
        country, department = partition.split("|", 1)
        report = generate_second_day(
            demo.settings.market, SCENARIO, country, department, demo.folder, progress=progress
        )
        keep_undrifted(demo.folder, draw_undrifted(demo.settings.market, country, department), country)
        return {"partition": partition, "scenario": SCENARIO, "offers": report.offers}
    offers = _held_back(demo, progress)
    partition = _choose_slice(demo, offers)
    if partition is None:
        why = f"of {offers.num_rows:,} offers that were held back as a second day none has a label of the first day's"
        return {"partition": None, "scenario": None, "offers": 0, "why": why}
    country, department = partition.split("|", 1)
    keep_undrifted(demo.folder, offers, country)
    drifted = inject_drift(offers, SCENARIO, country, department, demo.settings.market.seed)
    write_drifted_feed(drifted.offers, demo.folder / "feeds", SECOND_DAY)
    return {"partition": partition, "scenario": f"{SCENARIO} (injected)", "offers": offers.num_rows}


def _held_back(demo: DemoMarket, progress: Progress) -> pa.Table:
    """The offers that the first day left out, with the columns of the feed contract; `offer_id` is unique in it."""
    first_day = demo.profile.storage().store
    scratch = demo.folder / "scratch" / "held-back"
    store = ArtifactStore(LocalBlobs(scratch / "store"), scratch)
    specs = [spec.model_copy(update={"key_share": split_days(spec)[1]}) for spec in demo.specs]
    files = open_feed_store(specs, demo.profile.s3_endpoint, demo.profile.s3_region)
    loaded = load_feeds(specs, None, store, demo.settings.feeds, progress, files).parts
    earlier = departments_of(read_listing(first_day.current("feed_files").path, first_day))
    parts = group_departments(loaded, earlier, store, demo.settings.feeds)
    tables = [pq.read_table(path) for part in parts for path in part.paths.values()]
    shutil.rmtree(scratch, ignore_errors=True)
    offers = pa.concat_tables([OFFER_SCHEMA.empty_table(), *tables])
    # Feeds that number their offers alike stay apart in the one feed that they become.
    return offers.set_column(
        offers.schema.get_field_index("offer_id"), "offer_id", pc.cast(offers["offer_key"], pa.string())
    )


def _choose_slice(demo: DemoMarket, offers: pa.Table) -> str | None:
    """The country|department in which a drift can be seen best: many new offers with a label, and many of the first
    day's that no model has learned. None where no slice has both."""
    labelled = offers.filter(pc.is_valid(offers["category_id"]))
    new = Counter(zip(labelled["country"].to_pylist(), labelled["department"].to_pylist(), strict=True))
    samples = demo.profile.storage().store.current_partitions("training_sample")
    splits = {key: sample.summary["splits"] for key, sample in samples.items()}
    held_out = {key: counts.get("test", 0) + counts.get("validation", 0) for key, counts in splits.items()}
    seen = {
        key: (min(count, held_out[key]), count)
        for (country, department), count in new.items()
        if held_out.get(key := f"{country}|{department}")
    }
    return max(seen, key=lambda key: (*seen[key], key)) if seen else None


def name_apart(specs: Sequence[FeedSpec]) -> tuple[FeedSpec, ...]:
    """The specs under names of their own: where two files have one name, or the second day's, the folder's goes before.

    Raises FeedError where that does not help: one spec was given twice.
    """
    counts = Counter(spec.name for spec in specs)
    named = [
        spec.model_copy(update={"name": f"{slugify(spec.folder.absolute().name)}-{spec.name}"[:100]})
        if counts[spec.name] > 1 or spec.name.startswith(SECOND_DAY)
        else spec
        for spec in specs
    ]
    twice = sorted(name for name, count in Counter(spec.name for spec in named).items() if count > 1)
    if twice:
        raise FeedError(
            "two feed specs have the same name",
            value=twice,
            allowed="one name per feed, after its spec's file and folder",
            fix="rename one, or give it once",
        )
    return tuple(named)


def split_days(spec: FeedSpec) -> tuple[tuple[float, float], tuple[float, float]]:
    """The shares of the key space that the first and the second day have; together what the spec asks for."""
    low, high = spec.key_share
    night = low + (high - low) * FIRST_DAY_SHARE
    return (low, night), (night, high)


def _copy_spec(spec: FeedSpec, share: tuple[float, float]) -> dict[str, Any]:
    content = spec.model_dump(mode="json", exclude={"name", "folder"}, exclude_defaults=True)
    content["path"] = spec.path if spec.remote else str((spec.folder / spec.path).absolute())
    return {**content, "key_share": list(share)}


def _given(settings: Settings) -> dict[str, Any]:
    content: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=True)
    return content


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {key: {**first.get(key, {}), **second.get(key, {})} for key in {**first, **second}}


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode())
