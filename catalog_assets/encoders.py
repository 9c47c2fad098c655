"""Which encoder: every candidate on the market's own sample, quality against speed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from catalog_assets.results import OWNERS, build_and_point, markdown_table, materialized, partition_paths, versions_of
from catalog_assets.sampling import training_sample
from resources.market import MarketResource
from resources.progress import ProgressResource
from resources.storage import StorageResource
from sortiment.artifacts import Recipe
from sortiment.encoders.ranking import CODE_VERSION, RANKING_FILE, find_encoder_versions, rank_encoders
from sortiment.report.figures import plot_ranking, to_markdown


@dg.asset(
    deps=[training_sample],
    group_name="encoders",
    kinds={"huggingface", "table"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    pool="training",
)
def encoder_ranking(
    context: dg.AssetExecutionContext, market: MarketResource, storage: StorageResource, progress: ProgressResource
) -> dg.MaterializeResult[Any]:
    """Encoders and simple baselines on this market's offers: macro-F1, offers per second, size; which one to use. Where
    the time budget left some out, the next run goes on with them."""
    store, settings = storage.store, market.settings
    samples, cache = store.current_partitions("training_sample"), Path(market.encoder_cache)
    encoders = find_encoder_versions(settings.encoder, settings.ranking, cache, progress.of(context.log))
    recipe = Recipe(
        {"samples": versions_of(samples), "encoders": json.dumps(encoders, sort_keys=True)},
        {"ranking": settings.ranking.model_dump(mode="json"), "encoder": settings.encoder.model_dump(mode="json")},
        CODE_VERSION,
        ("torch", "transformers", "openvino", "fasttext-community"),
    )
    while (found := store.find("encoder_ranking", recipe.version)) and found.summary["left_by_budget"]:
        recipe = replace(recipe, inputs={**recipe.inputs, "after": found.version})  # goes on where the time ended

    def write(out: Path) -> dict[str, Any]:
        return rank_encoders(
            partition_paths(samples),
            settings.encoder,
            settings.ranking,
            out,
            cache,
            market.features,
            cache / "ranked",
            encoders,
            progress.of(context.log),
        )

    ranking = build_and_point(store, "encoder_ranking", recipe, write)
    rows = ranking.summary["rows"]
    by_country = json.loads((ranking.path / RANKING_FILE).read_bytes())["by_country"]
    return materialized(
        ranking,
        {
            "pareto": dg.MetadataValue.md(to_markdown(plot_ranking(rows))),
            "ranking": markdown_table(rows),
            "macro_f1_by_country": markdown_table(
                [{"encoder": name, **scores} for name, scores in by_country.items() if scores]
            ),
        },
    )
