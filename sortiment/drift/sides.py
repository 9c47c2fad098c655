"""Two sides of a comparison: what the champion answered on the day of its release, and what it answers for new offers.

Only offers that the model did not learn from may stand on the reference side: where the offers file says `split`, its
training offers are left out (they give the vocabulary instead), and `inclusion_probability` weights the rest back to
the mix of all offers.
"""

import itertools
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from sortiment.errors import DriftError, StorageError
from sortiment.settings import DriftSettings

READ_SIDE = (Path(__file__).parent / "read_side.sql").read_text(encoding="utf-8")
READ_WORDS = (Path(__file__).parent / "read_words.sql").read_text(encoding="utf-8")
# The different words of a title: three letters or more, since numbers and units are new every day.
WORDS_OF = r"CREATE MACRO words_of(title) AS list_distinct(regexp_extract_all(lower(title), '\p{L}{3,}'))"
VOCABULARY = """
CREATE OR REPLACE TEMP TABLE vocabulary AS
SELECT country, word, count(DISTINCT title) AS titles
FROM (
    SELECT
        country, lower(title) AS title,
        unnest(words_of(title)) AS word
    FROM read_parquet($offers, union_by_name = true)
    WHERE {taught}
)
GROUP BY country, word
"""
NEEDED = frozenset({"offer_key", "country", "title", "department"})
MEMORY_LIMIT = "1GB"
SPILL = ".spill"

View = Literal["labels", "predictions"]
# The slice of an offer: by the shop's label, or by the predicted department among offers without a label. On the
# reference side of the second all offers count, labelled or not: their labels are not looked at.
SLICE = {"labels": "versions.department", "predictions": "answers.predicted_department"}
LABELLED = {
    ("labels", "reference"): "answers.category_id IS NOT NULL",
    ("labels", "current"): "answers.category_id IS NOT NULL",
    ("predictions", "reference"): "true",
    ("predictions", "current"): "answers.category_id IS NULL",
}

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class DriftSide:
    """predictions: `predictions.parquet` files; offers: parts or samples (docs/contracts.md), oldest first.

    Only offers that are in both are looked at, so the offers say which: the new feed's parts, the reference's sample.
    """

    predictions: Sequence[str]
    offers: Sequence[str]


@dataclass(frozen=True)
class SliceOffers:
    """One slice's offers on one side, an array entry per offer. offers: how many there were before the cap.

    new: whether the label is a category that the model does not know. novel, words: per title.
    """

    offers: int
    title_key: npt.NDArray[np.uint64]
    weight: Floats
    label: Texts
    predicted: Texts
    confidence: Floats
    margin: Floats
    length: Floats
    words: Floats
    novel: Floats
    new: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def hit(self) -> npt.NDArray[np.bool_]:
        hit: npt.NDArray[np.bool_] = self.label == self.predicted
        return hit


Slices = Mapping[str, SliceOffers]


@contextmanager
def compare_sides(
    reference: DriftSide, current: DriftSide, known: Collection[str] | None, settings: DriftSettings, out: Path
) -> Iterator["Comparison"]:
    """Both sides, opened. What does not fit into memory lies in `out` meanwhile, on at most half of the free room.

    Raises DriftError where a side is empty or lacks columns, StorageError where there is no room.
    """
    spill = out / SPILL
    config: dict[str, Any] = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(spill),
        "max_temp_directory_size": f"{shutil.disk_usage(out).free // 2}B",
    }
    try:
        with duckdb.connect(config=config) as database:
            yield Comparison(database, reference, current, known, settings)
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        if not any(sign in str(error) for sign in (str(spill), "max_temp_directory_size")):
            raise  # about a file that is read, or about memory
        raise StorageError(
            "the two sides of the drift comparison found no room",
            value=str(error),
            fix="make room on the disk, then materialize drift_report again",
        ) from error
    finally:
        shutil.rmtree(spill, ignore_errors=True)


