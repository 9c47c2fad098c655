"""What the bench refuses, and what becomes of the rest.

A mistake in the command is an error before anything is computed. A feed, a split or a model that cannot be measured
is none: its rows are listed as skipped with the reason, and the others are computed. Only where nothing is left is the
reason the command's error.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from sortiment.encoders import offer_texts
from sortiment.errors import FeedError, SamplingError, SettingsError, SortimentError, TrainingError
from sortiment.quality.offers import FeedOffers

REFUSALS = (FeedError, SamplingError, TrainingError)
NO_TIME = "does not fit the budget"
TEXT_COLUMNS = ("title", "brand", "description", "shop_category")
WORD = re.compile(r"\w")

Feeds = Mapping[str, FeedOffers | SortimentError]
"""Each feed's offers by its name, or why it cannot be measured."""


def distinct_paths(paths: Iterable[Path], option: str, name_of: Callable[[Path], str]) -> list[Path]:
    """The paths, one that is given twice once. Raises SettingsError where two would have one name in the tables."""
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(name_of(path), path)
        if other.resolve() != path.resolve():
            raise SettingsError(
                f"two of {option} have one name, and rows are told apart by it",
                value=f"{name_of(path)}: {other} and {path}",
                allowed="another name for each",
                fix="rename one of them, or measure it in a run of its own",
            )
    return list(found.values())


def load_feed(load: Callable[[], FeedOffers], inputs: Sequence[str]) -> FeedOffers | SortimentError:
    """The feed's offers, or why it cannot be measured. inputs: the columns that its offers are told by."""
    try:
        offers = load()
    except REFUSALS as error:
        return error
    return check_feed(offers, inputs)


def check_feed(offers: FeedOffers, inputs: Sequence[str]) -> FeedOffers | SortimentError:
    """The same of a feed that is loaded."""
    try:
        refuse_wordless(offers.table, inputs, f"no offer of the feed {offers.name}")
    except FeedError as error:
        return error
    return offers


def refuse_wordless(table: pa.Table, inputs: Sequence[str], nobody: str) -> None:
    """Raises FeedError where the columns hold no word at all: there is nothing to learn from, whatever the model."""
    texts = offer_texts({name: table[name].to_pylist() for name in inputs}, inputs)
    if any(WORD.search(text) for text in texts):
        return
    filled = [name for name in TEXT_COLUMNS if any(table[name].to_pylist())]
    raise FeedError(
        f"{nobody} has a text to be told by",
        value=f"encoder.inputs: {', '.join(inputs)}",
        allowed=f"columns that are filled: {', '.join(filled) or 'none'}",
        fix="map the column in the feed spec (docs/contracts.md), or choose others as encoder.inputs",
    )


def nothing_measured(errors: Iterable[SortimentError]) -> SortimentError:
    """What the command ends with where every row was refused: the one reason, or all of them."""
    reasons = {error.what: error for error in errors}  # of one reason, what was seen differs by seed
    if len(reasons) == 1:
        return next(iter(reasons.values()))
    return FeedError(
        "nothing could be measured: every row was refused",
        value="; ".join(reasons),
        fix="see each reason above, or under `skipped` in the JSON",
    )
