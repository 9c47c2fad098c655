"""The bench as a recipe: read feeds, draw splits, compute one row after the other until the budget is spent.

Each row is an artifact of its own, named by everything it depends on: what is there is not computed again, and a run
that was killed goes on with the row (a student: with the epoch) that it was at. The JSON is written anew after each.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from sortiment.blobs import write_atomically
from sortiment.errors import SettingsError, SortimentError
from sortiment.feeds import FeedSpec
from sortiment.machine import describe_machine
from sortiment.quality.answering import answer_test_offers, labelled_side, read_split
from sortiment.quality.arms import Arm, Probe, Task, order_tasks
from sortiment.quality.lessons import Bench
from sortiment.quality.new_country import synthetic_country, synthetic_market, taxonomy_countries
from sortiment.quality.offers import FeedOffers, load_offers
from sortiment.quality.planning import LEFT_OUT, ROW_ASSET, Planned, Refused, plan_tasks
from sortiment.quality.refusals import NO_TIME, REFUSALS, Feeds, check_feed, load_feed, nothing_measured
from sortiment.quality.rows import score_row
from sortiment.quality.tables import explain_skipped
from sortiment.report.numbers import duration_text

DEFINITION = "macro_f1: mean F1 over the categories that occur among the test offers (sortiment.evaluation)"

Tell = Callable[[str], None]


@dataclass
class BenchResult:
    """rows, skipped: as in docs/quality.md; skipped are rows without figures, with a `why`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        content = {**self.facts, "rows": self.rows, "skipped": self.skipped}
        write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def run_bench(
    bench: Bench,
    specs: Sequence[FeedSpec],
    seeds: Sequence[int],
    regimes: Sequence[int | None],
    arms: Sequence[Arm],
    budget_s: float | None,
    json_path: Path | None,
    tell: Tell,
    limit: int | None = None,
    synthetic: int | None = None,
) -> BenchResult:
    """All rows that fit the budget. limit: at most so many offers of each feed. synthetic: a synthetic market of so
    many offers is a feed, too."""
    feeds = _load_feeds(bench, specs, limit)
    if synthetic is not None:
        market = synthetic_market(bench.store, bench.progress, synthetic)
        feeds[market.name] = check_feed(market, bench.settings.encoder.inputs)
    tasks = order_tasks(dict.fromkeys(feeds), seeds, regimes, arms)
    return run_tasks(bench, feeds, tasks, budget_s, json_path, tell)


def run_probe(
    bench: Bench,
    specs: Sequence[FeedSpec],
    seeds: Sequence[int],
    arms: Sequence[Arm],
    probe: Probe,
    budget_s: float | None,
    json_path: Path | None,
    tell: Tell,
    limit: int | None = None,
) -> BenchResult:
    """The same arms, asked for more than their answer. `unknown`: a fifth of the categories is left out of training,
    and how well the model's own doubt finds their offers is measured. `behaviour`: how often an answer flips when the
    title is written otherwise."""
    feeds = _load_feeds(bench, specs, limit)
    if probe == "unknown":
        feeds = dict(_name_left_out(name, found) for name, found in feeds.items())
    tasks = [replace(task, probe=probe) for task in order_tasks(dict.fromkeys(feeds), seeds, [None], arms)]
    return run_tasks(bench, feeds, tasks, budget_s, json_path, tell)


def run_new_country(
    bench: Bench,
    taxonomies: Sequence[Path],
    seeds: Sequence[int],
    arms: Sequence[Arm],
    budget_s: float | None,
    json_path: Path | None,
    tell: Tell,
    synthetic: bool = True,
) -> BenchResult:
    """The same arms where a country has no labels: on the synthetic market, and on the names of each taxonomy."""
    named = [country for path in taxonomies for country in taxonomy_countries(path)]
    found = [*([synthetic_country(bench.store, bench.progress)] if synthetic else []), *named]
    hidden = {country.offers.name: country.hidden for country in found}
    if len(hidden) < len(found):
        raise SettingsError(
            "two new countries have one name, and rows are told apart by it",
            value="; ".join(country.offers.name for country in found),
            fix="rename a --taxonomy folder, or measure it in a run of its own",
        )
    inputs = bench.settings.encoder.inputs
    feeds = {country.offers.name: check_feed(country.offers, inputs) for country in found}
    return run_tasks(bench, feeds, order_tasks(hidden, seeds, [None], arms), budget_s, json_path, tell)


def _load_feeds(bench: Bench, specs: Sequence[FeedSpec], limit: int | None) -> dict[str, FeedOffers | SortimentError]:
    """By name. The specs' names differ (`distinct_paths`)."""
    settings = bench.settings
    assert len({spec.name for spec in specs}) == len(specs)

    def load(spec: FeedSpec) -> FeedOffers:
        return load_offers([spec], bench.store, settings.feeds, bench.progress, limit=limit)

    return {spec.name: load_feed(partial(load, spec), settings.encoder.inputs) for spec in specs}


