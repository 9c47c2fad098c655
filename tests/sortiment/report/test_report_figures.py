"""Figures: legible, the same every time, safe with any text, in both themes."""

import base64
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from sortiment.report import figures, parse_report
from sortiment.report.engine_figures import basis_of, pareto_front
from sortiment.report.label_places import place_labels
from sortiment.report.page_figures import draw_figures
from sortiment.report.rows import RankingRow
from sortiment.report.score_figures import expected_calibration_error
from sortiment.report.style import TOKENS, house_style, new_figure, short_number, short_text, short_usd

ReportOf = Callable[..., dict[str, Any]]

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(report_of: ReportOf) -> dict[str, Any]:
    return draw_figures(parse_report(report_of()))


@pytest.fixture(scope="module")
def svgs(drawn: dict[str, Any]) -> dict[str, str]:
    return {name: figures.to_svg(figure) for name, figure in drawn.items()}


def test_a_full_report_has_every_figure(drawn: dict[str, Any]) -> None:
    expected = (
        "feeds categories quarantine quarantine_files coverage shops scores_country scores_department scores_slice"
    )
    expected += " scores_feed training reliability soft_labels ranking speed cost drift_map recovery releases"
    expected += " scores_shop_size scores_title_length reliability_by_country behaviour"
    assert sorted(drawn) == sorted(expected.split())


def test_every_svg_is_well_formed_with_a_title_for_screen_readers(svgs: dict[str, str]) -> None:
    for name, svg in svgs.items():
        root = ElementTree.fromstring(svg)  # noqa: S314 our own output
        assert root.tag == f"{SVG}svg", name
        title = root.find(f"{SVG}title")
        assert title is not None and title.text, name
        assert root.get("aria-labelledby") == title.get("id")
        assert root.get("role") == "img"


def test_text_stays_text_in_the_page_font(svgs: dict[str, str]) -> None:
    texts = {text.text for text in ElementTree.fromstring(svgs["speed"]).iter(f"{SVG}text")}  # noqa: S314
    assert "openvino-int8" in texts
    for svg in svgs.values():
        assert "DejaVu" not in svg
        assert "var(--font)" in svg


def test_no_color_is_fixed_so_that_both_themes_work(svgs: dict[str, str]) -> None:
    for name, svg in svgs.items():
        assert not re.findall(r"#[0-9a-fA-F]{6}", svg), name


def test_ids_are_unique_over_all_figures_of_a_page(svgs: dict[str, str]) -> None:
    ids = re.findall(r' id="([^"]*)"', "".join(svgs.values()))
    assert len(ids) == len(set(ids))
    for svg in svgs.values():
        own = set(re.findall(r' id="([^"]*)"', svg))
        assert set(re.findall(r"url\(#([^)]*)\)", svg)) | set(re.findall(r'href="#([^"]*)"', svg)) <= own


def test_the_same_data_gives_the_same_bytes(svgs: dict[str, str], drawn: dict[str, Any], report_of: ReportOf) -> None:
    full = report_of()
    again = draw_figures(parse_report({name: full[name] for name in ("market", "cost", "ranking")}))
    for name in ("cost", "feeds", "ranking"):
        assert figures.to_svg(again[name]) == svgs[name]
        assert "<dc:date>" not in svgs[name]
    assert figures.to_png(again["cost"]) == figures.to_png(drawn["cost"])


def test_an_svg_is_small(svgs: dict[str, str]) -> None:
    assert max(len(svg) for svg in svgs.values()) < 60_000


def test_a_figure_is_left_as_it_was_after_its_svg(drawn: dict[str, Any]) -> None:
    figure = drawn["speed"]
    size = tuple(figure.get_size_inches())
    first = figures.to_svg(figure)
    assert tuple(figure.get_size_inches()) == size
    assert figures.to_svg(figure) == first


