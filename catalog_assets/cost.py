"""Which instance classifies the day's offers for the least money, within the deadline."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.engines import engine_benchmark
from catalog_assets.results import OWNERS, build_and_point, markdown_table, materialized
from resources.market import MarketResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe
from sortiment.report.figures import plot_cost, to_markdown
