"""What is missing or cut off in the store is made anew by what the errors advise: the same command once more."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resources.profiles import Profile
from sortiment.artifacts import MANIFEST, Artifact, ArtifactStore, verify
from sortiment.blobs import write_atomically
from sortiment.errors import SamplingError, StorageError
from sortiment.feeds import PART_ASSET, doubt_parts, open_doubting, read_listing, settle_doubts
from sortiment.sampling import OfferPart, doubting
from sortiment.sampling.counts import ContradictoryParts, sum_pairs

MARKET = b"""name: shop
feeds: [feeds/*.yaml]
settings: {feeds: {max_departments: 3, shared_departments: 2}, sampling: {per_category: 20}}
"""
SPEC = b"path: '*.csv'\nconstants: {country: DE}\ncolumns: {offer_id: id, title: title, category: path}\n"
Make = Callable[..., dict[str, str]]


class Market:
    """A shop whose small departments share partitions, so that its parts are written twice."""

    def __init__(self, profile: Profile, make: Make) -> None:
        self.profile, self._make = profile, make
        write_atomically(profile.market_folder / "market.yaml", MARKET)
        write_atomically(profile.market_folder / "feeds" / "shop.yaml", SPEC)

    @property
    def store(self) -> ArtifactStore:
        return self.profile.storage().store

    def bring(self, day: int, sizes: dict[str, int]) -> None:
        rows = [
            f"{day}{at}{number};{name} {number};{name}"
            for at, (name, count) in enumerate(sizes.items())
            for number in range(count)
        ]
        content = "\n".join(["id;title;path", *rows, ""])
        write_atomically(self.profile.market_folder / "feeds" / f"day-{day}.csv", content.encode())

    def make(self, *names: str, over: str | None = None) -> None:
        self._make(self.profile, *names, over=over)

    def make_all(self) -> None:
        self.make("feed_files", "taxonomy")
        self.make("offers", "offer_census", over="country")
        self.make("training_sample", over="slice")

    def current(self) -> dict[str, Artifact]:
        """Every current artifact and the loaded parts, by name."""
        store = self.store
        found = {name: store.current(name) for name in ("feed_files", "taxonomy")}
        for name in ("offers", "offer_census", "sample_state", "training_sample"):
            found |= {f"{name} {key}": made for key, made in store.current_partitions(name).items()}
        for part in read_listing(found["feed_files"].path, store):
            made = store.find(PART_ASSET, part.version)
            assert made is not None
            found[f"part {part.source_file}"] = made
        return found


@pytest.fixture
def market(tmp_path: Path, make: Make) -> Market:
    """Two days, the second with larger departments that came too late for a partition of their own."""
    made = Market(Profile("local", tmp_path, "shop"), make)
    bring_two_days(made)
    return made


def bring_two_days(market: Market) -> None:
    market.bring(1, {f"R {number}": 5 * number for number in range(1, 9)})
    market.make("feed_files", "taxonomy")
    market.bring(2, {f"S {number}": 60 for number in range(4)})
    market.make_all()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def zero(file: Path) -> None:
    """Damage that keeps the size: the middle half."""
    content = bytearray(file.read_bytes())
    quarter = len(content) // 4
    content[quarter:-quarter] = bytes(len(content) - 2 * quarter)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("part day-1.csv", lambda folder: cut(folder / "offers-DE.rows")),
        ("part day-2.csv", lambda folder: (folder / "offers-DE.parquet").unlink()),
        ("part day-1.csv", shutil.rmtree),
        ("feed_files", shutil.rmtree),
        ("taxonomy", shutil.rmtree),
        ("offers DE", shutil.rmtree),
        ("offer_census DE", shutil.rmtree),
        ("sample_state DE", shutil.rmtree),
        ("training_sample DE|r-8", lambda folder: cut(folder / "sample.parquet")),
    ],
)
def test_materializing_again_mends_what_is_damaged(market: Market, what: str, damage: Callable[[Path], None]) -> None:
    before = market.current()
    damage(before[what].path)
    market.make_all()
    after = market.current()
    assert {name: made.version for name, made in after.items()} == {name: made.version for name, made in before.items()}
    for made in after.values():
        verify(made)


def test_a_damaged_part_is_an_error_whose_advice_mends_it(market: Market) -> None:
    part = market.current()["part day-2.csv"]
    cut(part.path / "offers-DE.rows")
    with pytest.raises(StorageError, match=r"a loaded feed file is gone.*materialize feed_files again"):
        market.make("offers", over="country")
    market.make("feed_files")
    market.make("offers", "offer_census", over="country")
    verify(market.current()["part day-2.csv"])


def test_a_file_of_the_file_that_was_loaded_is_mended_too(market: Market) -> None:
    """A part whose departments share lies beside the part that it was made from."""
    listed = {part.version for part in read_listing(market.store.current("feed_files").path, market.store)}
    folders = [file.parent for file in (market.profile.home / "markets").glob(f"*/store/{PART_ASSET}/*/manifest.json")]
    raw = [folder for folder in folders if folder.name not in listed]
    assert raw
    for folder in raw:
        cut(folder / "labels.parquet")
    market.make_all()
    for folder in raw:
        made = market.store.find(PART_ASSET, folder.name)
        assert made is not None
        verify(made)


@pytest.mark.parametrize("file", ["offers-DE.parquet", "offers-DE.rows", "offers-DE.counts.arrow"])
@pytest.mark.parametrize("day", [1, 2])
def test_damage_that_keeps_the_size_is_mended_by_what_the_census_advises(market: Market, day: int, file: str) -> None:
    before = market.current()
    zero(before[f"part day-{day}.csv"].path / file)
    shutil.rmtree(before["sample_state DE"].path.parent)
    with pytest.raises(SamplingError) as caught:
        market.make("offer_census", over="country")
    assert "materialize feed_files again" in (caught.value.fix or "")
    market.make("feed_files")
    market.make("offer_census", over="country")
    after = market.current()
    assert {name: made.version for name, made in after.items()} == {name: made.version for name, made in before.items()}
    for made in after.values():
        verify(made)


def test_a_part_and_the_one_that_it_was_made_from_are_both_mended(market: Market) -> None:
    shutil.rmtree(market.current()["sample_state DE"].path.parent)
    folders = list((market.profile.home / "markets").glob(f"*/store/{PART_ASSET}/*/"))
    assert len(folders) == 4
    for folder in folders:
        zero(folder / "offers-DE.parquet")
    for _ in range(2):  # each census meets one of the two that were made
        with pytest.raises(SamplingError, match="materialize feed_files again"):
            market.make("offer_census", over="country")
        market.make("feed_files")
    market.make("offer_census", over="country")
    for folder in folders:
        made = market.store.find(PART_ASSET, folder.name)
        assert made is not None
        verify(made)


def test_parts_of_which_none_can_be_blamed_are_all_compared(market: Market) -> None:
    parts = [made for name, made in market.current().items() if name.startswith("part ")]
    with (
        pytest.raises(ContradictoryParts),
        doubting([OfferPart(made.uri, made.version) for made in parts], market.store),
    ):
        sum_pairs(np.array([1], dtype=np.uint64), np.array([-1]))
    zero(parts[1].path / "offers-DE.rows")
    market.make("feed_files")
    for made in market.current().values():
        verify(made)


def test_a_doubt_stays_until_the_part_is_whole(market: Market) -> None:
    version = market.current()["part day-1.csv"].version
    zero(market.current()["part day-1.csv"].path / "offers-DE.rows")
    doubt_parts([version], market.store.blobs)
    store = open_doubting(market.store)
    assert store.find(PART_ASSET, version) is None
    assert settle_doubts(store) == {version: "is damaged, and its feed file is not there to make it anew"}
    assert version in open_doubting(market.store).doubted
    market.make("feed_files")
    assert open_doubting(market.store).doubted == frozenset()


def test_parts_that_were_in_doubt_are_compared_once(market: Market) -> None:
    version = market.current()["part day-1.csv"].version
    doubt_parts([version], market.store.blobs)
    store = open_doubting(market.store)
    assert version in store.doubted
    assert store.find(PART_ASSET, version) is not None
    assert settle_doubts(store)[version].startswith("could not be used before")
    assert open_doubting(market.store).doubted == frozenset()


def test_a_part_in_doubt_of_which_a_file_cannot_be_read_is_made_anew(market: Market) -> None:
    part = market.current()["part day-1.csv"]
    rows = part.path / "offers-DE.rows"
    manifest = part.path / MANIFEST
    rows.unlink()
    rows.symlink_to("/proc/self/mem")  # as long as no file, and its first byte is an input/output error
    size = part.manifest["files"][rows.name]["bytes"]
    manifest.write_text(manifest.read_text().replace(f'"bytes": {size},', '"bytes": 0,'), encoding="utf-8")
    assert market.store.find(PART_ASSET, part.version) is not None
    doubt_parts([part.version], market.store.blobs)
    market.make("feed_files")
    verify(market.current()["part day-1.csv"])
    assert not rows.is_symlink()


@pytest.mark.parametrize("file", ["labels.parquet", "quarantine.parquet"])
def test_a_damaged_file_that_the_load_itself_reads_is_named_with_what_to_delete(market: Market, file: str) -> None:
    part = market.current()["part day-2.csv"]
    zero(part.path / file)
    with pytest.raises(StorageError, match=f"{file} of a loaded feed file is damaged") as caught:
        market.make("feed_files")
    assert f"delete the folder {part.path} and materialize feed_files again" in (caught.value.fix or "")
    shutil.rmtree(part.path)
    market.make_all()
    verify(market.current()["part day-2.csv"])


def test_on_s3_a_part_that_was_cut_off_is_loaded_again(s3_profile: Callable[[str, str], Profile], make: Make) -> None:
    market = Market(s3_profile("damaged", "shop"), make)
    bring_two_days(market)
    before, blobs = market.current(), market.profile.storage().blobs
    rows = f"{PART_ASSET}/{before['part day-2.csv'].version}/offers-DE.rows"
    whole = blobs.read(rows)
    assert whole is not None
    blobs.write(rows, whole[:-8])
    with pytest.raises(StorageError, match=r"a loaded feed file is gone.*materialize feed_files again"):
        market.make("offers", over="country")
    market.make_all()
    assert blobs.read(rows) == whole
    blobs.write(rows, bytes(len(whole)))
    for key in blobs.list("sample_state/"):
        if key.endswith(MANIFEST):
            blobs.write(key, b"")
    with pytest.raises(SamplingError, match="materialize feed_files again"):
        market.make("offer_census", over="country")
    market.make("feed_files")
    assert blobs.read(rows) == whole
    market.make("offer_census", over="country")
    for made in market.current().values():
        verify(made)
