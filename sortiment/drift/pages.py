"""An Evidently page for one slice: distributions on both sides, for people. The verdict is not Evidently's.

Evidently's default tests called 3 of 6 columns of undrifted data drifted; PSI at 0.1 called none (docs/experiments.md).
It works in memory, so both sides come as the bounded samples that were judged.
"""

import html
import warnings
from pathlib import Path

import numpy as np

from sortiment.blobs import write_atomically
from sortiment.drift.sides import SliceOffers
from sortiment.settings import DriftSettings


def write_page(name: str, reference: SliceOffers, current: SliceOffers, settings: DriftSettings, file: Path) -> None:
    """Write one self-contained HTML page comparing the slice's columns by PSI. Importing Evidently takes seconds."""
    with warnings.catch_warnings():
        # Evidently 0.7 imports and calls what its dependencies have deprecated; none of it is ours to mend.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(
            numerical_columns=["confidence", "margin", "title_length", "unknown_words"],
            categorical_columns=["predicted_category"],
        )
        sides = [Dataset.from_pandas(_frame(side), data_definition=definition) for side in (current, reference)]
        snapshot = Report([DataDriftPreset(num_method="psi", cat_method="psi")]).run(*sides)
        page = snapshot.get_html_str(as_iframe=False)
    title = f"<title>{html.escape(name)}: drift</title>"
    write_atomically(file, page.replace("<head>", f"<head>{title}", 1).encode())


def _frame(offers: SliceOffers):  # type: ignore[no-untyped-def]  # pandas is imported with Evidently only
    import pandas as pd

    return pd.DataFrame(
        {
            "confidence": offers.confidence,
            "margin": offers.margin,
            "title_length": offers.length,
            "unknown_words": offers.novel / np.maximum(offers.words, 1.0),
            "predicted_category": offers.predicted.astype(str),
        }
    )
