"""The main job from an empty home to the report, step by step; the table of contents of what the platform does.

Each step is done once: the journal knows which are done, the artifact store finds what a killed step had finished.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape

from catalog_assets.partitions import registered_keys
from demo.collect import collect_report, relabelled_partitions
from demo.drive import Driver, open_driver, open_instance
from demo.journal import Journal
from demo.market import DemoMarket, plan_market, write_market, write_second_day
from demo.scoring import score_first_day, score_second_day
from resources.profiles import Profile
from resources.progress import TerminalProgress
from resources.storage import StorageResource
from sortiment.report import write_report
from sortiment.report.terminal import summarize_report


def run_demo(profile: Profile, feeds: list[Path], fresh: bool, settings: Path | None) -> None:
    """Run what is not done yet, then write `report.html` and `report.json` into the home and print the summary."""
    console = Console()
    profile.make_home()
    demo = plan_market(profile, feeds, settings)
    if fresh and demo.folder.exists():
        shutil.rmtree(demo.folder)
    console.print(
        f"[bold]Sortiment[/] on {'a SYNTHETIC market' if demo.synthetic else 'your feeds'}: {escape(str(demo.folder))}"
    )
    with open_instance(demo.profile) as instance:
        journal = Journal(demo.folder / "journal.json", demo.recipe)
        show = _Show(console, journal)
        show.step("market", "Write the market's first day", lambda: write_market(demo, TerminalProgress(console)))
        driver = open_driver(demo.profile, instance)
        if _first_release(show, driver):
            _drift_and_recover(show, driver, demo, TerminalProgress(console))
        report = collect_report(demo, journal, driver)
    page = write_report(report, profile.home)
    console.print()
    console.print(summarize_report(report, page))


def _first_release(show: "_Show", driver: Driver) -> bool:
    """From feed files to a released champion and its predictions. False where the gates held it back."""
    storage = _storage(driver)

    show.step("feeds", "Read feed files, draw the category tree", lambda: _make(driver, ["feed_files", "taxonomy"]))
    driver.profile.open_market()  # not before: feeds that cannot be read leave the last market open
    show.step(
        "census", "Count offers by country and category", lambda: _make(driver, ["offers", "offer_census"], "country")
    )
    show.step(
        "teacher",
        "Draw the sample, fit the teacher, label every sampled offer",
        lambda: _make(driver, ["training_sample", "teacher_model", "teacher_soft_labels"], "slice"),
    )
    show.step(
        "student",
        "Distil both students, quantize MiniLM to int8",
        lambda: _make(driver, ["student_checkpoint", "fast_student", "quantized_student"]),
    )
    show.step("compile", "Compile the student for each target", lambda: _compile(driver))
    show.step(
        "evaluate",
        "Score teacher, students and int8 on the test offers",
        lambda: _make(driver, ["student_evaluation"], "slice"),
    )
    show.step(
        "speed", "Time the engines, price the instances", lambda: _make(driver, ["engine_benchmark", "instance_choice"])
    )
    show.step("ranking", "Rank encoders on this market", lambda: _make(driver, ["encoder_ranking"]))
    show.step("release", "Gate and release the champion", lambda: _release(driver, storage))
    if not show.journal.facts("release")["passed"]:
        return False
    show.step("predict", "Classify the offers", lambda: _make(driver, ["offer_predictions"], "country"))
    return True


def _drift_and_recover(show: "_Show", driver: Driver, demo: DemoMarket, progress: TerminalProgress) -> None:
    """A second feed drifts in one partition; the sensors find it, and only that partition is labelled anew.

    Ends early where the feeds leave no second day, and where no drift is found: the report then says why.
    """
    storage = _storage(driver)

    def bring_second_day() -> dict[str, Any]:
        return write_second_day(demo, _largest_partition(storage) if demo.synthetic else None, progress)

    show.step("day-2", "A second feed arrives", bring_second_day)
    drifted = show.journal.facts("day-2")["partition"]
    if drifted is None:
        return
    show.step("before", "Remember the score before", lambda: score_first_day(storage, drifted))
    show.step("load-2", "Sensor: new feed files", lambda: _tick(driver, "new_feed_files"))
    show.step(
        "predict-2",
        "Count and classify the new offers",
        lambda: _make(driver, ["offers", "offer_census", "offer_predictions"], "country"),
    )
    show.step("drift", "Judge every slice for drift", lambda: _make(driver, ["drift_report"], "slice"))
    show.step(
        "relabel", "Sensor: drifted slices are sampled and labelled anew", lambda: _tick(driver, "drifted_slices")
    )
    if not relabelled_partitions(driver, show.journal):  # by the records: a killed tick has forgotten what it asked for
        return
    show.step(
        "retrain", "Sensor: the students train once for all slices that wait", lambda: _tick(driver, "waiting_slices")
    )
    show.step("compile-2", "Compile the new student", lambda: _compile(driver))
    show.step(
        "evaluate-2",
        "Score challenger and champion on the same offers",
        lambda: _make(driver, ["student_evaluation"], "slice"),
    )
    show.step(
        "after",
        "Compare the drifted slice before and after",
        lambda: score_second_day(storage, driver.settings, drifted, demo.folder),
    )
    show.step("release-2", "Gate and release the challenger", lambda: _release(driver, storage))
    show.step("predict-3", "Classify the new offers again", lambda: _make(driver, ["offer_predictions"], "country"))


@dataclass
class _Show:
    """Prints each step, and whether it was done now or before."""

    console: Console
    journal: Journal
    number: int = 0

    def step(self, name: str, title: str, work: Callable[[], dict[str, Any] | None]) -> None:
        self.number += 1
        if self.journal.done(name):
            seconds = self.journal.seconds()[name]
            self.console.print(f"[dim]{self.number:>2}  {title}: done before ({seconds:,.1f} s)[/]")
            return
        self.console.print(f"[bold]{self.number:>2}  {title}[/]")
        self.journal.run(name, work)
        self.console.print(f"    [green]done[/] in {self.journal.seconds()[name]:,.1f} s")


def _make(driver: Driver, assets: list[str], dimension: str | None = None) -> dict[str, Any]:
    keys = registered_keys(driver.instance, dimension) if dimension else None
    result = driver.materialize(assets, [keys[0], keys[-1]] if keys and len(keys) > 1 else keys)
    return {"run_id": result.run_id}


def _compile(driver: Driver) -> dict[str, Any]:
    targets = driver.settings.engines.targets
    runs = [driver.materialize(["compiled_student"], [target]).run_id for target in targets]
    return {"run_ids": runs}


def _release(driver: Driver, storage: StorageResource) -> dict[str, Any]:
    result = driver.materialize(["release_decision", "champion"])
    decision = storage.store.current("release_decision")
    return {"run_id": result.run_id, "decision": decision.version, "passed": decision.summary["passed"]}


def _tick(driver: Driver, sensor: str) -> dict[str, Any]:
    outcome = driver.tick(sensor)
    if isinstance(outcome, dg.SkipReason):
        return {"skipped": outcome.skip_message}
    return {"requests": [{"partition": request.partition_key, "run_key": request.run_key} for request in outcome]}


def _largest_partition(storage: StorageResource) -> str:
    """The labelled partition with most offers in its sample."""
    samples = storage.store.current_partitions("training_sample")
    labelled = {key: found.summary["rows"] for key, found in samples.items() if found.summary["categories"]}
    return max(labelled, key=lambda key: (labelled[key], key))


def _storage(driver: Driver) -> StorageResource:
    return driver.profile.storage()
