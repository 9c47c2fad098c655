"""Numbers for category ids and shop ids, given in the order in which they are first met. None is always 0."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.uint32]
FEW = 8
"""A column with so many times fewer values than are known is looked up value by value."""


@dataclass(frozen=True)
class Coded:
    """A column of strings: places in a dictionary, whose last entry, one beyond its values, is None."""

    places: npt.NDArray[np.int32]
    values: pa.Array

    def __len__(self) -> int:
        return len(self.values) + 1


class CodeBook:
    """Values by code. One thread registers, others may look up at any time."""

    def __init__(self, values: Sequence[str | None]) -> None:
        self.values: list[str | None] = list(values)
        self._codes = {value: code for code, value in enumerate(self.values)}
        self._known = pa.array(self.values[1:], pa.string())

    def look_up(self, column: Coded) -> Codes | None:
        """The code of each dictionary entry; None where one has none yet."""
        if FEW * len(column) < len(self._codes):
            codes = [self._codes.get(value) for value in [*column.values.to_pylist(), None]]
            return None if None in codes else np.array(codes, dtype=np.uint32)
        found = pc.index_in(column.values, value_set=self._known)
        if found.null_count:
            return None
        return np.append(found.to_numpy().astype(np.uint32) + np.uint32(1), np.uint32(0))

    def register(self, column: Coded) -> Codes:
        """The code of each dictionary entry; a new value gets the next."""
        return self.register_values([*column.values.to_pylist(), None])

    def register_values(self, values: Sequence[str | None]) -> Codes:
        """The code of each value; a new value gets the next."""
        before = len(self._codes)
        codes = np.array([self._codes.setdefault(value, len(self._codes)) for value in values], dtype=np.uint32)
        if len(self._codes) > before:
            self.values = list(self._codes)
            self._known = pa.array(self.values[1:], pa.string())
        return codes


def code_column(column: pa.ChunkedArray) -> Coded:
    """From a column that was read as dictionary codes."""
    if column.num_chunks == 1:
        array = column.chunk(0)
    else:
        array = column.unify_dictionaries().combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    places = array.indices
    if places.null_count:
        places = places.fill_null(len(array.dictionary))
    return Coded(places.to_numpy(zero_copy_only=False), array.dictionary)