def _name_left_out(name: str, found: FeedOffers | SortimentError) -> tuple[str, FeedOffers | SortimentError]:
    name = f"{name}, {LEFT_OUT:.0%} of the categories left out"
    return name, found if isinstance(found, SortimentError) else replace(found, name=name)


def run_tasks(
    bench: Bench,
    feeds: Feeds,
    tasks: Sequence[Task],
    budget_s: float | None,
    json_path: Path | None,
    tell: Tell,
) -> BenchResult:
    """The tasks in their order. One that would not end within the budget is left out, and cheaper ones go on; so is
    one whose feed, split or model is refused. Raises what the refusals say where they leave nothing."""
    started = time.monotonic()
    planned, refused = plan_tasks(bench, feeds, tasks)
    result = BenchResult(facts=_facts(budget_s, feeds, bench))
    result.skipped += [_skip(one.task, str(one.error)) for one in refused]
    for line in explain_skipped(result.skipped):
        tell(line)
    if planned:
        tell(_announce(bench, planned, budget_s))
    pace: dict[str, list[float]] = {}
    for number, one in enumerate(planned, start=1):
        expected = one.expected_now(bench)
        forecast = expected * median(pace.get(one.task.arm.model) or [1.0])
        left = None if budget_s is None else budget_s - (time.monotonic() - started)
        if left is not None and expected and forecast > left:
            result.skipped.append({**_skip(one.task, NO_TIME), "expected_s": round(forecast, 1)})
        else:
            about = f", about {duration_text(forecast)}" if forecast else ""
            tell(f"{number}/{len(planned)} {describe(one.task)}{about}")
            began = time.monotonic()
            try:
                result.rows.append(compute_row(bench, one))
            except REFUSALS as error:
                refused.append(Refused(one.task, error))
                result.skipped.append(_skip(one.task, str(error)))
                tell(f"left out: {error}")
            else:
                if expected:
                    pace.setdefault(one.task.arm.model, []).append((time.monotonic() - began) / expected)
        if json_path is not None:
            result.write(json_path)
    if refused and len(refused) == len(tasks):
        if json_path is not None:
            result.write(json_path)
        raise nothing_measured(one.error for one in refused)
    return result


def _announce(bench: Bench, planned: Sequence[Planned], budget_s: float | None) -> str:
    """How many rows there are, and how long those that are not there yet will take."""
    teachers = {one.split.version: one.teacher_s for one in planned if one.expected_now(bench) > one.expected_s}
    expected = sum(one.expected_s for one in planned) + sum(teachers.values())
    waiting = sum(one.expected_s > 0 for one in planned)
    line = f"{len(planned)} rows, {waiting} to compute"
    line += f": about {duration_text(expected)} expected" if waiting else ""
    return line if budget_s is None else f"{line}; the budget is {duration_text(budget_s)}"


def compute_row(bench: Bench, planned: Planned) -> dict[str, Any]:
    """The row, found or computed."""

    def write(out: Path) -> dict[str, Any]:
        began = time.monotonic()
        answers = answer_test_offers(bench, planned.split, planned.task.arm, out, planned.task.probe)
        table = read_split(planned.split)
        learned = set(labelled_side(table, "train")["category_id"].to_pylist())
        row = score_row(planned.task, labelled_side(table, "test"), answers, bench.settings.evaluation, learned)
        return {**row, **planned.split.repeats, "seconds": round(time.monotonic() - began, 1)}

    made = bench.store.build(ROW_ASSET, planned.recipe, write, resumable=True)
    return {**made.summary, "feed": planned.task.feed, "hidden": planned.task.hidden}


def describe(task: Task) -> str:
    labels = "all labels" if task.labels_per_class is None else f"{task.labels_per_class} labels a class"
    return f"{task.feed}, {labels}, seed {task.seed}: {task.arm.name}"


def _skip(task: Task, why: str) -> dict[str, Any]:
    """A row without figures."""
    arm = task.arm
    return {
        "feed": task.feed,
        "labels_per_class": task.labels_per_class,
        "seed": task.seed,
        "model": arm.model,
        "layers": arm.layers,
        "distilled": arm.distilled,
        "hidden": task.hidden,
        "why": why,
    }


def _facts(budget_s: float | None, feeds: Feeds, bench: Bench) -> dict[str, Any]:
    return {
        "definition": DEFINITION,
        "machine": str(describe_machine()),
        "budget_minutes": None if budget_s is None else budget_s / 60,
        "encoder": bench.encoder.reference,
        "inputs": list(bench.settings.encoder.inputs),
        "feeds": {
            name: {"offers": len(offers), "categories": len(offers.departments)}
            for name, offers in feeds.items()
            if not isinstance(offers, SortimentError)
        },
    }
