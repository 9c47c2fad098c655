"""Invented reports: test data in the form of a real run, at any size. No figure here was measured."""

import random
from collections.abc import Callable
from typing import Any

import pytest

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
        "run": {
            "date": "2026-11-22T18:40:12+00:00",
            "command": "make demo",
            "home": ".sortiment",
            "repeat": [
                {"command": "make demo FEED=my_shop.yaml", "what": "the same on your own offers"},
                {"command": "make ui", "what": "lineage, partitions and sensors of this run in the Dagster UI"},
            ],
        },
        "seconds": {
            "total": 281.4,
            "stages": {
                "offers": 6.1,
                "offer_census": 0.9,
                "training_sample": 3.2,
                "teacher_model": 71.0,
                "teacher_soft_labels": 44.9,
                "student_checkpoint": 88.3,
                "quantized_student": 19.5,
                "compiled_student": 8.1,
                "engine_benchmark": 21.7,
                "encoder_ranking": 9.4,
                "drift_report": 8.3,
            },
        },
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
            "splits": {"train": 15_036, "validation": 2_148, "test": 4_296},
            "by_department": [_coverage(rng, area) for area in areas],
            "by_shop": [_coverage(rng, f"shop-{number}") for number in range(55)],
        },
        "quarantine": {
            "rows": 1_302,
            "read": 101_714,
            "by_reason": {
                "title is empty": 611,
                "price is not a number": 402,
                "country is not in the market": 188,
                "offer_id appears twice in the file": 101,
            },
            "by_file": {"shop_feed_de.csv.gz": 700, "second_day.jsonl": 602},
            "examples": [
                {
                    "source_file": "shop_feed_de.csv.gz",
                    "line": 8_112,
                    "reason": "price is not a number",
                    "column_name": "price",
                    "value": "<i>call us</i>",
                },
                {"source_file": "second_day.jsonl", "line": 17, "reason": "title is empty", "column_name": "title"},
            ],
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
                "examples": [HOSTILE, "Handyhülle für Galaxy S24 Ultra, transparent, stoßfest"],
            }
            for place, area in enumerate(areas[:12])
        ],
        "ranking": [
            {
                "encoder": "tf-idf + linear SVM",
                "kind": "baseline",
                "macro_f1": 0.781,
                "low": 0.77,
                "high": 0.79,
                "macro_f1_tail": 0.51,
                "accuracy": 0.83,
                "offers_per_s": 11_900,
                "memory_mb": 310,
                "size_mb": 61,
            },
            {
                "encoder": "fastText",
                "kind": "baseline",
                "macro_f1": 0.64,
                "low": 0.62,
                "high": 0.65,
                "macro_f1_tail": 0.31,
                "accuracy": 0.74,
                "offers_per_s": 46_000,
                "memory_mb": 150,
                "size_mb": 48,
            },
            {
                "encoder": "static tokens, distilled",
                "kind": "static",
                "macro_f1": 0.828,
                "low": 0.82,
                "high": 0.836,
                "macro_f1_tail": 0.6,
                "accuracy": 0.86,
                "offers_per_s": 64_000,
                "memory_mb": 120,
                "size_mb": 59,
            },
            {
                "encoder": "multilingual-e5-small, 12 layers",
                "kind": "encoder",
                "macro_f1": 0.862,
                "low": 0.853,
                "high": 0.87,
                "macro_f1_tail": 0.7,
                "accuracy": 0.89,
                "offers_per_s": 136,
                "memory_mb": 1_480,
                "size_mb": 470,
            },
            {
                "encoder": "MiniLM, 3 layers, distilled",
                "kind": "encoder",
                "macro_f1": 0.851,
                "low": 0.842,
                "high": 0.86,
                "macro_f1_tail": 0.67,
                "accuracy": 0.88,
                "offers_per_s": 557,
                "memory_mb": 640,
                "size_mb": 145,
                "chosen": True,
            },
            {
                "encoder": "MiniLM, 6 layers, distilled",
                "kind": "encoder",
                "macro_f1": 0.855,
                "low": 0.846,
                "high": 0.863,
                "macro_f1_tail": 0.68,
                "accuracy": 0.882,
                "offers_per_s": 290,
                "memory_mb": 700,
                "size_mb": 187,
            },
            {"encoder": "a hub encoder", "kind": "encoder", "macro_f1": float("nan"), "note": "no network"},
        ],
        "speed": [
            {
                "engine": "torch-fp32 (naive: padded to 128)",
                "offers_per_s": 18,
                "model_offers_per_s": 18.2,
                "p50_ms": 55.1,
                "p99_ms": 71.3,
                "size_mb": 145,
                "ratio_to_naive": 1,
                "agreement": 1.0,
                "macro_f1": 0.851,
                "source": "measured",
            },
            {
                "engine": "torch-fp32",
                "offers_per_s": 557,
                "model_offers_per_s": 571,
                "p50_ms": 11,
                "p99_ms": 19.2,
                "size_mb": 145,
                "ratio_to_naive": 30.9,
                "agreement": 1.0,
                "macro_f1": 0.851,
                "source": "measured",
            },
            {
                "engine": "onnx-int8",
                "offers_per_s": 1_320,
                "model_offers_per_s": 1_402,
                "p50_ms": 4.1,
                "p99_ms": 9.8,
                "size_mb": 41,
                "ratio_to_naive": 73.3,
                "agreement": 0.972,
                "macro_f1": 0.846,
                "source": "measured",
            },
            {
                "engine": "openvino-int8",
                "offers_per_s": 1_910,
                "model_offers_per_s": 2_060,
                "p50_ms": 3.2,
                "p99_ms": 8.1,
                "size_mb": 39,
                "ratio_to_naive": 106.1,
                "agreement": 0.984,
                "macro_f1": 0.849,
                "source": "measured",
            },
            {
                "engine": "neuron-bf16",
                "source": "estimated from BERT-base on inf2.xlarge",
                "reason": "neuronx-cc is not installed",
                "command": "sortiment bench engines --target neuron-bf16",
            },
        ],
        "cost": {
            "region": "eu-central-1",
            "prices_as_of": "2025-10",
            "rows": [
                {
                    "instance": "c7i.xlarge",
                    "engine": "openvino-int8",
                    "usd_per_hour": 0.2037,
                    "offers_per_s": 3_820,
                    "usd_per_million": 0.01481,
                    "usd_per_day": 7.4,
                    "instances_for_peak": 21,
                    "basis": "measured",
                    "source": "this machine",
                },
                {
                    "instance": "c7i.xlarge",
                    "engine": "torch-fp32",
                    "usd_per_hour": 0.2037,
                    "offers_per_s": 1_114,
                    "usd_per_million": 0.05079,
                    "usd_per_day": 25.4,
                    "instances_for_peak": 72,
                    "basis": "measured",
                },
                {
                    "instance": "inf2.xlarge",
                    "engine": "neuron-bf16",
                    "usd_per_hour": 1.1373,
                    "offers_per_s": 10_600,
                    "usd_per_million": 0.0298,
                    "usd_per_day": 14.9,
                    "instances_for_peak": 8,
                    "basis": "estimated",
                    "source": "published BERT-base speed, scaled by layers and width",
                },
                {
                    "instance": "inf2.xlarge",
                    "engine": "neuron BERT-base",
                    "usd_per_hour": 1.1373,
                    "offers_per_s": 2_674,
                    "usd_per_million": 0.1181,
                    "usd_per_day": 59.07,
                    "instances_for_peak": 30,
                    "basis": "published",
                    "source": "AWS Neuron documentation",
                },
                {
                    "instance": "g6.xlarge",
                    "engine": "torch-fp16",
                    "usd_per_hour": 1.0064,
                    "offers_per_s": 7_200,
                    "usd_per_million": 0.0388,
                    "usd_per_day": 19.41,
                    "instances_for_peak": 12,
                    "basis": "estimated",
                },
            ],
            "choice": {
                "instance": "c7i.xlarge",
                "engine": "openvino-int8",
                "usd_per_million": 0.01481,
                "usd_per_day": 7.4,
                "instances": 21,
                "basis": "measured",
                "why": "cheapest that meets the peak and was measured",
            },
        },
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
        "champion": {"version": "9f31c2aa07b1e6d4", "number": 3, "promoted_at": "2026-11-22T18:39:50+00:00"},
        "releases": [
            {
                "action": "promoted",
                "number": 1,
                "version": "41c0aa9be8d70001",
                "decided_at": "2026-11-22T18:37:02+00:00",
                "macro_f1": 0.849,
                "reason": "first model",
                "gates": [{"name": "share of teacher", "passed": True, "value": 0.985, "limit": 0.9}],
            },
            {
                "action": "refused",
                "number": 2,
                "version": "77d0193cc2f40002",
                "decided_at": "2026-11-22T18:38:31+00:00",
                "macro_f1": 0.812,
                "reason": "a gate failed",
                "gates": [
                    {"name": "macro-F1 against champion", "passed": False, "value": -0.037, "limit": -0.01},
                    {"name": "share of teacher", "passed": True, "value": 0.942, "limit": 0.9},
                ],
            },
            {
                "action": "promoted",
                "number": 3,
                "version": "9f31c2aa07b1e6d4",
                "decided_at": "2026-11-22T18:39:50+00:00",
                "macro_f1": 0.853,
                "reason": "all gates passed",
                "gates": [
                    {"name": "macro-F1 against champion", "passed": True, "value": 0.004, "limit": -0.01},
                    {"name": "slice FR|toys", "passed": True, "value": -0.011, "limit": -0.05, "why": "within chance"},
                ],
            },
        ],
        "not_done": [
            {
                "what": "Compile for AWS Neuron",
                "why": "neuronx-cc is not installed on this machine",
                "command": "pip install 'sortiment[neuron]' --extra-index-url https://pip.repos.neuron.amazonaws.com",
            },
            {"what": "Train on a GPU", "why": "no CUDA device was found"},
        ],
        "machine": {"cpu": "an invented processor", "cores": 2, "memory_gb": 8.0, "os": "Linux", "gpu": None},
        "settings": {"sampling": {"per_category": 200, "seed": 0}, "student": {"layers": 3, "epochs": 3}},
        "versions": {"python": "3.11", "torch": "2.13.0", "openvino": "2026.4.0"},
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
    keys = {"by_country": lands, "by_department": areas, "by_feed": feeds, "by_slice": ["head", "torso", "tail"]}
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


@pytest.fixture
def report_of() -> Callable[..., dict[str, Any]]:
    """Reports of other sizes: `report_of(countries=1, departments=60)`."""
    return make_report
