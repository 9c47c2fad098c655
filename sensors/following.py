"""Following: which assets are made anew by themselves when what they come from was, and which a person starts.

    feed_files ─► offers ─► offer_census
                    └─► offer_predictions ─► drift_report        here the sensor drifted_slices takes over
    student_checkpoint ─► quantized_student ─► compiled_student ─► student_evaluation
                    release_decision ─► champion ─► offer_predictions     ◄─┘

What needs a decision has a sensor of its own (drift, retraining); what only follows has a condition here. Samples,
labels and students are never made by a condition: every feed would pay for all of them. Engines are timed and encoders
ranked when a person asks. Nothing is evaluated, so nothing starts, until the sensor `follow_upstream` is switched on,
and what happened before that is not caught up on.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

Automation = dg.AutomationCondition

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "offers": ("feed_files",),
    "offer_census": ("offers",),
    "offer_predictions": ("offers", "champion"),
    "drift_report": ("offer_predictions",),
    "quantized_student": ("student_checkpoint",),
    "compiled_student": ("quantized_student",),
    "student_evaluation": ("compiled_student",),
    "release_decision": ("student_evaluation",),
    "champion": ("release_decision",),
}
"""Asset to the upstream assets whose updates it follows. Its other upstream assets only have to be idle."""

FIRST_BY_A_PERSON = ("quantized_student", "compiled_student", "student_evaluation", "release_decision", "champion")
"""Followed only where they were made before: no condition releases a first model or compiles for a new target."""

follow_upstream = dg.AutomationConditionSensorDefinition(
    "follow_upstream",
    target=dg.AssetSelection.assets(*FOLLOWS),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Makes anew what follows from a new feed or a new student, all its partitions in one run.",
)


def add_conditions(assets: Iterable[Any]) -> list[Any]:
    """The assets with the conditions of FOLLOWS; others as they are."""
    return list(dg.map_asset_specs(_add_condition, assets))


def _add_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    if name not in FOLLOWS:
        return spec
    return spec.replace_attributes(automation_condition=condition_of(name))


def condition_of(asset: str) -> "dg.AutomationCondition[Any]":
    """True when what the asset follows was updated since the asset itself was last made or asked for, and nothing
    that it reads is missing, is being made or failed a blocking check."""
    followed = dg.AssetSelection.assets(*FOLLOWS[asset])
    ready = ~Automation.missing() if asset in FIRST_BY_A_PERSON else ~Automation.any_deps_missing()
    condition = (
        Automation.any_deps_updated().allow(followed).since_last_handled()
        & ready
        & ~Automation.any_deps_in_progress()
        & ~Automation.in_progress()
        & Automation.all_deps_blocking_checks_passed()
    )
    return condition.with_label(f"follows {', '.join(FOLLOWS[asset])}")
