"""Which partition a top level of the labels belongs to: its own, or one that several small ones share.

A department is a partition per country: a run writes an event for each, samples and labels it by itself. A shop with a
tree has a dozen or two. One that lists its categories without a tree has as many top levels as categories, thousands.
So only so many departments are on their own, the largest when they first came; the others share a few more, each by
the hash of its name. What a department was given it keeps, whatever comes later (docs/decisions/0007).
"""

import hashlib
from collections.abc import Mapping

from sortiment.settings import FeedSettings

SHARED = "shared--"  # no slug has two hyphens in a row: no department can be called that


def plan_departments(offers: Mapping[str, int], earlier: Mapping[str, str], settings: FeedSettings) -> dict[str, str]:
    """The key of each department in `offers` (slug to labelled offers), sorted by slug.

    earlier: keys that were given before; they stay. New departments, most offers first, equal ones by slug, are on
    their own while fewer than `max_departments` are; later ones share.
    """
    plan = {slug: earlier[slug] for slug in offers if slug in earlier}
    own = sum(slug == key for slug, key in earlier.items())
    for slug in sorted(offers.keys() - plan.keys(), key=lambda slug: (-offers[slug], slug)):
        if own < settings.max_departments:
            plan[slug] = slug
            own += 1
        else:
            plan[slug] = shared_key(slug, settings.shared_departments)
    return dict(sorted(plan.items()))


def shared_key(slug: str, shared_departments: int) -> str:
    """The shared department of a slug; the same on every machine and whatever else there is."""
    number = int(hashlib.sha256(slug.encode()).hexdigest()[:8], 16) % shared_departments
    return f"{SHARED}{number:02d}"


def name_department(key: str, names: list[str]) -> str:
    """What a person reads: the top level's name; of a shared department the first names and how many more."""
    if not key.startswith(SHARED) or len(names) == 1:
        return names[0]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
