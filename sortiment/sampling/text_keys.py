"""Keys that say which offers are the same product: hashes of product ids, GTINs and titles, and title signatures.

Everything works on whole Arrow columns, in time linear in their bytes, and every key depends on its own offer alone, so
it never changes when other offers come or go:

- `product_key`, `gtin_key`: hash of the id; 0 where the offer has none (or a GTIN of other than 8 to 14 digits);
- `title_key`: hash of the title's words as a multiset, after folding case, accents and punctuation: equal for titles
  that differ in nothing else; 0 where nothing is left of the title;
- `signature`: MinHash of the folded title's character 4-grams (bytes): 32 values of 16 bits, from 2 hash functions
  whose range is cut into 16 bins each (one-permutation hashing, Li, Owen and Zhang 2012), empty bins filled from the
  next (Shrivastava and Li 2014). The share of equal values estimates the Jaccard similarity;
- `group_key`: what the split goes by: product, else GTIN, else the first GROUP_VALUES values of the signature.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U64 = npt.NDArray[np.uint64]
SHINGLE_BYTES = 4
ROUNDS = 2
BINS = 16
SIGNATURE_VALUES = ROUNDS * BINS
GROUP_VALUES = 2
EMPTY = np.uint16(65_535)

PRODUCT_SALT = np.uint64(0x9E3779B97F4A7C15)
GTIN_SALT = np.uint64(0xC2B2AE3D27D4EB4F)
TITLE_SALT = np.uint64(0x165667B19E3779F9)
ROUND_SALTS = (np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F))
BASE = 0x100000001B3


@dataclass(frozen=True)
class TextKeys:
    """One entry per offer; `signature` is [offers, 32] of uint16."""

    product_key: U64
    gtin_key: U64
    title_key: U64
    group_key: U64
    signature: npt.NDArray[np.uint16]


def key_offers(titles: pa.Array, product_ids: pa.Array, gtins: pa.Array) -> TextKeys:
    """The keys of each offer."""
    folded = fold_titles(titles)
    blank = pc.equal(folded, "").to_numpy(zero_copy_only=False)
    product_key = _hash_present(product_ids, PRODUCT_SALT)
    gtin_key = _hash_present(_clean_gtins(gtins), GTIN_SALT)
    signature = sign_titles(folded)
    near_key = mix(_as_keys(signature[:, :GROUP_VALUES]) ^ TITLE_SALT)
    near_key[blank] = hash_strings(titles.filter(pa.array(blank)))
    group_key = np.where(product_key != 0, product_key, np.where(gtin_key != 0, gtin_key, near_key))
    title_key = np.where(blank, np.uint64(0), _hash_words(folded))
    return TextKeys(product_key, gtin_key, title_key, group_key, signature)


def mix(values: U64) -> U64:
    """A bijection of 64 bits that scatters (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_strings(strings: pa.Array) -> U64:
    """A 64-bit hash of each string's bytes: a polynomial over them, then `mix`. NULL hashes as ''."""
    data, starts, lengths = _bytes_of(strings)
    if not len(data):
        return mix(np.zeros(len(lengths), dtype=np.uint64))
    longest = int(lengths.max(initial=1))
    powers: U64 = np.cumprod(np.full(longest + 1, BASE, dtype=np.uint64), dtype=np.uint64)
    place = np.arange(len(data), dtype=np.int64) - np.repeat(starts, lengths)
    values = mix(data.astype(np.uint64) + np.uint64(1)) * powers[place]
    return mix(_reduce(np.add, values, starts, lengths) + lengths.astype(np.uint64))


def fold_titles(titles: pa.Array) -> pa.Array:
    """Lower case, no accents, words of letters and digits separated by one space."""
    text = pc.utf8_normalize(pc.utf8_lower(pc.fill_null(titles, "")), form="NFKD")
    text = pc.replace_substring_regex(text, r"\p{M}+", "")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[^\p{L}\p{N}]+", " "))


def sign_titles(folded: pa.Array) -> npt.NDArray[np.uint16]:
    """The MinHash signature of each folded title, [titles, 32]; of an empty title all values are 65535."""
    data, starts, lengths = _bytes_of(pc.binary_join_element_wise(" ", folded, " ", ""))
    shingles = np.maximum(lengths - (SHINGLE_BYTES - 1), 0)
    signature = np.full((len(lengths), SIGNATURE_VALUES), EMPTY, dtype=np.uint16)
    if not shingles.sum():
        return signature
    rolled = data[: len(data) - 3].astype(np.uint64)
    for offset in range(1, SHINGLE_BYTES):
        rolled |= data[offset : len(data) - 3 + offset].astype(np.uint64) << np.uint64(8 * offset)
    row = np.repeat(np.arange(len(lengths)), shingles)
    first = np.repeat(starts - np.cumsum(shingles) + shingles, shingles)
    rolled = rolled[first + np.arange(len(row))]
    flat = signature.reshape(-1)
    for index, salt in enumerate(ROUND_SALTS):
        hashed = mix(rolled ^ salt)
        bins = (hashed >> np.uint64(60)).view(np.int64) + (row * SIGNATURE_VALUES + index * BINS)
        np.minimum.at(flat, bins, ((hashed >> np.uint64(20)) & np.uint64(0xFFFF)).astype(np.uint16) & np.uint16(0xFFFE))
    return _fill_empty(signature)


def band_keys(signature: npt.NDArray[np.uint16], values: int) -> U64:
    """[titles, bands]: neighbouring values taken together; titles that agree in a whole band share its key."""
    bands = signature.shape[1] // values
    return np.stack([_as_keys(signature[:, band * values : (band + 1) * values]) for band in range(bands)], axis=1)


def _fill_empty(signature: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Each empty bin takes the value of the next filled bin of its round, changed by the distance."""
    for index in range(ROUNDS):
        part = signature[:, index * BINS : (index + 1) * BINS]
        original = part.copy()
        for distance in range(1, BINS):
            empty = part == EMPTY
            if not empty.any():
                break
            shifted = np.roll(original, -distance, axis=1)
            usable = empty & (shifted != EMPTY)
            part[usable] = (shifted[usable] + np.uint16(distance * 3898)) & np.uint16(0xFFFE)
    return signature


def _as_keys(values: npt.NDArray[np.uint16]) -> U64:
    keys = np.zeros(len(values), dtype=np.uint64)
    for column in range(values.shape[1]):
        keys = (keys << np.uint64(16)) | values[:, column].astype(np.uint64)
    return keys


def _hash_words(folded: pa.Array) -> U64:
    words = pc.split_pattern(folded, " ")
    hashes = hash_strings(words.flatten())
    counts = pc.list_value_length(words).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(counts) - counts
    return mix(_reduce(np.add, hashes, starts, counts) ^ TITLE_SALT)


def _clean_gtins(gtins: pa.Array) -> pa.Array:
    digits = pc.utf8_ltrim(pc.replace_substring_regex(pc.fill_null(gtins, ""), r"[^0-9]", ""), characters="0")
    length = pc.utf8_length(digits)
    usable = pc.and_(pc.greater_equal(length, 7), pc.less_equal(length, 14))
    return pc.if_else(usable, digits, pa.scalar(None, pa.string()))


def _hash_present(strings: pa.Array, salt: np.uint64) -> U64:
    present = pc.is_valid(strings).to_numpy(zero_copy_only=False)
    hashes: U64 = np.where(present, np.maximum(mix(hash_strings(strings) ^ salt), np.uint64(1)), np.uint64(0))
    return hashes


def _bytes_of(strings: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All bytes, and where each string starts in them and how long it is."""
    array = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    array = pc.fill_null(array, "").cast(pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.large_string())
    _, offset_buffer, data_buffer = array.buffers()
    if offset_buffer is None or not len(array):
        empty = np.empty(0, dtype=np.int64)
        return np.empty(0, dtype=np.uint8), empty, empty
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, dtype=np.uint8)
    return data[offsets[0] : offsets[-1]], offsets[:-1] - offsets[0], np.diff(offsets)


def _reduce(operation: np.ufunc, values: U64, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> U64:
    """The operation over each run of values; zero for an empty run."""
    filled = lengths > 0
    result: U64 = np.zeros(len(lengths), dtype=np.uint64)
    if filled.any():
        result[filled] = operation.reduceat(values, starts[filled])
    return result
