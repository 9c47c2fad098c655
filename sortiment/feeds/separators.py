"""A spec whose `category_separator` is not the one that the feed writes makes every path a top level of its own.

Nothing fails then: there are as many departments as categories, and no tree. It can be told from the labels.
"""

from collections.abc import Iterable, Sequence

from sortiment.errors import FeedError
from sortiment.taxonomy import CategoryPath

MARKS = (">", "»", "›", "|", "::", "\\", "/", ";")
LEAST_LABELS = 10
LEAST_SHARE = 0.9


def refuse_wrong_separator(feed: str, separator: str, paths: Iterable[CategoryPath]) -> None:
    """Raises FeedError where each of a feed's distinct label paths has one level and nearly all hold one mark.

    paths: as `separator` split them. Fewer than ten labels, or labels of several levels, say nothing.
    """
    names: list[str] = []
    for path in paths:
        if len(path) > 1:
            return
        names.extend(path)
    if len(names) < LEAST_LABELS:
        return
    for mark in MARKS:
        holding = [name for name in names if mark in name.strip(mark + " ")]
        if len(holding) >= LEAST_SHARE * len(names):
            found = _with_blanks(mark, holding)
            raise FeedError(
                f"{feed}: none of {len(names):,} labels has a second level, but {len(holding):,} hold {mark!r}, "
                f"such as {min(holding)!r}",
                value=f"category_separator: {separator!r}",
                allowed="what stands between two levels of a label",
                fix=f'write `category_separator: "{found}"` into {feed}.yaml; where such a label is one name, give the '
                "market a taxonomy file that lists them",
            )


def _with_blanks(mark: str, names: Sequence[str]) -> str:
    """The mark as most names have it, with a blank on both sides or without."""
    spaced = f" {mark} "
    shown = spaced if 2 * sum(spaced in name for name in names) >= len(names) else mark
    return shown.replace("\\", "\\\\")
