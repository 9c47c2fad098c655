"""A tiny feed as a shop writes it, and a bench with a tiny encoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortiment.encoders.references import describe_folder
from sortiment.feeds import FeedSpec, load_spec
from sortiment.progress import silent
from sortiment.quality import answering
from sortiment.quality.lessons import Bench
from sortiment.quality.offers import bench_store
from sortiment.settings import EncoderSettings, Settings

WORDS = {
    "Home > Lamps": ["lamp", "bulb", "lantern"],
    "Home > Chairs": ["chair", "stool", "armchair"],
    "Food > Tea": ["tea", "oolong", "matcha"],
    "Food > Coffee": ["coffee", "espresso", "arabica"],
}
NOISE = ["red", "new", "set", "pro", "xl", "best", "with", "for", "mini", "galaxy", "cover", "phone"]


@pytest.fixture(autouse=True)
def time_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    # How long a speed is measured is a constant of the module, not code under test; here nobody reads the speeds.
    monkeypatch.setattr(answering, "TIMED_SECONDS", 0.05)


@pytest.fixture(scope="session")
def tiny_feed(tmp_path_factory: pytest.TempPathFactory) -> FeedSpec:
    """240 labelled offers of four categories and 40 unlabelled ones; titles of three words."""
    folder = tmp_path_factory.mktemp("feed")
    draw = np.random.default_rng(1)
    lines = ["id,title,category"]
    for path, words in WORDS.items():
        for number in range(70):
            title = " ".join(
                draw.permutation([str(draw.choice(words)), *(str(word) for word in draw.choice(NOISE, 3))])
            )
            lines.append(f"{path}-{number},{title} {number},{path if number < 60 else ''}")
    (folder / "tiny.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tiny.yaml").write_text(
        "path: tiny.csv\nconstants: {country: GB}\ncolumns: {offer_id: id, title: title, category: category}\n"
        'category_separator: " > "\n',
        encoding="utf-8",
    )
    return load_spec(folder / "tiny.yaml")


@pytest.fixture
def make_bench(tiny_encoder: Path, quick_settings: Any) -> Callable[[Path], Bench]:
    """A bench whose store is in the given folder."""

    def make(folder: Path) -> Bench:
        settings = Settings(encoder=EncoderSettings(precision="fp32", max_tokens=16), student=quick_settings)
        encoder = describe_folder("tiny", tiny_encoder, folder / "cache")
        return Bench(bench_store(folder), encoder, folder / "features", settings, silent)

    return make
