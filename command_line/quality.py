"""The command `sortiment bench quality`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sortiment.errors import SettingsError
from sortiment.outputs import refuse_unwritable_file, refuse_unwritable_folder
from sortiment.quality.arms import MODELS, Probe, choose_arms
from sortiment.settings import Settings
from sortiment.settings_file import load_settings

if TYPE_CHECKING:
    from sortiment.quality.lessons import Bench
    from sortiment.quality.running import BenchResult

FOLDER = Path("bench", "quality")
SEEDS, LAYERS = (0, 1, 2), (3, 6)


def quality(
    feed: Annotated[list[Path] | None, typer.Option("--feed", help="A feed spec (repeatable).")] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seeds", min=0, help="Each is another split (repeatable); default 0 1 2.")
    ] = None,
    labels_per_class: Annotated[
        list[int] | None,
        typer.Option(
            "--labels-per-class", min=1, help="Also with so few labels a class, the rest unlabelled (repeatable)."
        ),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", help=f"Of {', '.join(MODELS)} (repeatable); default all.")
    ] = None,
    layers: Annotated[
        list[int] | None,
        typer.Option(
            "--layers", help="Of the MiniLM students, of 3, 6, 12; default student.layers of --settings, else 3 6."
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", min=0.0, help="Minutes; what does not fit is listed as skipped.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the rows here, after each.")] = None,
    new_country: Annotated[
        bool, typer.Option("--new-country", help="Labels in some languages, unlabelled offers in another.")
    ] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="A fifth of the categories left out of training: is that noticed?")
    ] = False,
    behaviour: Annotated[
        bool, typer.Option("--behaviour", help="Titles written otherwise: how often does an answer flip?")
    ] = False,
    taxonomy: Annotated[
        list[Path] | None,
        typer.Option("--taxonomy", help="With --new-country: category names in several languages (repeatable)."),
    ] = None,
    synthetic: Annotated[
        int | None, typer.Option("--synthetic", min=500, help="A synthetic market of so many offers as a feed.")
    ] = None,
    hard_labels: Annotated[
        bool, typer.Option("--hard-labels/--no-hard-labels", help="Each student once more, from labels alone.")
    ] = True,
    limit: Annotated[
        int | None, typer.Option("--offers", min=100, help="At most so many offers of each --feed.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", help="Compute nothing: write the tables of --json into this Markdown page."),
    ] = None,
    settings_file: Annotated[Path | None, typer.Option("--settings", help="A YAML file of stage settings.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where rows and models stay between runs; default in the home.")
    ] = None,
) -> None:
    """Teachers, students and baselines on the same splits of the same offers: tables and JSON."""
    from resources.profiles import read_profile
    from resources.progress import TerminalProgress
    from sortiment.evaluation.behaviour import refuse_unheard_kinds
    from sortiment.feeds import load_spec
    from sortiment.quality.refusals import distinct_paths
    from sortiment.quality.running import run_bench, run_new_country, run_probe

    console = Console()
    if figures is not None:
        from sortiment.markdown import write_figures
        from sortiment.quality.markdown import format_figures

        if json_path is None:
            raise SettingsError("figures come from a JSON file", allowed="--json PATH --figures PAGE")
        write_figures(json_path, figures, format_figures)
        return
    if json_path is not None:
        refuse_unwritable_file(json_path, "--json")
    if folder is not None:
        refuse_unwritable_folder(folder, "--folder")
    _refuse_contradictions(
        feeds=bool(feed),
        synthetic=synthetic,
        new_country=new_country,
        taxonomy=bool(taxonomy),
        limit=limit,
        questions=unknown + behaviour + new_country + bool(labels_per_class),
        probe=unknown or behaviour,
    )
    settings = load_settings(settings_file) if settings_file else Settings()
    arms = choose_arms(models or MODELS, layers or layers_of(settings), hard_labels)
    if behaviour:
        refuse_unheard_kinds(settings.evaluation)
    specs = [load_spec(path) for path in distinct_paths(feed or [], "--feed", lambda path: path.stem)]
    taxonomies = distinct_paths(taxonomy or [], "--taxonomy", lambda path: path.name)
    profile = read_profile()
    profile.make_home()
    bench = _open_bench(folder or profile.home / FOLDER, profile.encoder_cache, settings, TerminalProgress(console))
    tell = lambda line: console.print(f"[bold]{escape(line)}[/]", highlight=False)  # noqa: E731
    budget_s = None if budget is None else 60 * budget
    if new_country:
        result = run_new_country(bench, taxonomies, seeds or SEEDS, arms, budget_s, json_path, tell)
    elif unknown or behaviour:
        probe: Probe = "unknown" if unknown else "behaviour"
        result = run_probe(bench, specs, seeds or SEEDS, arms, probe, budget_s, json_path, tell, limit)
    else:
        regimes = [None, *dict.fromkeys(labels_per_class or [])]
        result = run_bench(bench, specs, seeds or SEEDS, regimes, arms, budget_s, json_path, tell, limit, synthetic)
    show_rows(result, console)


def _refuse_contradictions(
    feeds: bool,
    synthetic: int | None,
    new_country: bool,
    taxonomy: bool,
    limit: int | None,
    questions: int,
    probe: bool,
) -> None:
    """Raises SettingsError for options that say nothing together. questions: how many the command asks at once."""
    if (feeds or synthetic is not None) == new_country:
        raise SettingsError(
            "the bench needs offers of one kind",
            allowed="--feed SPEC, --synthetic OFFERS or both, or else --new-country",
        )
    if taxonomy and not new_country:
        raise SettingsError(
            "category names are read to hide a country", value="--taxonomy", allowed="with --new-country"
        )
    if limit is not None and not feeds:
        raise SettingsError(
            "--offers cuts feeds", value=limit, allowed="with --feed SPEC; --synthetic has its own number"
        )
    if synthetic and probe:
        raise SettingsError("--unknown and --behaviour ask about feeds", value="--synthetic", allowed="--feed SPEC")
    if questions > 1:
        raise SettingsError(
            "the bench asks one question at a time",
            allowed="one of --unknown, --behaviour, --new-country, --labels-per-class",
        )


def layers_of(settings: Settings) -> Sequence[int]:
    """What a settings file says of the student's layers, else both small numbers."""
    return (settings.student.layers,) if "layers" in settings.student.model_fields_set else LAYERS


def _open_bench(folder: Path, encoders: Path, settings: Settings, progress: Any) -> "Bench":
    from sortiment.encoders import resolve_encoder
    from sortiment.quality.lessons import Bench
    from sortiment.quality.offers import bench_store

    encoder = resolve_encoder(settings.encoder.reference, encoders, progress)
    return Bench(bench_store(folder), encoder, encoders / "features", settings, progress)


def show_rows(result: "BenchResult", console: Console) -> None:
    """Means and spreads over seeds, and what was left out."""
    from sortiment.quality.refusals import NO_TIME
    from sortiment.quality.tables import explain_skipped, tabulate, tabulate_flips

    for table in [*tabulate(result.rows), *tabulate_flips(result.rows)]:
        console.print(table)
    for line in explain_skipped(result.skipped):
        console.print(escape(line), style="yellow", highlight=False)
    if any(row["why"] == NO_TIME for row in result.skipped):
        console.print("run again to go on", style="yellow")