def test_markdown_holds_a_small_png_and_its_title(drawn: dict[str, Any]) -> None:
    text = figures.to_markdown(drawn["cost"])
    match = re.fullmatch(r"!\[(.*)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
    assert match is not None
    assert match.group(1) == "USD per million offers, by instance"
    png = base64.b64decode(match.group(2))
    assert png.startswith(b"\x89PNG")
    assert len(png) < 60_000


def test_importing_the_figures_does_not_import_matplotlib() -> None:
    modules = "sortiment.report.figures, sortiment.report.html, sortiment.report.terminal"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


EMPTY: dict[str, Callable[[], Any]] = {
    "category counts": lambda: figures.plot_category_counts([], []),
    "coverage": lambda: figures.plot_coverage([]),
    "feeds": lambda: figures.plot_feed_rows([]),
    "counts": lambda: figures.plot_counts({}, "reasons", "Reasons"),
    "scores": lambda: figures.plot_scores({}),
    "scores without a value": lambda: figures.plot_scores({"teacher": {"DE": {"macro_f1": None}}}),
    "confusions": lambda: figures.plot_confusions([]),
    "reliability": lambda: figures.plot_reliability({"student": []}),
    "reliability by country": lambda: figures.plot_reliability_by_country({"DE": {"student": []}}),
    "behaviour": lambda: figures.plot_behaviour([{"model": "student", "kind": "typo"}]),
    "training": lambda: figures.plot_training({}),
    "soft labels": lambda: figures.plot_soft_labels(None, None),
    "speed": lambda: figures.plot_speed([{"engine": "neuron-bf16", "source": "estimated"}]),
    "cost": lambda: figures.plot_cost([]),
    "ranking": lambda: figures.plot_ranking([{"encoder": "a hub encoder"}]),
    "drift map": lambda: figures.plot_drift_map([]),
    "recovery": lambda: figures.plot_recovery("DE|toys", None, None, None),
    "releases": lambda: figures.plot_releases([]),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_nothing_to_draw_is_said_in_words(kind: str) -> None:
    svg = figures.to_svg(EMPTY[kind]())
    assert re.search(r"<text[^>]*>(No|Nothing|The slice) [^<]*</text>", svg)


SINGLE: dict[str, Callable[[], Any]] = {
    "category counts": lambda: figures.plot_category_counts([1], [1], 200),
    "coverage": lambda: figures.plot_coverage([{"name": "toys", "offers": 1, "sampled": 0}]),
    "coverage, all kept": lambda: figures.plot_coverage([{"name": "toys", "offers": 10, "sampled": 10}]),
    "feeds": lambda: figures.plot_feed_rows([{"name": "shop", "rows": 0}]),
    "scores": lambda: figures.plot_scores({"teacher": {"DE": {"macro_f1": 1.0}}}),
    "accuracy": lambda: figures.plot_scores({"teacher": {"DE": {"accuracy": 1.0}}}, metric="accuracy"),
    "training": lambda: figures.plot_training({"student": [{"epoch": 1, "loss": 0.5}]}),
    "quality alone": lambda: figures.plot_training({"student": [{"epoch": 1, "macro_f1": 0.5}]}),
    "reliability": lambda: figures.plot_reliability({"fast": [{"confidence": 0.9, "accuracy": 0.9, "offers": 3}]}),
    "behaviour": lambda: figures.plot_behaviour([{"model": "fast", "kind": "typo", "flip_rate": 0.1}]),
    "speed": lambda: figures.plot_speed([{"engine": "onnx-int8", "offers_per_s": 3.0}]),
    "cost": lambda: figures.plot_cost([{"instance": "c7i.xlarge", "usd_per_million": 0.000001, "basis": "published"}]),
    "ranking": lambda: figures.plot_ranking([{"encoder": "fastText", "offers_per_s": 9, "macro_f1": 0.5}]),
    "drift map": lambda: figures.plot_drift_map([{"partition": "DE|toys"}]),
    "no threshold": lambda: figures.plot_drift_map([{"partition": "DE|toys", "score": 0.2, "threshold": 0.0}]),
    "recovery": lambda: figures.plot_recovery("DE|toys", 0.5, 0.5, 0.5),
    "releases": lambda: figures.plot_releases([{"action": "rolled back", "version": "1"}]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SINGLE)
def test_a_single_value_can_be_drawn(kind: str) -> None:
    assert "<text" in figures.to_svg(SINGLE[kind]())


@pytest.mark.parametrize(
    ("epoch", "panels"),
    [
        ({"epoch": 1, "loss": 0.5}, ["loss"]),
        ({"epoch": 1, "loss": 0.5, "macro_f1": 0.8}, ["loss", "macro-F1, validation"]),
        ({"epoch": 1, "loss": 0.5, "validation_loss": 0.6}, ["loss (dashed: validation)"]),
        ({"epoch": 1, "macro_f1": 0.8}, ["macro-F1, validation"]),
    ],
)
def test_training_has_no_panel_for_what_was_not_measured(epoch: dict[str, Any], panels: list[str]) -> None:
    figure = figures.plot_training({"student": [epoch]})
    assert [axes.get_ylabel() for axes in figure.axes] == panels


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("models", [3, 5, 9])
def test_a_legend_of_many_models_leaves_the_axes_their_width(models: int) -> None:
    curve = [{"confidence": 0.5, "accuracy": 0.4, "offers": 30}, {"confidence": 0.9, "accuracy": 0.9, "offers": 70}]
    names = ["teacher", "student", "int8", "fast", "champion", *(f"another model {n}" for n in range(4))]
    figure = figures.plot_reliability(dict.fromkeys(names[:models], curve))
    figures.to_png(figure)
    upper = figure.axes[0]
    assert upper.get_position().width > 0.7
    legend = upper.get_legend().get_window_extent()
    assert legend.x1 <= figure.bbox.x1


def test_any_text_is_drawn_as_text(hostile: str) -> None:
    names = [hostile, "5 $ and 6 $", "$\\frac{1}{", "line\nbreak\x00\x07", "x" * 500, "\u202eright to left", "🎧"]
    figure = figures.plot_counts({name: place + 1 for place, name in enumerate(names)}, "names", "Names")
    svg = figures.to_svg(figure)
    assert "<script" not in svg
    assert "$\\frac{1}{" in svg
    assert figures.to_png(figure).startswith(b"\x89PNG")
    ElementTree.fromstring(svg)  # noqa: S314


def test_rows_may_be_any_objects_with_the_right_attributes() -> None:
    class Timed:
        engine = "onnx-int8"
        offers_per_s = 1_320.0
        source = "measured"

    assert "1,320/s" in figures.to_svg(figures.plot_speed([Timed()]))  # type: ignore[list-item]


def test_scores_start_with_the_lowest_and_say_how_many_were_left_out() -> None:
    leaves = {"student": {f"department {place:03}": {"macro_f1": place / 100} for place in range(90)}}
    figure = figures.plot_scores(leaves, "department", limit=30)
    assert figure.get_suptitle() == "Macro-F1 by department (the lowest 30 of 90)"
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "department 000"
    assert len(labels) == 30


def test_labels_of_crowded_points_do_not_hide_each_other() -> None:
    points = [(100.0 * 1.25**place, 0.8 + 0.004 * (place % 3)) for place in range(10)]
    texts = [f"encoder number {place}" for place in range(10)]
    with house_style():
        figure = new_figure("crowd", "Crowd", 4.0, 8.8)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.scatter(*zip(*points, strict=True))
        axes.margins(0.2)
        place_labels(axes, points, texts)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))


def test_the_pareto_front_keeps_what_nothing_beats_on_both() -> None:
    rows = [
        RankingRow(encoder=name, offers_per_s=speed, macro_f1=score)
        for name, speed, score in (("slow", 10, 0.9), ("beaten", 9, 0.8), ("fast", 100, 0.7), ("same speed", 100, 0.6))
    ]
    assert [row.encoder for row in pareto_front(rows)] == ["slow", "fast"]


def test_calibration_error_weighs_bins_by_their_offers() -> None:
    assert expected_calibration_error([(0.9, 0.8, 75), (0.5, 0.7, 25)]) == pytest.approx(0.75 * 0.1 + 0.25 * 0.2)


@pytest.mark.parametrize(
    ("source", "basis"),
    [("measured", "measured"), ("Published by AWS", "published"), ("from a blog", "estimated"), ("", "estimated")],
)
def test_only_what_says_measured_counts_as_measured(source: str, basis: str) -> None:
    assert basis_of(source) == basis


def test_numbers_are_short_and_exact_enough() -> None:
    assert [short_number(value) for value in (0, 0.5, 73.33, 999, 1_000, 12_345, 4_800_000, 4.5e9)] == [
        "0", "0.5", "73.3", "999", "1k", "12.3k", "4.8M", "4.5B",
    ]  # fmt: skip
    assert [short_usd(value) for value in (0, 0.0000123, 0.01481, 0.118, 7.4, 1234.5)] == [
        "$0.00", "$0.0000123", "$0.0148", "$0.118", "$7.40", "$1,234",
    ]  # fmt: skip
    assert short_text("Elektronik und sehr lange Namen", 16) == "Elektronik…Namen"


def _contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two hexadecimal colors."""

    def luminance(color: str) -> float:
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colors_have_contrast_on_both_backgrounds(theme: int) -> None:
    surface = TOKENS["surface"][theme]
    for name in ("ink", "muted"):
        assert _contrast(TOKENS[name][theme], surface) >= 4.5, name
    for name in ("blue", "orange", "green", "pink", "gold", "gray"):
        assert _contrast(TOKENS[name][theme], surface) >= 3.0, name