class Comparison:
    """Reads slices of one view after the other."""

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        reference: DriftSide,
        current: DriftSide,
        known: Collection[str] | None,
        settings: DriftSettings,
    ) -> None:
        self.database = database
        self.sides = {"reference": reference, "current": current}
        self.known = None if known is None else np.array(sorted(known), dtype=object)
        self.settings = settings
        self.columns = {name: self._columns(name, side) for name, side in self.sides.items()}
        self.split = "split" in self.columns["reference"]
        taught = "split = 'train'" if self.split else "true"
        self.database.execute(WORDS_OF)
        self.database.execute(VOCABULARY.format(taught=taught), {"offers": list(reference.offers)})

    def read(self, name: Literal["reference", "current"], view: View) -> Slices:
        """The slices of one side, by `country|department`."""
        held_out = self.split and name == "reference"
        weighted = "inclusion_probability" in self.columns[name]
        query = READ_SIDE.format(
            split="offers.split" if "split" in self.columns[name] else "NULL::VARCHAR",
            weight="1.0 / coalesce(offers.inclusion_probability, 1.0)" if weighted else "1.0",
            slice=SLICE[view],
            chosen=LABELLED[view, name] + (" AND versions.split <> 'train'" if held_out else ""),
        )
        side = self.sides[name]
        values = {
            "predictions": list(side.predictions),
            "offers": list(side.offers),
            "cap": self.settings.max_offers,
        }
        self.database.execute(f"CREATE OR REPLACE TEMP TABLE {name}_offers AS {query}", values)
        # Where the vocabulary holds the reference's own titles, a word must stand in another title as well.
        least = 2 if name == "reference" and not self.split else 1
        found = self.database.execute(READ_WORDS.format(side=f"{name}_offers"), {"least": least}).fetchnumpy()
        return self._cut({column: np.ma.asarray(values) for column, values in found.items()})

    def _columns(self, name: str, side: DriftSide) -> set[str]:
        if not side.predictions or not side.offers:
            raise DriftError(
                f"the {name} side of the comparison is empty",
                value=f"{len(side.predictions)} predictions, {len(side.offers)} offers files",
                fix="materialize offer_predictions, and give the parts or samples that it was made from",
            )
        described = self.database.execute(
            "DESCRIBE SELECT * FROM read_parquet($offers, union_by_name = true)", {"offers": list(side.offers)}
        ).fetchall()
        columns = {row[0] for row in described}
        if not columns >= NEEDED:
            raise DriftError(
                f"the {name} offers lack columns", value=sorted(NEEDED - columns), allowed=", ".join(sorted(NEEDED))
            )
        return columns

    def _cut(self, found: Mapping[str, npt.NDArray[Any]]) -> dict[str, SliceOffers]:
        country, department = _texts(found["country"]), _texts(found["department"])
        if not len(country):
            return {}
        changes = (country[1:] != country[:-1]) | (department[1:] != department[:-1])
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(country)]
        slices = {}
        for start, end in itertools.pairwise(bounds):
            rows = {name: values[start:end] for name, values in found.items()}
            label = _texts(rows["category_id"])
            new = np.zeros(len(label), bool) if self.known is None else ~np.isin(label, self.known)
            slices[f"{country[start]}|{department[start]}"] = SliceOffers(
                offers=int(rows["slice_offers"][0]),
                title_key=rows["title_key"].astype(np.uint64),
                weight=_floats(rows["weight"]),
                label=label,
                predicted=_texts(rows["predicted_id"]),
                confidence=_floats(rows["confidence"]),
                margin=_floats(rows["top_margin"]),
                length=_floats(rows["length"]),
                words=_floats(rows["words"]),
                novel=_floats(rows["novel"]),
                new=new,
            )
        return slices


def _floats(values: npt.NDArray[Any]) -> Floats:
    return np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)


def _texts(values: npt.NDArray[Any]) -> Texts:
    return np.ma.filled(np.ma.asarray(values, dtype=object), "")
