"""A feed's new file costs its own offers, whatever the feeds and their files are called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog_assets.sampling import _new_parts, open_state
from resources.profiles import Profile
from sortiment.artifacts import Artifact
from sortiment.errors import UnreadableFile
from sortiment.progress import silent

SPEC = "path: {name}-*.csv\nconstants: {{country: DE}}\ncolumns: {{offer_id: id, title: title, category: path}}\n"


def bring_file(profile: Profile, feed: str, day: int) -> None:
    folder = profile.market_folder / "feeds"
    folder.mkdir(parents=True, exist_ok=True)
    (profile.market_folder / "market.yaml").write_text("name: shop\nfeeds: ['feeds/*.yaml']\n", encoding="utf-8")
    (folder / f"{feed}.yaml").write_text(SPEC.format(name=feed), encoding="utf-8")
    rows = "".join(f"{day}-{number},{feed} {number},Toys > Trains\n" for number in range(20))
    (folder / f"{feed}-{day}.csv").write_text("id,title,path\n" + rows, encoding="utf-8")


def load(profile: Profile, make: Callable[..., dict[str, str]]) -> Artifact:
    """The offers of Germany, and their census, after a load of what is there."""
    make(profile, "feed_files", "taxonomy")
    make(profile, "offers", "offer_census", over="country")
    return profile.storage().store.current("offers", "DE")


def test_a_new_file_of_any_feed_is_all_that_is_added_and_drawn_anew(
    tmp_path: Path, make: Callable[..., dict[str, str]]
) -> None:
    profile = Profile("local", tmp_path, "shop")
    storage = profile.storage()
    bring_file(profile, "otto", 1)
    bring_file(profile, "zalando", 1)
    first = load(profile, make)
    bring_file(profile, "otto", 2)
    second = load(profile, make)
    assert storage.store.current("sample_state", "DE").summary["new_parts"] == 1
    settings = profile.market_resource().settings.sampling
    state = open_state(storage, "DE", second, settings, silent)
    new = _new_parts(storage, "DE", first.version, state)
    assert new == [state.parts[-1]]
    assert len(state.parts) == 3
    (profile.market_folder / "feeds" / "otto-1.csv").unlink()
    third = load(profile, make)
    assert _new_parts(storage, "DE", first.version, open_state(storage, "DE", third, settings, silent)) == new


def test_a_damaged_feed_file_is_left_out_and_named_where_the_market_says_so(
    tmp_path: Path, make: Callable[..., dict[str, str]]
) -> None:
    profile = Profile("local", tmp_path, "shop")
    for day in (1, 2):
        bring_file(profile, "otto", day)
    whole = load(profile, make)
    damaged = profile.market_folder / "feeds" / "otto-3.csv"
    damaged.write_bytes(b"PK\x03\x04 a workbook")
    (profile.market_folder / "feeds" / "otto-2.csv").write_bytes(b"")
    with pytest.raises(UnreadableFile, match=r"otto-2\.csv is empty.*feeds.on_unreadable_file: skip"):
        make(profile, "feed_files")
    market = profile.market_folder / "market.yaml"
    market.write_text(market.read_text() + "settings: {feeds: {on_unreadable_file: skip}}\n", encoding="utf-8")
    said = make(profile, "feed_files")
    assert said["files_left_out"] == "2"
    assert "| otto-2.csv | otto | otto-2.csv is empty (0 bytes) | what it held before |" in said["left_out"]
    assert "| otto-3.csv | otto | otto-3.csv line 1: this is a zip archive" in said["left_out"]
    assert load(profile, make).version == whole.version
    damaged.unlink()
    bring_file(profile, "otto", 2)
    assert make(profile, "feed_files")["files_left_out"] == "0"
    assert load(profile, make).version == whole.version
