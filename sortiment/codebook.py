"""Numbers for category ids and shop ids, given in the order in which they are first met. None is always 0."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Coded:
    """A column of strings: places in a dictionary, whose last entry, one beyond its values, is None."""

    places: npt.NDArray[np.int32]
    values: pa.Array

    def __len__(self) -> int:
        return len(self.values) + 1


class CodeBook:
    """Values by code."""

    def __init__(self, values: Sequence[str | None]) -> None:
        self.values: list[str | None] = list(values)
        self._codes = {value: code for code, value in enumerate(self.values)}

    def register(self, column: Coded) -> Codes:
        """The code of each dictionary entry; a new value gets the next."""
        return self.register_values([*column.values.to_pylist(), None])

    def register_values(self, values: Sequence[str | None]) -> Codes:
        """The code of each value; a new value gets the next."""
        before = len(self._codes)
        codes = np.array([self._codes.setdefault(value, len(self._codes)) for value in values], dtype=np.uint32)
        if len(self._codes) > before:
            self.values = list(self._codes)
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
