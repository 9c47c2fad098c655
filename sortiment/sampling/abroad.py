"""Training offers that repeat a validation or test offer of another country.

A country is split by itself, so that its sample does not depend on the others. But teacher and students learn from all
countries at once, and one country's training offer may be another's test offer: a category's only offer was lent to
training in one of them, or one feed gives a product id and the other none. Whoever puts samples together leaves such
training offers out: the same product id, GTIN or folded title (`text_keys.py`) as a held-out offer of another country,
labelled or not. Titles that are only nearly the same are looked for within a country alone.

One exception: where that would take a category's last training offer, in all countries, its offers stay, and are
counted. A class that is never trained cannot be named at all; its held-out offers yield nowhere, since that would have
to be told to all who score, so for these few categories scores say more than was learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.errors import SamplingError
from sortiment.sampling.reserve import Mask
from sortiment.sampling.samples import SAMPLE_FILE
from sortiment.sampling.splits import SPLITS, TRAIN
from sortiment.sampling.text_keys import U64, key_titles

COLUMNS = ["country", "title", "category_id", "split", "product_key", "gtin_key"]

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RepeatsAbroad:
    """left_out: of each partition, in the order of their keys, True for training offers that are not to be learned.
    kept: how many repeat a held-out offer too, but are learned, since their category has no others."""

    left_out: Mapping[str, Mask]
    kept: int

    @property
    def count(self) -> int:
        """Training offers that are left out."""
        return sum(int(rows.sum()) for rows in self.left_out.values())


def find_repeats_abroad(samples: Mapping[str, Path]) -> RepeatsAbroad:
    """Look through the samples that are learned together. samples: partition key to sample.parquet or its folder.

    Takes time in proportion to the offers. Raises SamplingError for a sample without the keys.
    """
    if not samples:
        return RepeatsAbroad({}, 0)
    tables = {key: _read(key, samples[key]) for key in sorted(samples)}
    offers = pa.concat_tables(tables.values(), promote_options="permissive")
    training = pc.equal(offers["split"], SPLITS[TRAIN]).to_numpy()
    labelled = pc.is_valid(offers["category_id"]).to_numpy()
    labels = np.where(labelled, _codes(offers["category_id"]) + 1, 0)
    keys = [key_titles(offers["title"].cast(pa.string()).combine_chunks())]
    keys += [pc.fill_null(offers[name].cast(pa.uint64()), 0).to_numpy() for name in ("product_key", "gtin_key")]
    left_out, kept = leave_out(keys, _codes(offers["country"]), labels, training)
    ends = np.cumsum([table.num_rows for table in tables.values()])[:-1]
    return RepeatsAbroad(dict(zip(tables, np.split(left_out, ends), strict=True)), int(kept.sum()))


def leave_out(keys: Sequence[U64], countries: Codes, labels: Codes, training: Mask) -> tuple[Mask, Mask]:
    """The training offers that are left out, and those that repeat a held-out offer abroad and stay.

    keys: columns, 0 where an offer has none. countries: a number each. labels: categories' numbers, 0 where there is
    no label.
    """
    repeats = _repeat_abroad(keys, countries, training)
    taught = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.bool_)
    taught[labels[training & ~repeats]] = True
    kept = repeats & (labels > 0) & ~taught[labels]
    return repeats & ~kept, kept


def _repeat_abroad(keys: Sequence[U64], countries: Codes, training: Mask) -> Mask:
    """True for training offers that share one of the keys with an offer of another country that is not training."""
    repeats = np.zeros(len(training), dtype=np.bool_)
    for column in keys:
        held_out = np.flatnonzero(~training & (column != 0))
        held_out = held_out[np.argsort(column[held_out], kind="stable")]
        ordered = column[held_out]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else held_out
        if not len(starts):
            continue
        known = ordered[starts]
        lowest, highest = (extreme.reduceat(countries[held_out], starts) for extreme in (np.minimum, np.maximum))
        place = np.minimum(np.searchsorted(known, column), len(known) - 1)
        elsewhere = (lowest[place] != countries) | (highest[place] != countries)
        repeats |= training & (known[place] == column) & elsewhere
    return repeats


def _read(key: str, sample: Path) -> pa.Table:
    file = sample / SAMPLE_FILE if sample.is_dir() else sample
    missing = sorted(set(COLUMNS) - set(pq.read_schema(file).names))
    if missing:
        raise SamplingError(
            f"the sample of {key} lacks columns",
            value=", ".join(missing),
            allowed="the columns of training_sample in docs/contracts.md",
            fix=f"materialize training_sample of {key} again: an earlier version drew it",
        )
    return pq.read_table(file, columns=COLUMNS)


def _codes(column: pa.ChunkedArray) -> Codes:
    """A number for each value, one for NULL too."""
    values = pc.fill_null(column.cast(pa.string()), "").combine_chunks()
    codes: Codes = values.dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes
