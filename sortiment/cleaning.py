"""Text as shops send it, made comparable: one rule for titles, brands, labels and names in a taxonomy.

Entities are decoded (also doubly escaped ones), tags removed, Unicode brought to NFKC, control and zero-width
characters taken out, white space collapsed. Cleaning what is clean changes nothing. Most values need none of it: a
regular expression that Arrow runs over a whole column finds those that do, and only they reach Python.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ROUNDS = 8  # "&amp;amp;amp;lt;" needs one per layer; what is still unstable after this many is left as it is
ENTITY = re.compile(r"&(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)")
# What a browser does not show: from the first pattern to the second.
HIDDEN = (
    (re.compile(r"<script\b[^<>]*>", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style\b[^<>]*>", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
    (re.compile("<!--"), re.compile("-->")),
)
CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
# Only names that are HTML: "<M or >L" in a title is a size, not a tag.
INLINE = r"a|abbr|b|big|em|font|i|ins|mark|small|span|strong|sub|sup|u"
BLOCK = (
    r"article|blockquote|body|br|center|code|dd|div|dl|dt|h[1-6]|head|hr|html|iframe|img|li|link|meta|ol|option|p|pre|"
    r"s|script|section|select|style|table|tbody|td|tfoot|th|thead|title|tr|ul|wbr"
)
INLINE_TAG = re.compile(rf"</?(?:{INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
BLOCK_TAG = re.compile(rf"</?(?:{BLOCK})(?:[\s/][^<>]*)?(?:>|$)", re.IGNORECASE)
ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic letters; other scripts' marks make other letters
UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}
ZERO_WIDTH = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Everything outside these characters, and every hint of an entity, a tag or spare white space, goes to Python. The
# letters named here are their own NFKC form and nothing combines with them.
NEEDS_CLEANING = r"[^ -~£©®°«»¿À-ÿŒœ–—‘’“”„€]|&[#A-Za-z]|<[A-Za-z/!]|\]\]>|  |^ | $"


def clean_text(text: str) -> str:
    """One value, cleaned; '' where nothing is left."""
    for _ in range(ROUNDS):
        cleaned = _clean_once(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def strip_accents(text: str) -> str:
    """The text as it is written without accents: "azúcar" as "azucar"."""
    return unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", text)))


def spell_umlauts(text: str) -> str:
    """German umlauts as two letters: "Möhre" as "Moehre"."""
    return "".join(UMLAUTS.get(letter, letter) for letter in unicodedata.normalize("NFC", text))


def clean_column(column: pa.Array) -> pa.Array:
    """A string column, cleaned; same length, nulls stay, '' becomes null."""
    dirty = pc.match_substring_regex(column, NEEDS_CLEANING)
    if pc.any(dirty).as_py():
        cleaned = [clean_text(text) for text in column.filter(dirty).to_pylist()]
        column = pc.replace_with_mask(column, pc.fill_null(dirty, False), pa.array(cleaned, pa.string()))
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def map_distinct(column: pa.Array, function: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """`function` of every value, called once per distinct value; null stays null."""
    encoded = pc.dictionary_encode(column)
    values = pa.array([function(text) for text in encoded.dictionary.to_pylist()], kind)
    return values.take(encoded.indices)


def _clean_once(text: str) -> str:
    if "&" in text:
        text = ENTITY.sub(_decode_entity, text)
    if "<" in text or "]]>" in text:
        text = CDATA.sub(" ", _drop_hidden(text))
        text = BLOCK_TAG.sub(" ", INLINE_TAG.sub("", text))
    if not text.isascii():
        text = ZERO_WIDTH.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(CONTROL.sub(" ", text).split())


def _drop_hidden(text: str) -> str:
    """One pass per kind, however many openings lack their end."""
    for opening, closing in HIDDEN:
        kept = []
        position = 0
        while (start := opening.search(text, position)) and (end := closing.search(text, start.end())):
            kept.append(text[position : start.start()])
            position = end.end()
        text = " ".join([*kept, text[position:]])
    return text


def _decode_entity(match: re.Match[str]) -> str:
    return html.unescape(match.group())
