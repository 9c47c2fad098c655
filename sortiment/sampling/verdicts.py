"""What a split found to be near duplicates, kept so that the next day's split looks only at what may have changed.

Whether an offer nearly repeats one of a reference depends on its own text keys, and on the reference's offers that
share a product id, GTIN, title, group or band with it, in the order of their keys. So a verdict holds as long as the
offer's text keys are the same and no such offer came or went. All others are looked at again (`near.py`): the result is
what a look at everything would have given, and does not depend on how many days went by.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.sampling.order import Keys
from sortiment.sampling.reserve import Mask, read_numbers, write_numbers
from sortiment.sampling.text_keys import SIGNATURE_VALUES, U64, TextKeys, mix

VERSION = 1
"""Raise it when the same text keys would give other verdicts."""
ABOUT_FILE = "verdicts.json"
VERDICTS = "verdicts"
"""The folder in an artifact that keeps them."""
FIELDS = ("product", "gtin", "title", "group")
BANDS = SIGNATURE_VALUES // 4
FACTORS = mix(np.arange(1, len(FIELDS) + BANDS + 1, dtype=np.uint64)) | np.uint64(1)


@dataclass(frozen=True)
class Verdicts:
    """Of each offer whether it nearly repeats one of the reference. Offers and reference ascend by offer key.

    texts, reference_texts: a number per offer that stands for all its text keys (`digest_texts`).
    """

    keys: Keys
    texts: U64
    near: Mask
    reference_keys: Keys
    reference_texts: U64
    reference: TextKeys


KeptVerdicts = Mapping[str, Verdicts]
"""By side: whether offers of that side nearly repeat one of a smaller side."""


def digest_texts(offers: TextKeys) -> U64:
    """A number per offer that is the same for the same text keys and, but for one chance in 2**64, for no others."""
    columns = [getattr(offers, name) for name in FIELDS]
    columns += list(np.ascontiguousarray(offers.signature).view(np.uint64).T)
    total = np.zeros(len(offers.group), dtype=np.uint64)
    for column, factor in zip(columns, FACTORS, strict=True):
        total += mix(column ^ factor) * factor
    return total


def write_verdicts(kept: KeptVerdicts, similarity: float, folder: Path) -> None:
    """Into a folder: two files of numbers per side, and what they were found with."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, found in kept.items():
        write_numbers(folder / f"{side}.arrow", {"key": found.keys, "text": found.texts, "near": found.near.view("u1")})
        bands = found.reference.signature.view(np.uint64)
        write_numbers(
            folder / f"{side}-reference.arrow",
            {
                "key": found.reference_keys,
                "text": found.reference_texts,
                **{name: getattr(found.reference, name) for name in FIELDS},
                **{f"band_{band}": np.ascontiguousarray(bands[:, band]) for band in range(BANDS)},
            },
        )
    about = {"version": VERSION, "similarity": similarity, "sides": sorted(kept)}
    (folder / ABOUT_FILE).write_text(json.dumps(about), encoding="utf-8")


def read_verdicts(folder: Path, similarity: float) -> KeptVerdicts:
    """What `write_verdicts` wrote; nothing where nothing was kept, or it was found in another way."""
    if not (folder / ABOUT_FILE).is_file():
        return {}
    about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    if (about["version"], about["similarity"]) != (VERSION, similarity):
        return {}
    return {side: _read_side(folder, side) for side in about["sides"]}


def _read_side(folder: Path, side: str) -> Verdicts:
    offers, reference = (read_numbers(folder / f"{side}{of}.arrow") for of in ("", "-reference"))
    signature = np.stack([reference[f"band_{band}"] for band in range(BANDS)], axis=1).view(np.uint16)
    return Verdicts(
        keys=offers["key"],
        texts=offers["text"],
        near=offers["near"].view(np.bool_),
        reference_keys=reference["key"],
        reference_texts=reference["text"],
        reference=TextKeys(**{name: reference[name] for name in FIELDS}, signature=signature),
    )


def carry_over(before: Verdicts, keys: Keys, texts: U64) -> tuple[Mask, Mask]:
    """The earlier verdict on each offer, and for which there is one; `keys` ascend."""
    place, same = _find_same(keys, texts, before.keys, before.texts)
    near = np.zeros(len(keys), dtype=np.bool_)
    near[same] = before.near[place[same]]
    return near, same


def changed_reference(before: Verdicts, keys: Keys, texts: U64, reference: TextKeys) -> TextKeys:
    """The reference's offers that came since, and those that went or have other text keys now."""
    came = ~_find_same(keys, texts, before.reference_keys, before.reference_texts)[1]
    went = ~_find_same(before.reference_keys, before.reference_texts, keys, texts)[1]
    names = (*FIELDS, "signature")
    parts = {name: (getattr(reference, name)[came], getattr(before.reference, name)[went]) for name in names}
    return TextKeys(**{name: np.concatenate(both) for name, both in parts.items()})


def _find_same(keys: Keys, texts: U64, among: Keys, among_texts: U64) -> tuple[npt.NDArray[np.int64], Mask]:
    """Where each key is among others, and whether it is there with the same texts."""
    if not len(among):
        return np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.bool_)
    place = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    same: Mask = (among[place] == keys) & (among_texts[place] == texts)
    return place, same
