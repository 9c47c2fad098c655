"""Keys that say which offers are the same product: hashes of product ids, GTINs and titles, and title signatures.

Everything works on whole Arrow columns, in time linear in their bytes, and every key depends on its own offer alone, so
it never changes when other offers come or go:

- `product`, `gtin`: hash of the id; 0 where the offer has none (or a GTIN of other than 7 to 14 digits);
- `title`: hash of the title after folding case, accents and punctuation: equal for titles that differ in nothing else;
  0 where nothing is left of the title;
- `signature`: MinHash of the folded title's 4-grams of bytes: 32 values of 16 bits from one hash function whose range
  is cut into 32 bins (one-permutation hashing, Li, Owen and Zhang 2012), empty bins filled from the next (Shrivastava
  and Li 2014). The share of equal values estimates the Jaccard similarity;
- `group`: what the split goes by: product, else GTIN, else the first GROUP_VALUES values of the signature.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U64 = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint16]

SIGNATURE_VALUES = 32
GROUP_VALUES = 2
EMPTY = np.uint16(65_535)
AWAY = np.uint16(1_950)
"""What an empty bin's value changes by for each bin that it is away from the one it is taken from."""
SPACE = 32
BASE = 0x100000001B3
PRODUCT_SALT = np.uint64(0x9E3779B97F4A7C15)
GTIN_SALT = np.uint64(0xC2B2AE3D27D4EB4F)
TITLE_SALT = np.uint64(0x165667B19E3779F9)
TITLES_AT_ONCE = 4_096


@dataclass(frozen=True)
class TextKeys:
    """One entry per offer; `signature` is [offers, 32] of uint16."""

    product: U64
    gtin: U64
    title: U64
    group: U64
    signature: Signatures


@dataclass(frozen=True)
class Texts:
    """The bytes of many strings: string i is `data[starts[i] : starts[i] + lengths[i]]`, one after the other."""

    data: Bytes
    starts: Places
    lengths: Places


def key_offers(titles: pa.Array, product_ids: pa.Array, gtins: pa.Array) -> TextKeys:
    """The keys of each offer."""
    product = _hash_present(product_ids, PRODUCT_SALT)
    gtin = _hash_present(_clean_gtins(gtins), GTIN_SALT)
    title, near = np.empty((2, len(titles)), dtype=np.uint64)
    signature = np.empty((len(titles), SIGNATURE_VALUES), dtype=np.uint16)
    for first in range(0, len(titles), TITLES_AT_ONCE):
        some = slice(first, first + TITLES_AT_ONCE)
        title[some], near[some], signature[some] = _key_titles(titles.slice(first, TITLES_AT_ONCE))
    return TextKeys(product, gtin, title, _group(product, gtin, near), signature)


def key_products(titles: pa.Array, product: U64, gtin: U64) -> U64:
    """The `group` key of each offer, from its other keys (0 where there is none): what its side of a split follows."""
    near = np.empty(len(titles), dtype=np.uint64)
    for first in range(0, len(titles), TITLES_AT_ONCE):
        _, near[first : first + TITLES_AT_ONCE], _ = _key_titles(titles.slice(first, TITLES_AT_ONCE))
    return _group(product, gtin, near)


def _group(product: U64, gtin: U64, near: U64) -> U64:
    return np.where(product != 0, product, np.where(gtin != 0, gtin, near))


def key_titles(titles: pa.Array) -> U64:
    """The `title` key of each offer, without the others."""
    keys = np.empty(len(titles), dtype=np.uint64)
    for first in range(0, len(titles), TITLES_AT_ONCE):
        folded = fold_titles(titles.slice(first, TITLES_AT_ONCE))
        keys[first : first + TITLES_AT_ONCE] = _hash_folded(folded)
    return keys


def _key_titles(titles: pa.Array) -> tuple[U64, U64, Signatures]:
    """Title, near-title key and signature of so few titles that all stays in the processor's cache."""
    folded = fold_titles(titles)
    signature = sign_titles(folded)
    near = mix(band_key(signature, 0, GROUP_VALUES) ^ TITLE_SALT)
    blank = _is_blank(folded)
    if blank.any():
        near[blank] = mix(hash_strings(titles.filter(pa.array(blank))) ^ TITLE_SALT)
    return _hash_folded(folded), near, signature


def _hash_folded(folded: Texts) -> U64:
    return np.where(_is_blank(folded), np.uint64(0), mix(_hash_texts(folded) ^ TITLE_SALT))


def _is_blank(folded: Texts) -> npt.NDArray[np.bool_]:
    """Whether nothing is left of a title."""
    blank: npt.NDArray[np.bool_] = folded.lengths < 2
    return blank


def mix(values: U64) -> U64:
    """A bijection of 64 bits that scatters (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_strings(strings: pa.Array) -> U64:
    """A 64-bit hash of each string's bytes: a polynomial over them, then `mix`. NULL hashes as ''."""
    return _hash_texts(_texts_of(strings))


