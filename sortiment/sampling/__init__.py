"""Sampling from billions: one pass, bounded memory, mergeable, without leakage (docs/sampling.md).

state = keep_state(store, "DE", parts, settings)           reads what is new, once
report = take_census(state, settings, folder)              census.parquet and the tables beside it
report = draw_sample(state, settings, {"garden": folder})  sample.parquet per department
repeats = find_repeats_abroad({"DE|garden": folder, ...})   what not to learn where countries are learned together
"""

from sortiment.sampling.abroad import RepeatsAbroad, find_repeats_abroad
from sortiment.sampling.building import build_state, doubting, keep_state, merge_states
from sortiment.sampling.census import CensusReport, take_census
from sortiment.sampling.fresh import build_fresh_state
from sortiment.sampling.order import mask_of_seed, rank_keys
from sortiment.sampling.parts import OfferPart, S3Options, UnreadablePart
from sortiment.sampling.samples import SAMPLE_FILE, SampleReport, SliceReport, draw_sample
from sortiment.sampling.state import UNLABELLED_DEPARTMENT, State, read_state
from sortiment.sampling.text_keys import key_products
from sortiment.sampling.verdicts import VERDICTS
from sortiment.sampling.views import balanced_weights, live_weights

CODE_VERSION = "4"
"""Raise it when the same inputs and settings would give another census or sample."""

__all__ = [
    "CODE_VERSION",
    "SAMPLE_FILE",
    "UNLABELLED_DEPARTMENT",
    "VERDICTS",
    "CensusReport",
    "OfferPart",
    "RepeatsAbroad",
    "S3Options",
    "SampleReport",
    "SliceReport",
    "State",
    "UnreadablePart",
    "balanced_weights",
    "build_fresh_state",
    "build_state",
    "doubting",
    "draw_sample",
    "find_repeats_abroad",
    "keep_state",
    "key_products",
    "live_weights",
    "mask_of_seed",
    "merge_states",
    "rank_keys",
    "read_state",
    "take_census",
]
