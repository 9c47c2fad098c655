"""Names that may hold any character, as keys that may not: partition keys, folders, URLs."""

import hashlib
import re
import unicodedata

SLUG_MAX_CHARS = 60
HASH_DIGITS = 8
UNLABELLED = "unlabelled"  # the partition of offers without a label: no department may be called that
# What Unicode's decomposition does not give, or gives otherwise than the language writes it.
LETTERS = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ł": "l",
        "þ": "th",
        "ı": "i",
    }
)


def slugify(name: str) -> str:
    """A key of at most 60 characters, [a-z0-9-]+, that depends on the name alone.

    Where letters or digits were lost (another script, a cut), a hash of the whole name keeps two names apart; names
    that differ only in case, accents, punctuation or white space share a key on purpose.
    """
    folded = unicodedata.normalize("NFKC", name).casefold().translate(LETTERS)
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(letter))
    slug = re.sub(r"[^a-z0-9]+", "-", bare).strip("-")
    lost = any(letter.isalnum() and not letter.isascii() for letter in bare)
    if slug and not lost and len(slug) <= SLUG_MAX_CHARS and slug != UNLABELLED:
        return slug
    digest = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    kept = slug[: SLUG_MAX_CHARS - HASH_DIGITS - 1].rstrip("-")
    return f"{kept or 'department'}-{digest}"
