"""Reading a feed spec's YAML file, and what can be told of it before a feed file is opened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortiment.cleaning import clean_text
from sortiment.errors import FeedError
from sortiment.feeds.files import find_feed_files
from sortiment.feeds.spec import FeedSpec, parse_spec
from sortiment.feeds.values import parse_country, parse_currency, parse_flag, parse_price, parse_time
from sortiment.yaml_files import YAML_ERRORS, read_yaml


def load_spec(path: Path) -> FeedSpec:
    """The spec in a YAML file. Raises FeedError naming file, field, value and what is allowed.

    The files that `path:` points at must exist; on s3:// that shows when they are listed.
    """
    spec = parse_spec(_read_yaml(path), path.stem, path.parent)
    _check_constants(spec, path)
    if not spec.remote:
        find_feed_files(spec)
    return spec


def _check_constants(spec: FeedSpec, path: Path) -> None:
    """A constant that cannot be read would break every row of the feed."""
    readers: dict[str, tuple[Callable[[str], Any], str]] = {
        "country": (parse_country, "an ISO 3166-1 alpha-2 code, such as GB"),
        "currency": (parse_currency, "an ISO 4217 code, such as EUR"),
        "price": (lambda text: parse_price(text, spec.decimal_separator), "a number >= 0"),
        "observed_at": (lambda text: parse_time(text, spec.date_format), "a date such as 2026-01-31, or `date_format`"),
        "withdrawn": (parse_flag, "yes or no"),
    }
    for name, value in spec.constants.items():
        if name in readers and readers[name][0](clean_text(value)) is None:
            raise FeedError(
                f"feed spec {spec.name}: constants: {name} cannot be read",
                value=value,
                allowed=readers[name][1],
                fix=f"correct {path}",
            )


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml(path)
    except FileNotFoundError as error:
        raise FeedError("the feed spec is not there", value=str(path), allowed="a YAML file") from error
    except YAML_ERRORS as error:
        raise FeedError(f"{path.name} cannot be read as YAML", value=str(error), fix=f"correct {path}") from error
