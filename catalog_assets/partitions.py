"""The two partition dimensions, filled from the market, and how an asset sees its keys.

A multi-partition key is `COUNTRY|department`: Dagster joins the dimensions' keys in the order of the dimensions' names.
"""

import dagster as dg

from sortiment.engines.targets import TARGETS

countries = dg.DynamicPartitionsDefinition(name="country")
departments = dg.DynamicPartitionsDefinition(name="department")
slices = dg.MultiPartitionsDefinition({"country": countries, "department": departments})
targets = dg.StaticPartitionsDefinition(list(TARGETS))

one_run = dg.BackfillPolicy.single_run()
"""Heavy stages take all asked partitions in one run: a run per partition costs seconds each."""


def register_partitions(instance: dg.DagsterInstance, found_countries: list[str], found_departments: list[str]) -> None:
    """Add what the feeds brought. Keys are never taken away: a partition's history stays readable."""
    instance.add_dynamic_partitions("country", found_countries)
    instance.add_dynamic_partitions("department", found_departments)


def keys_by_country(keys: list[str]) -> dict[str, list[str]]:
    """Slice keys `COUNTRY|department` as departments by country, in the given order."""
    grouped: dict[str, list[str]] = {}
    for key in keys:
        country, department = str(key).split("|", 1)
        grouped.setdefault(country, []).append(department)
    return grouped


def registered_keys(instance: dg.DagsterInstance, dimension: str) -> list[str]:
    """Keys of `country` or `slice` (country|department), in the order in which they were registered."""
    found = instance.get_dynamic_partitions("country")
    if dimension == "country":
        return list(found)
    return [
        f"{country}|{department}" for country in found for department in instance.get_dynamic_partitions("department")
    ]
