"""The quality bench: teachers, students and baselines on the same splits of the same offers.

    feeds -> offers -> one split per seed and label regime -> one row per model          (`run_bench`)
    category names or a market -> labels in some languages, none in another -> rows      (`run_new_country`)

Whatever was computed stays in the bench's folder under the hash of what it was made from: a run that was killed, or
that is asked for more, computes only what is not there. Importing this is cheap.
"""

CODE_VERSION = "5"
"""Raise it when the same offers and settings would give other rows."""
