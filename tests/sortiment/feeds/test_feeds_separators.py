"""A separator that is not the feed's is told before every path becomes a department."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sortiment.artifacts import ArtifactStore
from sortiment.blobs import LocalBlobs
from sortiment.errors import FeedError
from sortiment.feeds import FeedSpec, load_parts
from sortiment.feeds.separators import refuse_wrong_separator
from sortiment.progress import silent
from sortiment.settings import FeedSettings
from sortiment.taxonomy import Taxonomy, make_taxonomy

MakeSpec = Callable[..., FeedSpec]
COLUMNS = {"offer_id": "id", "title": "title", "category": "path"}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(LocalBlobs(tmp_path / "store"), tmp_path / "scratch")


def feed(separator: str) -> str:
    rows = [f"{number},thing {number},Toys{separator}Kind {number}" for number in range(20)]
    return "\n".join(["id,title,path", *rows]) + "\n"


@pytest.mark.parametrize("separator", [" | ", "|", "/", ">", " » ", "::"])
def test_a_wrong_separator_is_an_error_that_names_the_right_one(
    make_spec: MakeSpec, store: ArtifactStore, separator: str
) -> None:
    spec = make_spec("shop.csv", feed(separator), columns=COLUMNS)
    with pytest.raises(FeedError, match="none of 20 labels has a second level, but 20 hold") as caught:
        load_parts([spec], None, store, FeedSettings(), silent)
    assert f'`category_separator: "{separator}"`' in str(caught.value)
    right = spec.model_copy(update={"category_separator": separator})
    assert len(load_parts([right], None, store, FeedSettings(), silent)) == 1


def test_with_a_taxonomy_the_labels_are_its_own_matter(make_spec: MakeSpec, store: ArtifactStore) -> None:
    names = [(f"c{number}", {"en": (f"Toys/Kind {number}",)}) for number in range(20)]
    tree: Taxonomy = make_taxonomy(names, ("en",), "test")
    spec = make_spec("shop.csv", feed("/"), columns=COLUMNS)
    [part] = load_parts([spec], tree, store, FeedSettings(), silent)
    assert part.report.rows_loaded == 20


@pytest.mark.parametrize(
    "paths",
    [
        [(f"Toys & Games {number}",) for number in range(20)],
        [(f"A/B {number}",) for number in range(9)],  # too few to tell
        [*((f"A/B {number}",) for number in range(20)), ("A", "B")],  # the separator does split some
        [*((f"A/B {number}",) for number in range(10)), *((f"C {number}",) for number in range(10))],
    ],
)
def test_labels_that_may_be_names_pass(paths: list[tuple[str, ...]]) -> None:
    refuse_wrong_separator("shop", " > ", paths)
