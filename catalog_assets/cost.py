"""Which instance classifies the day's offers for the least money, within the deadline."""

from dataclasses import asdict
from typing import Any

import dagster as dg

from catalog_assets.engines import engine_benchmark
from catalog_assets.results import OWNERS, build_and_point, markdown_table, materialized
from resources.market import MarketResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe, content_version
from sortiment.cost import CODE_VERSION, choose_instance, load_price_list
from sortiment.report.figures import plot_cost, to_markdown


@dg.asset(deps=[engine_benchmark], group_name="cost", kinds={"table"}, owners=OWNERS, code_version=CODE_VERSION)
def instance_choice(market: MarketResource, storage: StorageResource) -> dg.MaterializeResult[Any]:
    """The cheapest instance that meets the deadline, and every other; each row says whether its speed was measured,
    published or estimated, and from what."""
    store, settings = storage.store, market.settings.cost
    benchmark, prices = store.current("engine_benchmark"), load_price_list()
    recipe = Recipe({"benchmark": benchmark.version, "prices": content_version(asdict(prices))}, settings, CODE_VERSION)
    choice = build_and_point(
        store,
        "instance_choice",
        recipe,
        lambda out: choose_instance(benchmark.summary["rows"], settings, prices).to_json(),
    )
    rows = choice.summary["rows"]
    chosen = choice.summary["choice"]
    shown = {
        "cost": dg.MetadataValue.md(to_markdown(plot_cost(rows, chosen["instance"] if chosen else None))),
        "instances": markdown_table(rows),
    }
    return materialized(choice, shown)