def fold_titles(titles: pa.Array) -> Texts:
    """Lower case, no accents; words of letters and digits, a space before each and one after the last."""
    text = pc.fill_null(titles, "")
    ascii_only = pc.string_is_ascii(text)
    if not pc.all(ascii_only).as_py():
        plain = pc.utf8_normalize(pc.utf8_lower(text), form="NFKD")
        plain = pc.replace_substring_regex(plain, r"\p{M}+", "")
        text = pc.if_else(ascii_only, text, pc.replace_substring_regex(plain, r"[^\p{L}\p{N}]+", " "))
    raw = _texts_of(pc.binary_join_element_wise(" ", text, " ", ""))
    data = FOLDED[raw.data]
    kept = np.ones(len(data), dtype=np.bool_)
    kept[1:] = (data[1:] != SPACE) | (data[:-1] != SPACE)
    kept[raw.starts] = True
    ends = np.cumsum(kept)[raw.starts + raw.lengths - 1]
    lengths = np.diff(ends, prepend=0)
    return Texts(data[kept], ends - lengths, lengths)


def sign_titles(folded: Texts) -> Signatures:
    """The MinHash signature of each folded title, [titles, 32]; of an empty title all values are 65535."""
    signature = np.full((len(folded.lengths), SIGNATURE_VALUES), EMPTY, dtype=np.uint16)
    usable = np.ones(len(folded.data), dtype=np.bool_)
    ends = np.cumsum(folded.lengths)
    for back in range(1, 4):
        usable[np.maximum(ends - back, 0)] = False
    wide = folded.data.astype(np.uint32)
    shingles = wide.copy()
    for offset in range(1, 4):
        shingles[: len(wide) - offset] |= wide[offset:] << np.uint32(8 * offset)
    hashed = _mix_short(shingles[usable])
    titles = np.repeat(np.arange(0, signature.size, SIGNATURE_VALUES), folded.lengths)[usable]
    values = ((hashed >> np.uint32(11)) & np.uint32(0xFFFE)).astype(np.uint16)
    np.minimum.at(signature.reshape(-1), titles + (hashed >> np.uint32(27)).astype(np.int64), values)
    bins = np.ascontiguousarray(signature.T)
    _fill_empty(bins)
    return np.ascontiguousarray(bins.T)


def _mix_short(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """A bijection of 32 bits that scatters (the finalizer of murmur3)."""
    values = (values ^ (values >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    values = (values ^ (values >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


def band_key(signature: Signatures, first: int, values: int) -> U64:
    """So many values of each signature from `first` on, at most four, taken together as one number."""
    key = np.zeros(len(signature), dtype=np.uint64)
    for column in range(first, first + values):
        key = (key << np.uint64(16)) | signature[:, column].astype(np.uint64)
    return key


def _fold_table() -> Bytes:
    table = np.arange(256, dtype=np.uint8)
    for code in range(128):
        character = chr(code)
        table[code] = ord(character.lower()) if character.isalnum() else SPACE
    return table


FOLDED = _fold_table()
"""What each byte folds to; bytes of letters beyond ASCII stay."""


def _fill_empty(bins: Signatures) -> None:
    """Each empty bin takes the value of the next filled bin, around the end, changed by the distance. [32, titles]"""
    first = np.argmax(bins != EMPTY, axis=0)
    following = bins[first, np.arange(bins.shape[1])]
    blank = following == EMPTY
    distance = first.astype(np.uint16) * AWAY
    for turn in range(SIGNATURE_VALUES - 1, -1, -1):
        own = bins[turn]
        filled = own != EMPTY
        distance += AWAY
        np.copyto(distance, np.uint16(0), where=filled)
        np.copyto(following, own, where=filled)
        np.add(following, distance, out=own)
        np.bitwise_and(own, np.uint16(0xFFFE), out=own)
    bins[:, blank] = EMPTY


def _hash_texts(texts: Texts) -> U64:
    longest = int(texts.lengths.max(initial=0))
    powers: U64 = np.cumprod(np.full(longest + 1, BASE, dtype=np.uint64), dtype=np.uint64)
    place = np.arange(len(texts.data)) - np.repeat(texts.starts, texts.lengths)
    sums = _sum_runs(LETTERS[texts.data] * powers[place], texts.starts, texts.lengths)
    return mix(sums + texts.lengths.astype(np.uint64))


LETTERS = mix(np.arange(1, 257, dtype=np.uint64))
"""A number for each byte."""


def _clean_gtins(gtins: pa.Array) -> pa.Array:
    if gtins.null_count == len(gtins):
        return gtins
    digits = pc.utf8_ltrim(pc.replace_substring_regex(pc.fill_null(gtins, ""), r"[^0-9]", ""), characters="0")
    length = pc.utf8_length(digits)
    usable = pc.and_(pc.greater_equal(length, 7), pc.less_equal(length, 14))
    return pc.if_else(usable, digits, pa.scalar(None, pa.string()))


def _hash_present(strings: pa.Array, salt: np.uint64) -> U64:
    if strings.null_count == len(strings):
        return np.zeros(len(strings), dtype=np.uint64)
    present = pc.is_valid(strings).to_numpy(zero_copy_only=False)
    hashes: U64 = np.where(present, np.maximum(mix(hash_strings(strings) ^ salt), np.uint64(1)), np.uint64(0))
    return hashes


def _texts_of(strings: pa.Array) -> Texts:
    array = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    array = pc.fill_null(array, "").cast(pa.large_string())
    if not len(array):
        return Texts(np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
    return Texts(data[offsets[0] : offsets[-1]], offsets[:-1] - offsets[0], np.diff(offsets))


def _sum_runs(values: U64, starts: Places, lengths: Places) -> U64:
    """The sum of each run of values, modulo 2**64; zero for an empty run."""
    filled = lengths > 0
    result: U64 = np.zeros(len(lengths), dtype=np.uint64)
    if filled.any():
        result[filled] = np.add.reduceat(values, starts[filled])
    return result
