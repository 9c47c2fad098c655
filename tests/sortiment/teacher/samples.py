"""Writing a sample as the earlier stage does, shared by the tests of the teacher."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Row = tuple[str, str | None, str]


def write_sample(folder: Path, country: str, rows: list[Row], first_key: int) -> Path:
    """rows: title, category id, split."""
    folder.mkdir(parents=True)
    table = pa.table(
        {
            "offer_key": np.arange(first_key, first_key + len(rows), dtype=np.uint64),
            "country": [country] * len(rows),
            "title": [title for title, _, _ in rows],
            "brand": pa.nulls(len(rows), pa.string()),
            "category_id": pa.array([label for _, label, _ in rows], pa.string()),
            "split": [split for _, _, split in rows],
            "training_weight": np.ones(len(rows)),
            "product_key": pa.nulls(len(rows), pa.uint64()),
            "gtin_key": pa.nulls(len(rows), pa.uint64()),
        }
    )
    pq.write_table(table, folder / "sample.parquet")
    return folder
