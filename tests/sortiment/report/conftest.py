"""Invented reports: test data in the form of a real run, at any size. No figure here was measured."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

INVENTED = Path(__file__).with_name("invented.yaml")

NAMES = [
    "electronics",
    "home-garden",
    "fashion",
    "sports",
    "toys",
    "baby",
    "beauty",
    "grocery",
    "tools",
    "automotive",
    "office",
    "pets",
    "books",
    "music",
    "health",
    "jewelry",
    "shoes",
    "luggage",
    "furniture",
    "lighting",
    "kitchen",
    "bathroom",
    "gaming",
    "cameras",
]
LEAVES = [
    "cases",
    "holders",
    "chargers",
    "cables",
    "stands",
    "cleaners",
    "sets",
    "spare-parts",
    "covers",
    "bags",
    "lamps",
    "mats",
]
HOSTILE = "<script>alert('title')</script> & <b>50 %</b> \"off\" $x_{1}$ Kopfhörer 耳机"


def make_report(
    countries: int = 6, departments: int = 12, categories: int = 180, synthetic: bool = True, seed: int = 7
) -> dict[str, Any]:
    """A whole report of invented numbers."""
    rng = random.Random(seed)
    lands = (["DE", "AT", "ES", "IT", "FR", "GB"] + [f"X{number:02}" for number in range(99)])[:countries]
    areas = [NAMES[place] if place < len(NAMES) else f"department-{place}" for place in range(departments)]
    feeds = [f"shop_feed_{land.lower()}" for land in lands] + ["second_day"]
    rows = [_category(rng, place, areas) for place in range(categories)]
    victim = f"{lands[0]}|{areas[0]}"
    models = {"teacher": 0.862, "student": 0.851, "int8": 0.849}
    return {
        **yaml.safe_load(INVENTED.read_text(encoding="utf-8")),
        "market": {
            "name": "Six countries, invented",
            "synthetic": synthetic,
            "countries": lands,
            "departments": areas,
            "categories": categories,
            "offers": 100_412,
            "unlabelled": 31_207,
            "feeds": [
                {"name": feed, "rows": 16_900 + 7 * place, "loaded": 16_735, "quarantined": 165 + 7 * place}
                for place, feed in enumerate(feeds)
            ],
            "by_country": {
                land: {"offers": 16_735, "unlabelled": 5_201, "categories": categories - place, "shops": 41 + place}
                for place, land in enumerate(lands)
            },
        },
        "imbalance": rows,
        "sampling": {
            "offers": 69_205,
            "sampled": 21_480,
            "unlabelled_sampled": 30_000,
            "per_category": 200,
            "cut_by_category_cap": 46_102,
            "cut_by_shop_cap": 1_623,
            "suspects": 412,
            "tested_abroad": 1021,
            "splits": {"train": 15_036, "validation": 2_148, "test": 4_296},
            "by_department": [_coverage(rng, area) for area in areas],
            "by_shop": [_coverage(rng, f"shop-{number}") for number in range(55)],
        },
        "scores": {model: _scores(rng, level, lands, areas, feeds) for model, level in models.items()},
        "scores_truth": {model: _scores(rng, level + 0.021, lands, areas, feeds) for model, level in models.items()},
        "training": {
            "student": [
                {
                    "epoch": epoch,
                    "loss": 2.4 / epoch + 0.3,
                    "validation_loss": 2.5 / epoch + 0.4,
                    "macro_f1": 0.86 - 0.5 / epoch**2,
                }
                for epoch in range(1, 7)
            ],
            "teacher": [
                {"epoch": epoch, "loss": 1.8 / epoch + 0.2, "macro_f1": 0.87 - 0.3 / epoch**2} for epoch in range(1, 4)
            ],
        },
        "reliability": {
            model: [
                {
                    "confidence": 0.05 + bin_ / 10,
                    "accuracy": min(1.0, 0.04 + bin_ / 10 * gain),
                    "offers": 40 + 25 * bin_**2,
                }
                for bin_ in range(10)
            ]
            for model, gain in (("student", 1.02), ("int8", 0.97))
        },
        "reliability_by_country": {
            land: {"student": [{"confidence": 0.9, "accuracy": 0.85, "offers": 40}]} for land in lands
        },
        "measures": {
            model: {"overall": measured, "by_country": dict.fromkeys(lands, measured)}
            for model, measured in (
                ("teacher", {"offers": 900, "hierarchical_f1": 0.94, "top5_accuracy": 0.97, "ece": 0.02}),
                (
                    "student",
                    {
                        "offers": 900,
                        "hierarchical_f1": 0.93,
                        "top5_accuracy": 0.96,
                        "ece": 0.03,
                        "agreement": 0.92,
                        "kl": 0.19,
                    },
                ),
            )
        },
        "behaviour": [
            {"model": model, "kind": kind, "offers": 100, "flip_rate": rate, "limit": 0.15}
            for model in ("student", "int8")
            for kind, rate in (("upper case", 0.01), ("very long title", 0.4), ("brand left out", None))
        ],
        "soft_labels": {
            "confidence": {"edges": [bin_ / 20 for bin_ in range(21)], "counts": [4 * bin_**2 for bin_ in range(20)]},
            "entropy": {"edges": [bin_ / 5 for bin_ in range(16)], "counts": [900 // (bin_ + 1) for bin_ in range(15)]},
            "labelled": 51_480,
            "reused": 0,
        },
        "confusions": [
            {
                "actual": f"{area} › phones › phone {LEAVES[place % 12]}",
                "country": lands[place % len(lands)],
                "predicted": f"{area} › phones › phone {LEAVES[(place + 1) % 12]}",
                "offers": 60 - 4 * place,
                "share": 0.31 - 0.02 * place,
                "distance": 0.667,
                "cost_share": 0.08,
                "examples": [HOSTILE, "Handyhülle für Galaxy S24 Ultra, transparent, stoßfest"],
            }
            for place, area in enumerate(areas[:12])
        ],
        "drift": {
            "partition": victim,
            "scenario": "new vocabulary",
            "before": 0.874,
            "drifted": 0.702,
            "after": 0.861,
            "recovered_share": 0.9244,
            "partitions_relabelled": [victim],
            "signals": [
                {"name": "PSI of predicted categories", "value": 0.41, "threshold": 0.1, "drifted": True},
                {"name": "PSI of confidence", "value": 0.33, "threshold": 0.1, "drifted": True},
                {"name": "unseen tokens, share", "value": 0.08, "threshold": 0.12, "drifted": False},
            ],
            "decisions": [
                {
                    "partition": f"{land}|{area}",
                    "threshold": 0.1,
                    "offers": 120,
                    "score": 0.41 if f"{land}|{area}" == victim else round(rng.random() * 0.08, 4),
                    "drifted": f"{land}|{area}" == victim,
                    "action": "re-labelled" if f"{land}|{area}" == victim else "left alone",
                    "why": "2 of 3 signals" if f"{land}|{area}" == victim else "no signal",
                }
                for land in lands
                for area in areas
            ],
        },
    }


def _category(rng: random.Random, place: int, areas: list[str]) -> dict[str, Any]:
    offers = max(1, int(9_000 / (place + 1) ** 1.05))
    area = areas[place % len(areas)]
    return {
        "category_id": f"{place:012x}",
        "path": [area, f"group {place % 9}", f"{LEAVES[place % 12]} {place}"],
        "department": area,
        "slice": "head" if offers > 500 else "torso" if offers > 30 else "tail",
        "offers": offers,
        "sampled": min(offers, 200 + rng.randrange(40) * 20),
    }


def _coverage(rng: random.Random, name: str) -> dict[str, Any]:
    offers = int(10 ** (1 + 3 * rng.random()))
    sampled = min(offers, int(20 + 800 * rng.random()))
    return {
        "name": name,
        "offers": offers,
        "sampled": sampled,
        "cut_by_shop_cap": min(offers - sampled, rng.choice([0, 0, 25])),
    }


def _scores(
    rng: random.Random, level: float, lands: list[str], areas: list[str], feeds: list[str]
) -> dict[str, dict[str, Any]]:
    keys = {
        "by_country": lands,
        "by_department": areas,
        "by_feed": feeds,
        "by_slice": ["head", "torso", "tail"],
        "by_shop_size": ["1 large shops", "3 small shops"],
        "by_title_length": ["1 to 2 words", "more than 12 words"],
    }
    shift = {"head": 0.08, "torso": 0.0, "tail": -0.16}
    noise = random.Random(f"{areas}")
    macro_f1: dict[str, Any] = {"overall": level}
    for dimension, rows in keys.items():
        macro_f1[dimension] = {
            row: round(level + shift.get(row, noise.uniform(-0.07, 0.06)) + rng.uniform(-0.004, 0.004), 4)
            for row in rows
        }
    return {
        "macro_f1": macro_f1,
        "accuracy": _each(macro_f1, lambda value: round(value + 0.028, 4)),
        "interval": _each(macro_f1, lambda value: [round(value - 0.016, 4), round(value + 0.015, 4)]),
        "offers": _each(macro_f1, lambda value: int(400 * value)),
    }


def _each(grid: dict[str, Any], change: Callable[[float], Any]) -> dict[str, Any]:
    return {
        key: {row: change(one) for row, one in value.items()} if isinstance(value, dict) else change(value)
        for key, value in grid.items()
    }


@pytest.fixture
def report() -> dict[str, Any]:
    return make_report()


@pytest.fixture(scope="session")
def report_of() -> Callable[..., dict[str, Any]]:
    """Reports of other sizes: `report_of(countries=1, departments=60)`."""
    return make_report


@pytest.fixture(scope="session")
def hostile() -> str:
    """A title as a feed might have it, which an invented report holds too."""
    return HOSTILE


@pytest.fixture(scope="session")
def full_page() -> str:
    """The page of the full report, rendered once."""
    from sortiment.report.html import render_page

    return render_page(make_report())
