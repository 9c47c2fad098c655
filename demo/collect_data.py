"""The report's sections about data: what was loaded, set aside and sampled, from the artifacts of those stages."""

from collections import Counter
from typing import Any

import pyarrow.parquet as pq

from demo.market import DemoMarket
from resources.storage import StorageResource
from sortiment.feeds import OfferPart, read_left_out, read_listing, read_quarantine
from sortiment.sampling.splits import SPLITS
from sortiment.taxonomy import load_taxonomy


def collect_market(demo: DemoMarket, storage: StorageResource) -> dict[str, Any]:
    """What was loaded: offers, feeds, countries, departments."""
    store = storage.store
    parts = read_listing(store.current("feed_files").path, store)
    tree = load_taxonomy(store.current("taxonomy").path)
    labelled = sum(found.labelled for part in parts for found in part.report.countries.values())
    offers = sum(found.offers for part in parts for found in part.report.countries.values())
    by_country: dict[str, Counter[str]] = {}
    for part in parts:
        for country, found in part.report.countries.items():
            counts = by_country.setdefault(country, Counter())
            counts["offers"] += found.offers
            counts["unlabelled"] += found.offers - found.labelled
    for country, census in store.current_partitions("offer_census").items():
        if country in by_country:  # others have left the feeds
            by_country[country].update({name: census.summary[name] for name in ("categories", "shops")})
    return {
        "name": demo.profile.market,
        "synthetic": demo.synthetic,
        "countries": sorted(by_country),
        "departments": sorted(tree.department_names),
        "categories": len(tree.categories),
        "offers": offers,
        "unlabelled": offers - labelled,
        "feeds": [
            {
                "name": f"{part.feed}: {part.source_file}",
                "rows": part.report.rows_read,
                "loaded": part.report.rows_loaded,
                "quarantined": part.report.rows_quarantined,
                "countries": list(part.countries),
                "held_back": part.report.held_back,
            }
            for part in parts
        ],
        "by_country": {country: dict(counts) for country, counts in sorted(by_country.items())},
        "empty_columns": _empty_columns(parts),
    }


def _empty_columns(parts: list[OfferPart]) -> dict[str, list[str]]:
    """Of each feed, the mapped columns that no row of any of its files fills; feeds without such left out."""
    empty: dict[str, set[str]] = {}
    for part in parts:
        if part.report.rows_read:
            empty[part.feed] = empty.get(part.feed, set(part.report.empty)) & set(part.report.empty)
    return {feed: sorted(columns) for feed, columns in sorted(empty.items()) if columns}


def collect_imbalance(storage: StorageResource) -> list[dict[str, Any]]:
    """Each category's labelled offers, and how many of them were sampled; the largest first."""
    tree = load_taxonomy(storage.store.current("taxonomy").path).by_id
    rows: dict[str, dict[str, Any]] = {}
    for census in storage.store.current_partitions("offer_census").values():
        for row in pq.read_table(census.path / "census.parquet").to_pylist():
            found = rows.setdefault(
                row["category_id"],
                {
                    "category_id": row["category_id"],
                    "path": list(tree[row["category_id"]].path) if row["category_id"] in tree else [],
                    "department": row["department"],
                    "slice": row["slice"],
                    "offers": 0,
                    "sampled": 0,
                },
            )
            found["offers"] += row["offers"]
            found["sampled"] += row["in_sample"]
    return sorted(rows.values(), key=lambda row: (-row["offers"], row["category_id"]))


def collect_sampling(demo: DemoMarket, storage: StorageResource) -> dict[str, Any]:
    """What the samples took, and what the caps, the splits and damaged parts left out."""
    censuses = storage.store.current_partitions("offer_census").values()
    total: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    departments: dict[str, Counter[str]] = {}
    shops: dict[str, Counter[str]] = {}
    for census in censuses:
        summary = census.summary
        for name in (
            "offers",
            "in_sample",
            "unlabelled_in_sample",
            "cut_by_category_cap",
            "cut_by_shop_cap",
            "suspects",
        ):
            total[name] += summary[name]
        splits.update(summary["splits"])
        for file, key, groups in (("departments", "department", departments), ("shops", "shop_id", shops)):
            for row in pq.read_table(census.path / f"{file}.parquet").to_pylist():
                counts = groups.setdefault(row[key] or "no shop", Counter())
                for name, value in (
                    ("offers", row["offers"]),
                    ("sampled", row["in_sample"]),
                    ("cut_by_shop_cap", row["cut_by_shop_cap"]),
                ):
                    counts[name] += value
    largest_shops = sorted(shops.items(), key=lambda item: (-item[1]["offers"], item[0]))[:40]
    return {
        "offers": total["offers"],
        "sampled": total["in_sample"],
        "unlabelled_sampled": total["unlabelled_in_sample"],
        "per_category": demo.settings.sampling.per_category,
        "cut_by_category_cap": total["cut_by_category_cap"],
        "cut_by_shop_cap": total["cut_by_shop_cap"],
        "suspects": total["suspects"],
        "tested_abroad": storage.store.current("teacher_model").summary["left_out_offers"],
        "splits": {side: splits[side] for side in SPLITS},
        "skipped": [why for census in censuses for why in census.summary["skipped"]],
        "by_department": [{"name": name, **counts} for name, counts in sorted(departments.items())],
        "by_shop": [{"name": name, **counts} for name, counts in largest_shops],
    }


def collect_quarantine(storage: StorageResource) -> dict[str, Any]:
    """Rows and files that the load set aside, by reason and by file."""
    listing = storage.store.current("feed_files").path
    parts = read_listing(listing, storage.store)
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(part.report.quarantined)
    return {
        "rows": sum(reasons.values()),
        "read": sum(part.report.rows_read for part in parts),
        "by_reason": dict(reasons.most_common()),
        "by_file": {part.source_file: part.report.rows_quarantined for part in parts if part.report.rows_quarantined},
        "examples": read_quarantine(parts, limit=12),
        "left_out": [
            {"feed": file.feed, "source_file": file.source_file, "problem": file.problem, "kept": bool(file.kept)}
            for file in read_left_out(listing)
        ],
    }
