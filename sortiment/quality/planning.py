"""What there is to do: each task with its split, its row's recipe and a forecast, or why it cannot be measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sortiment.artifacts import Recipe
from sortiment.errors import SortimentError
from sortiment.evaluation import CODE_VERSION as EVALUATION_VERSION
from sortiment.fast import CODE_VERSION as FAST_VERSION
from sortiment.fast import shaping_of
from sortiment.quality import CODE_VERSION
from sortiment.quality.arms import Task, expect_seconds, expect_teacher_seconds
from sortiment.quality.baselines import CODE_VERSION as BASELINES_VERSION
from sortiment.quality.lessons import Bench, has_teacher
from sortiment.quality.offers import FeedOffers
from sortiment.quality.refusals import REFUSALS, Feeds
from sortiment.quality.splits import SplitOffers, draw_split
from sortiment.student import CODE_VERSION as STUDENT_VERSION
from sortiment.teacher import CODE_VERSION as TEACHER_VERSION

ROW_ASSET = "bench_row"
LEFT_OUT = 0.2
PACKAGES = ("torch", "transformers", "openvino", "scikit-learn", "fasttext-community")


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


@dataclass(frozen=True)
class Refused:
    """A task that cannot be computed, and why."""

    task: Task
    error: SortimentError


def plan_tasks(bench: Bench, feeds: Feeds, tasks: Sequence[Task]) -> tuple[list[Planned], list[Refused]]:
    """Splits drawn, rows found or forecast; and the tasks whose feed or split cannot be measured."""
    splits: dict[tuple[str, int, int | None, float | None], SplitOffers | SortimentError] = {}
    planned, refused = [], []
    for task in tasks:
        key = (task.feed, task.seed, task.labels_per_class, _share_left_out(task))
        if key not in splits:
            splits[key] = _split_for(bench, feeds[task.feed], task)
        split = splits[key]
        if isinstance(split, SortimentError):
            refused.append(Refused(task, split))
        else:
            planned.append(_plan_task(bench, split, task))
    return planned, refused


def _split_for(bench: Bench, offers: FeedOffers | SortimentError, task: Task) -> SplitOffers | SortimentError:
    """The task's split, or why there is none."""
    if isinstance(offers, SortimentError):
        return offers
    sampling, left_out = bench.settings.sampling, _share_left_out(task)
    try:
        return draw_split(offers, task.seed, task.labels_per_class, sampling, bench.store, task.hidden, left_out)
    except REFUSALS as error:
        return error


def _share_left_out(task: Task) -> float | None:
    return LEFT_OUT if task.probe == "unknown" else None


def _plan_task(bench: Bench, split: SplitOffers, task: Task) -> Planned:
    recipe, settings = row_recipe(bench, split, task), bench.settings
    there = bench.store.find(ROW_ASSET, recipe.version) is not None
    seconds = 0.0 if there else expect_seconds(task, split.size, settings)
    teacher = expect_teacher_seconds(split.size, settings.teacher) if task.arm.needs_teacher and not there else 0.0
    return Planned(task, split, recipe, seconds, teacher)


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
