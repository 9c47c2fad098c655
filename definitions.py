"""The platform in one object: what exists, when it is made, with what.

Loading it is free: no network, no torch, no transformers, no evidently; a test holds it to that.
"""

import dagster as dg

from catalog_assets import (
    cost,
    drift,
    encoders,
    engines,
    evaluation,
    fast,
    feeds,
    predictions,
    release,
    sampling,
    student,
    teacher,
)
from resources.profiles import Profile, read_profile
from sensors import JOBS, SENSORS
from sensors.following import add_conditions

LOCATION_NAME = "sortiment"
STAGES = [feeds, sampling, encoders, teacher, student, fast, engines, cost, evaluation, release, predictions, drift]


def build_definitions(profile: Profile) -> dg.Definitions:
    """Everything, for the market that the profile opens."""
    return dg.Definitions(
        assets=add_conditions(dg.load_assets_from_modules(STAGES)),
        asset_checks=dg.load_asset_checks_from_modules(STAGES),
        jobs=JOBS,
        sensors=SENSORS,
        resources=profile.resources(),
        # A run is a process of its own already; one more per step costs seconds each and saves nothing.
        executor=dg.in_process_executor,
    )


defs = build_definitions(read_profile())
