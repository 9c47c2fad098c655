"""Text of one cell as a value of the feed contract, or None where it is none. Cells are cleaned before.

Prices: "24,00", "1.299,00", "1,299.00", "1'299.-", "£12.99", "EUR 5". Where one separator stands once before exactly
three digits ("1.299"), it groups thousands, unless the spec says which character is the decimal separator: prices in
thousands are common, prices with three decimals are not.
"""

import math
import re
from datetime import UTC, datetime

from sortiment.feeds.codes import COUNTRIES, COUNTRY_ALIASES, CURRENCIES, CURRENCY_SYMBOLS

CURRENCY = r"(?:[A-Z]{3}|US\$|[€£$¥₽₺₹₴]|EUROS?|Kč|zł|S?Fr\.|Ft)"
PRICE = re.compile(
    rf"(?P<before>{CURRENCY})?\s*(?P<number>[0-9][0-9.,'’ ]*|[.,][0-9]+)(?:[-–—]+)?\s*(?P<after>{CURRENCY})?",
    re.IGNORECASE,
)
COMMON = re.compile(r"[0-9]+(?:[.,][0-9]{1,2})?")
SCIENTIFIC = re.compile(r"[0-9]+(?:\.[0-9]+)?e[+-]?[0-9]{1,2}", re.IGNORECASE)
GROUPING = re.compile(r"(?<=\d)['’ ](?=\d{3}(?!\d))")
GTIN_LENGTHS = (8, 12, 13, 14)
FIRST_YEAR, LAST_YEAR = 1990, 2100
DATE_FORMATS = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y.%m.%d",
)
UNIX_SECONDS, UNIX_MILLISECONDS = 10, 13  # digits of a Unix time between 2001 and 2286
YES = frozenset(("true", "t", "yes", "y", "1", "ja", "j", "sí", "si", "oui", "x"))
NO = frozenset(("false", "f", "no", "n", "0", "nein", "non"))


def parse_price(text: str, decimal: str | None = None) -> float | None:
    """A price >= 0 from ASCII digits. `decimal` is the decimal separator where the spec gives it."""
    if decimal is None and COMMON.fullmatch(text):
        return float(text.replace(",", "."))
    if SCIENTIFIC.fullmatch(text):
        return float(text)
    match = PRICE.fullmatch(text)
    if match is None or not all(_known(match[side]) for side in ("before", "after")):
        return None
    number = GROUPING.sub("", match["number"].strip()).rstrip(".,")
    plain = _decimal_point(number, decimal)
    return float(plain) if plain is not None else None


def currency_of_price(text: str) -> str | None:
    """The currency that stands beside a price's number; None where there is none."""
    match = PRICE.fullmatch(text)
    if match is None:
        return None
    return parse_currency(match["before"] or match["after"] or "")


def parse_currency(text: str) -> str | None:
    """An ISO 4217 code."""
    code = text.upper()
    code = CURRENCY_SYMBOLS.get(code, code)
    return code if code in CURRENCIES else None


def parse_country(text: str) -> str | None:
    """An ISO 3166-1 alpha-2 code."""
    code = text.upper()
    code = COUNTRY_ALIASES.get(code, code)
    return code if code in COUNTRIES else None


def parse_gtin(text: str) -> str | None:
    """A GTIN-8, -12, -13 or -14 with its check digit, digits only (GS1 General Specifications, 7.9)."""
    digits = text.replace(" ", "").replace("-", "").removeprefix("'").removesuffix(".0")
    if len(digits) not in GTIN_LENGTHS or not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        return None
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return digits if total % 10 == 0 else None


def parse_time(text: str, date_format: str | None = None) -> datetime | None:
    """A time in UTC, without a zone. Times without a zone are UTC already."""
    found = _read_time(text, date_format)
    if found is None:
        return None
    if found.tzinfo is not None:
        try:
            found = found.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


def parse_flag(text: str) -> bool | None:
    """Yes or no."""
    word = text.casefold()
    return True if word in YES else False if word in NO else None


def _known(currency: str | None) -> bool:
    return currency is None or parse_currency(currency) is not None


def _decimal_point(number: str, decimal: str | None) -> str | None:
    """Digits with at most one point, as `float` takes them; None where the separators make no number."""
    points, commas = number.count("."), number.count(",")
    if decimal is None:
        decimal = _guess_decimal(number, points, commas)
    group = "," if decimal == "." else "."
    whole, _, fraction = number.partition(decimal) if decimal else (number, "", "")
    if decimal and (decimal in fraction or group in fraction):
        return None
    parts = whole.split(group) if decimal else re.split(r"[.,]", whole)
    if len(parts) > 1 and (not 1 <= len(parts[0]) <= 3 or any(len(part) != 3 for part in parts[1:])):
        return None
    digits = "".join(parts) + ("." + fraction if fraction else "")
    return digits if re.fullmatch(r"\d*\.?\d+", digits) and math.isfinite(float(digits)) else None


def _guess_decimal(number: str, points: int, commas: int) -> str | None:
    """The decimal separator; None where every separator groups thousands."""
    if points and commas:
        return "." if number.rindex(".") > number.rindex(",") else ","
    if points + commas != 1:
        return None
    separator = "." if points else ","
    whole, _, fraction = number.partition(separator)
    thousands = len(fraction) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
    return None if thousands else separator


def _read_time(text: str, date_format: str | None) -> datetime | None:
    if date_format is not None:
        return _strptime(text, date_format)
    if text.isascii() and text.isdigit() and len(text) in (UNIX_SECONDS, UNIX_MILLISECONDS):
        seconds = int(text) / (1000 if len(text) == UNIX_MILLISECONDS else 1)
        return datetime.fromtimestamp(seconds, UTC)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return next((found for known in DATE_FORMATS if (found := _strptime(text, known)) is not None), None)


def _strptime(text: str, known: str) -> datetime | None:
    try:
        return datetime.strptime(text, known)
    except ValueError:
        return None
