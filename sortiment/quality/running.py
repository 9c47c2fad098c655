"""The bench as a recipe: read feeds, draw splits, compute one row after the other until the budget is spent.

Each row is an artifact of its own, named by everything it depends on: what is there is not computed again, and a run
that was killed goes on with the row (a student: with the epoch) that it was at. The JSON is written anew after each.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from sortiment.artifacts import Recipe
from sortiment.blobs import write_atomically
from sortiment.engines.machine import describe_machine
from sortiment.evaluation import CODE_VERSION as EVALUATION_VERSION
from sortiment.fast import CODE_VERSION as FAST_VERSION
from sortiment.fast import shaping_of
from sortiment.feeds import FeedSpec
from sortiment.quality import CODE_VERSION
from sortiment.quality.answering import answer_test_offers, labelled_side, read_split
from sortiment.quality.arms import Arm, Probe, Task, expect_seconds, expect_teacher_seconds, order_tasks
from sortiment.quality.baselines import CODE_VERSION as BASELINES_VERSION
from sortiment.quality.lessons import Bench, has_teacher
from sortiment.quality.new_country import synthetic_country, synthetic_market, taxonomy_countries
from sortiment.quality.offers import FeedOffers, load_offers
from sortiment.quality.rows import score_row
from sortiment.quality.splits import SplitOffers, draw_split
from sortiment.student import CODE_VERSION as STUDENT_VERSION
from sortiment.teacher import CODE_VERSION as TEACHER_VERSION

ROW_ASSET = "bench_row"
LEFT_OUT = 0.2
PACKAGES = ("torch", "transformers", "openvino", "scikit-learn", "fasttext-community")
DEFINITION = "macro_f1: mean F1 over the categories that occur among the test offers (sortiment.evaluation)"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Planned:
    """A task with its split, its row's recipe, and the seconds it is expected to take on one core (0 = is there).

    teacher_s: further ones for the split's teacher, where the task needs it.
    """

    task: Task
    split: SplitOffers
    recipe: Recipe
    expected_s: float
    teacher_s: float

    def expected_now(self, bench: Bench) -> float:
        """With the teacher, if none has made it by now."""
        if not self.teacher_s or has_teacher(bench, self.split):
            return self.expected_s
        return self.expected_s + self.teacher_s


@dataclass
class BenchResult:
    """rows: as in docs/quality.md. skipped: what the budget left out, as rows without figures."""

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
    settings = bench.settings
    feeds = {spec.name: load_offers([spec], bench.store, settings.feeds, bench.progress, limit=limit) for spec in specs}
    if synthetic is not None:
        market = synthetic_market(bench.store, bench.progress, synthetic)
        feeds[market.name] = market
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
    feeds = {}
    for spec in specs:
        offers = load_offers([spec], bench.store, bench.settings.feeds, bench.progress, limit=limit)
        name = f"{spec.name}, {LEFT_OUT:.0%} of the categories left out" if probe == "unknown" else spec.name
        feeds[name] = replace(offers, name=name)
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
    found = [synthetic_country(bench.store, bench.progress)] if synthetic else []
    found += [country for path in taxonomies for country in taxonomy_countries(path)]
    tasks = order_tasks({country.offers.name: country.hidden for country in found}, seeds, [None], arms)
    return run_tasks(
        bench, {country.offers.name: country.offers for country in found}, tasks, budget_s, json_path, tell
    )


def run_tasks(
    bench: Bench,
    feeds: dict[str, FeedOffers],
    tasks: Sequence[Task],
    budget_s: float | None,
    json_path: Path | None,
    tell: Tell,
) -> BenchResult:
    """The tasks in their order. One that would not end within the budget is left out, and cheaper ones go on."""
    started = time.monotonic()
    planned = plan_tasks(bench, feeds, tasks)
    teachers = {one.split.version: one.teacher_s for one in planned if one.expected_now(bench) > one.expected_s}
    expected = sum(one.expected_s for one in planned) + sum(teachers.values())
    waiting = sum(one.expected_s > 0 for one in planned)
    limit = "" if budget_s is None else f"; the budget is {budget_s / 60:,.0f} minutes"
    tell(f"{len(planned)} rows, {waiting} to compute: about {expected / 60:,.0f} minutes expected{limit}")
    result = BenchResult(facts=_facts(budget_s, feeds, bench))
    pace: dict[str, list[float]] = {}
    for number, one in enumerate(planned, start=1):
        expected = one.expected_now(bench)
        forecast = expected * median(pace.get(one.task.arm.model) or [1.0])
        left = None if budget_s is None else budget_s - (time.monotonic() - started)
        if left is not None and expected and forecast > left:
            result.skipped.append({**_names(one.task), "expected_s": round(forecast, 1)})
        else:
            tell(f"{number}/{len(planned)} {describe(one.task)}" + (f", about {forecast:,.0f} s" if forecast else ""))
            began = time.monotonic()
            row = compute_row(bench, one)
            if expected:
                pace.setdefault(one.task.arm.model, []).append((time.monotonic() - began) / expected)
            result.rows.append(row)
        if json_path is not None:
            result.write(json_path)
    return result


def plan_tasks(bench: Bench, feeds: dict[str, FeedOffers], tasks: Sequence[Task]) -> list[Planned]:
    """Splits drawn, rows found or forecast."""
    splits: dict[tuple[str, int, int | None, float | None], SplitOffers] = {}
    planned = []
    for task in tasks:
        left_out = LEFT_OUT if task.probe == "unknown" else None
        key = (task.feed, task.seed, task.labels_per_class, left_out)
        if key not in splits:
            splits[key] = draw_split(
                feeds[task.feed],
                task.seed,
                task.labels_per_class,
                bench.settings.sampling,
                bench.store,
                task.hidden,
                left_out,
            )
        split = splits[key]
        recipe = row_recipe(bench, split, task)
        size = split.size
        there = bench.store.find(ROW_ASSET, recipe.version) is not None
        settings = bench.settings
        seconds = 0.0 if there else expect_seconds(task, size, settings)
        teacher = expect_teacher_seconds(size, settings.teacher) if task.arm.needs_teacher and not there else 0.0
        planned.append(Planned(task, split, recipe, seconds, teacher))
    return planned


def row_recipe(bench: Bench, split: SplitOffers, task: Task) -> Recipe:
    """Everything that a row depends on; speed aside."""
    arm, settings = task.arm, bench.settings
    code = [CODE_VERSION]
    scored = settings.evaluation.model_dump(mode="json", include={"seed", "bootstrap_rounds"})
    own: dict[str, Any] = {
        "arm": [arm.model, arm.layers, arm.distilled],
        "inputs": settings.encoder.inputs,
        "evaluation": [EVALUATION_VERSION, scored],
    }
    inputs = {"split": split.version}
    if task.probe == "unknown":
        own["probe"] = task.probe
    if task.probe == "behaviour":
        own |= {"probe": task.probe, "behaviour_offers": settings.evaluation.behaviour_offers}
    if arm.model == "teacher" or arm.taught:
        code.append(TEACHER_VERSION)
        own["teacher"] = settings.teacher.model_dump(mode="json")
    if arm.model in ("teacher", "student") or arm.taught:
        inputs["encoder"] = bench.encoder.version
        own["encoder"] = settings.encoder.model_dump(mode="json")
    if arm.model in ("tfidf", "fasttext"):
        code.append(BASELINES_VERSION)
    if arm.model == "student":
        code.append(STUDENT_VERSION)
        own["student"] = arm.student_settings(settings.student).model_dump(mode="json")
    if arm.model == "fast":
        code.append(FAST_VERSION)
        own |= shaping_of(arm.fast_settings(settings.fast), settings.student, settings.encoder)
    return Recipe(inputs, own, "-".join(code), PACKAGES)


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


def _names(task: Task) -> dict[str, Any]:
    arm = task.arm
    return {
        "feed": task.feed,
        "labels_per_class": task.labels_per_class,
        "seed": task.seed,
        "model": arm.model,
        "layers": arm.layers,
        "distilled": arm.distilled,
        "hidden": task.hidden,
    }


def _facts(budget_s: float | None, feeds: dict[str, FeedOffers], bench: Bench) -> dict[str, Any]:
    return {
        "definition": DEFINITION,
        "machine": str(describe_machine()),
        "budget_minutes": None if budget_s is None else budget_s / 60,
        "encoder": bench.encoder.reference,
        "inputs": list(bench.settings.encoder.inputs),
        "feeds": {
            name: {"offers": len(offers), "categories": len(offers.departments)} for name, offers in feeds.items()
        },
    }
